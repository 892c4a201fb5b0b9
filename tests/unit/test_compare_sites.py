"""Sites against each other: the session is the unit, causes are named, prices enter no verdict."""

import dataclasses
import io
import math
import random

import pytest
from rich.console import Console

from stages import codec
from stages.errors import FaceoffError
from stages.harness.params import schema
from stages.harness.report.sites import scorecards, words
from stages.harness.sites import causes, compare_sites, cost, sessions
from stages.harness.sites.results import SitesComparison
from tests import environments, results, sites

MARGIN = 0.02
SETTING = sites.SETTING
T4 = environments.gpu("Tesla T4", uuid="GPU-1")
P100 = environments.gpu("Tesla P100", uuid="GPU-2")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One session of a project, read; others are made of it."""
    folder = sites.make_project(tmp_path_factory.mktemp("sites") / "project")
    sites.priced(folder)
    sites.measure(folder, 0)
    return sessions.read(folder, "a")


def session(plain, site, number, seconds, facts=None, spread=0.003, **params):
    """A session whose epochs took about so many seconds in the mean, on its own."""
    noise = random.Random(f"{site}{number}")  # noqa: S311 - repeatable
    found = []
    for each in plain.results:
        took = seconds * (1 + noise.gauss(0, spread))
        began = (sites.BEGIN.replace(day=1 + number)).isoformat()
        train = results.trained(each.cell, took, belongs=each.train.belongs, started_at=began)
        found.append(dataclasses.replace(each, train=train, evaluate=results.evaluated(each.cell, 0.3 * took)))
    profile = dataclasses.replace(plain.profiles["host"], facts=facts or plain.profiles["host"].facts)
    return dataclasses.replace(
        plain,
        site=site,
        name=f"2026010{number}-030405-0000000{1 if site == 'a' else 2}",
        results=found,
        profiles={"host": profile},
        params=dataclasses.replace(plain.params, **params),
        began_at=None,
    )


def two(plain, these, those, facts=None, **more):
    return {
        "a": [session(plain, "a", number, each, **more) for number, each in enumerate(these, 1)],
        "b": [session(plain, "b", number, each, facts, **more) for number, each in enumerate(those, 1)],
    }


def total(found):
    (against,) = [each for each in found.against if each.metric == "total_seconds"]
    return against


def compared(plain, these, those, facts=None, **more):
    return total(compare_sites.compare(two(plain, these, those, facts, **more), MARGIN))


def test_what_is_slower_in_every_session_is_slower_and_by_how_much(plain):
    found = compared(plain, [10, 10.1, 9.9], [12, 12.2, 11.9])
    assert found.verdict == "slower" and found.low < 1.2 < found.high
    assert found.words.startswith("slower: 1.20") and "3 against 3 sessions" in found.words


def test_more_energy_is_not_called_slower(plain):
    pair = two(plain, [10, 10.1, 9.9], [10, 10.1, 9.9])
    taken = {site: [with_joules(each, joules) for each in pair[site]] for site, joules in (("a", 300.0), ("b", 500.0))}
    [energy] = [each for each in compare_sites.compare(taken, MARGIN).against if each.metric == "cpu_joules"]
    assert energy.words.startswith("more: 1.667 times the energy at a (")


def with_joules(one, joules):
    found = []
    for each in one.results:
        absent = {name: why for name, why in each.train.absent.items() if name != "cpu_joules"}
        train = dataclasses.replace(each.train, cpu_joules=joules * (1 + each.cell.repeat / 1000), absent=absent)
        found.append(dataclasses.replace(each, train=train))
    return dataclasses.replace(one, results=found)


def test_it_is_welchs_test_on_the_logarithms_of_the_sessions_means(plain):
    from scipy import stats

    pair = two(plain, [10, 10.4, 9.9, 10.2], [12, 12.2, 11.9])
    found = total(compare_sites.compare(pair, MARGIN))
    logs = [
        [math.log(sum(33 / 30 * each.train.spans[0].seconds * 3 for each in one.results) / 3) for one in pair[site]]
        for site in "ba"
    ]
    expected = stats.ttest_ind(*logs, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


@pytest.mark.parametrize(
    ("these", "those", "reason"),
    [
        ([10], [12], "cannot say: 2 more sessions of b and 2 more sessions of a"),
        ([10, 10, 10], [12, 12], "cannot say: 1 more session of b"),
        ([10, 10], [12, 12, 12], "cannot say: 1 more session of a"),
    ],
)
def test_below_three_sessions_a_side_it_says_how_many_more(plain, these, those, reason):
    found = compared(plain, these, those)
    assert (found.verdict, found.words, found.p_value) == ("cannot say", reason, None)


def test_repeats_of_a_session_are_not_counted_as_if_they_were_sessions(plain):
    """Sessions that differ by 20 % tell nothing of 5 %, however well the repeats of each agree."""
    found = compared(plain, [10, 12, 9, 11], [10.5, 12.6, 9.5, 11.4], spread=0.0001)
    assert found.verdict == "inconclusive" and "sessions of each would settle it" in found.words


def test_what_repeats_differ_by_is_shown(plain):
    at = compare_sites.compare(two(plain, [10] * 3, [10] * 3, spread=0.05), MARGIN).values["a"][SETTING]
    assert 0.02 < at["total_seconds"].within < 0.1 and len(at["total_seconds"].sessions) == 3


def test_alike_within_the_margin_is_equivalent(plain):
    assert compared(plain, [10, 10.02, 9.98], [10.01, 9.99, 10.0]).verdict == "equivalent"


def test_equal_sites_are_called_different_as_seldom_as_it_says():
    """400 pairs of sites with the same truth, three sessions of each that differ by 5 %."""
    noise = random.Random(1)  # noqa: S311 - repeatable
    found = 0
    for _ in range(400):
        groups = [[math.exp(noise.gauss(0, 0.05)) for _ in range(3)] for _ in range(2)]
        found += compare_sites.welch(*groups, MARGIN).p_differs < 0.05
    assert found / 400 < 0.08


def test_a_failed_repeat_leaves_no_verdict(plain):
    pair = two(plain, [10] * 3, [12] * 3)
    one = pair["b"][1]
    failed = dataclasses.replace(one.results[0], status="failed", reason="x", train=None, evaluate=None)
    pair["b"][1] = dataclasses.replace(one, results=[failed, *one.results[1:]])
    assert total(compare_sites.compare(pair, MARGIN)).words == "cannot say: 1 of the 9 repeats at b failed"


# ------------------------------------------------------------------------------------------------------------ causes


def on(card, **known):
    return environments.facts("host", environments.hardware(card), device=card.name, **known)


def test_one_cause_is_named_as_one(plain):
    found = compared(plain, [10, 10.1, 9.9], [12, 12.2, 11.9], results.older("host", torch="1.2.0").facts)
    assert found.words.endswith("; one cause differs: torch")


def test_of_several_causes_it_cannot_be_told_which(plain):
    older = results.older("host", python="3.7.16", torch="1.2.0").facts
    assert compared(plain, [10, 10.1, 9.9], [8, 8.2, 7.9], older).words.endswith(
        "; which of them it is cannot be told: Python, torch"
    )


def test_another_card_of_the_same_kind_is_no_cause(plain):
    same = dataclasses.replace(T4, uuid="GPU-9")
    here, there = (session(plain, site, 1, 10, on(card, gpu_uuid=card.uuid)) for site, card in (("a", T4), ("b", same)))
    assert causes.between([here], [there], SETTING).words.startswith(causes.NONE)


def test_gpu_cuda_and_driver_are_named(plain):
    newer = dataclasses.replace(P100, driver="470.1")
    here = session(plain, "a", 1, 10, on(T4))
    there = session(plain, "b", 1, 10, on(newer, cuda="9.2.148", cudnn=7401))
    assert causes.between([here], [there], SETTING).names == ("GPU", "driver", "CUDA", "cuDNN")


def test_what_differs_with_one_session_alone_is_named_too(plain):
    pair = two(plain, [10] * 3, [12, 12.1], on(T4))
    pair["a"] = [session(plain, "a", number, 10, on(T4)) for number in (1, 2, 3)]
    pair["b"].append(session(plain, "b", 3, 12, on(P100)))
    found = compare_sites.compare(pair, MARGIN)
    assert found.causes[0].names == ("GPU",)
    assert found.warnings == (f"sessions of b differ among themselves in GPU ({SETTING})",)


# -------------------------------------------------------------------------------------------------- what is no match


def test_another_job_is_one_line(plain):
    pair = two(plain, [10], [12])
    other = dataclasses.replace(pair["b"][0], job=dataclasses.replace(plain.job, train="python other.py"))
    with pytest.raises(FaceoffError, match=r"refused: sites/b/2026\S+ ran other code: train python other.py"):
        compare_sites.check_same({**pair, "b": [other]})


def test_another_machine_is_what_it_is_about_and_other_data_are_one_line(plain):
    pair = two(plain, [10], [12])
    there = dataclasses.replace(pair["b"][0], machine=results.machine("two", sites.other_hardware("Xeon")))
    compare_sites.check_same({**pair, "b": [there]})
    with pytest.raises(FaceoffError, match="are of other data; measure both on the same"):
        compare_sites.check_same({**pair, "b": [dataclasses.replace(there, data_sha256="e" * 64)]})


def test_another_variant_of_the_same_name_is_one_line(plain):
    ((name, variant),) = plain.params.variants.items()
    other = {name: dataclasses.replace(variant, parameters={**variant.parameters, "batch_size": 32})}
    pair = {**two(plain, [10], [12]), "b": [session(plain, "b", 1, 12, variants=other)]}
    with pytest.raises(FaceoffError, match=r"variant fp32-bs16 of sites/b/.* is not that of sites/a/"):
        compare_sites.check_same(pair)


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "a"]])
def test_fewer_than_two_sites_are_one_line(names):
    with pytest.raises(FaceoffError, match="--sites: expected at least two sites, each once"):
        compare_sites.read(names)


def test_a_site_of_which_nothing_was_collected_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FaceoffError, match=r"no site c: expected one of those that were collected \(none\); `.venv/bin/python -m"
    ):
        compare_sites.read(["c", "d"])


# -------------------------------------------------------------------------------------------------------------- cost


def price(**changes):
    return schema.PriceParams(**{**sites.PRICE, **changes})


def priced(plain, *prices, seconds=10.0):
    provider = plain.params.provider
    return [
        session(plain, "a", number, seconds, spread=0, provider=dataclasses.replace(provider, price=each))
        for number, each in enumerate(prices, 1)
    ]


def test_the_price_of_a_run_of_a_step_and_of_a_thousand_samples(plain):
    found = cost.of_setting(priced(plain, price(), price(), price()), SETTING)
    per_second = 0.36 / 3600
    assert found.currency == "USD" and found.run_seconds == pytest.approx(33.0)
    assert found.per_run == pytest.approx(33 * per_second)
    assert found.per_run_low == pytest.approx(found.per_run) == found.per_run_high
    assert found.seconds_per_step == pytest.approx(0.45) and found.per_step == pytest.approx(0.45 * per_second)
    assert found.per_thousand_samples == pytest.approx(1000 / (320 / 9) * per_second)
    assert found.reached == {"accuracy": pytest.approx(0.97)}


def test_the_interval_of_the_price_is_that_of_the_time(plain):
    its = [session(plain, "a", number, each, spread=0) for number, each in enumerate((10.0, 11.0, 10.5), 1)]
    found = cost.of_setting(its, SETTING)
    assert found.per_run_low / found.per_run == pytest.approx(found.run_low / found.run_seconds)
    assert found.per_run_low < found.per_run < found.per_run_high


def test_a_session_is_billed_from_its_begin_and_pauses_are_not(plain):
    assert plain.began_at is not None
    cells = plain.results
    end = sessions.moment(cells[-1].evaluate.started_at).timestamp() + cells[-1].evaluate.wall_seconds
    begin = sessions.moment(plain.began_at).timestamp()
    assert cost.billed_seconds(plain) == pytest.approx(end - begin)
    moved = [
        dataclasses.replace(stage, started_at=stage.started_at.replace("2026-01-02", "2026-01-03"))
        for stage in (cells[-1].train, cells[-1].evaluate)
    ]
    later = dataclasses.replace(cells[-1], train=moved[0], evaluate=moved[1])
    gap = sessions.moment(cells[-1].train.started_at).timestamp() - (
        sessions.moment(cells[-2].evaluate.started_at).timestamp() + cells[-2].evaluate.wall_seconds
    )
    paused = dataclasses.replace(plain, results=[*cells[:-1], later])
    assert cost.billed_seconds(paused) == pytest.approx(cost.billed_seconds(plain) - gap)


def test_what_all_runs_cost_as_billed_is_what_the_session_cost(plain):
    found = cost.of_setting([plain], SETTING)
    assert 3 * found.run_as_billed == pytest.approx(found.session)


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        ([None, None], "no price is stated"),
        ([{}, None], "1 of 2 sessions state no price"),
        ([{}, {"currency": "EUR"}], "its sessions state prices in USD and EUR"),
    ],
)
def test_without_one_price_for_all_there_is_none(plain, prices, reason):
    found = cost.of_setting(priced(plain, *(None if each is None else price(**each) for each in prices)), SETTING)
    assert (found.why_not, found.per_run, found.session, found.currency) == (reason, None, None, None)
    assert words.cost_row(found)[3] == "-" and "USD" not in words.estimate(found)


def test_a_machine_for_nothing_costs_nothing(plain):
    found = cost.of_setting(priced(plain, price(amount=0), price(amount=0), price(amount=0)), SETTING)
    assert (found.per_run, found.session) == (0, 0) and words.money(found.session, found.currency) == "0 USD"


def test_no_price_enters_a_verdict(plain):
    pair = two(plain, [10, 10.1, 9.9], [12, 12.2, 11.9])
    free = {
        site: [dataclasses.replace(each, params=_unpriced(each.params)) for each in its] for site, its in pair.items()
    }
    assert compare_sites.compare(pair, MARGIN).against == compare_sites.compare(free, MARGIN).against


def _unpriced(params):
    return dataclasses.replace(params, provider=dataclasses.replace(params.provider, price=None))


def test_the_table_is_that_of_sky_bench(plain):
    found = cost.of_setting(priced(plain, price(), price(), price()), SETTING)
    assert words.COSTS[2:] == ("DURATION", "$", "SEC/STEP", "$/STEP", "EST")
    duration, session_price, step, step_price, est = words.cost_row(found)[2:]
    assert duration == "57.0 s" and session_price.endswith(" USD") and step == "0.45 s"
    assert step_price == "4.5e-05 USD" and est == "33.0 s [33.0 s, 33.0 s], 0.0033 USD [0.0033, 0.0033]"


def test_what_a_record_says_is_text_on_the_terminal(plain):
    hostile = "\x1b]0;owned\x07\x1b[31m [red]x[/red] [link=https://x.example]y[/link]\r\n"
    found = compare_sites.compare(two(plain, [10] * 3, [12] * 3), MARGIN)
    session_at = dataclasses.replace(found.sessions[0], machine=hostile)
    against = dataclasses.replace(found.against[0], words=hostile)
    found = dataclasses.replace(
        found, sessions=(session_at,), against=(against,), warnings=(hostile,), prices={"a": hostile}
    )
    for terminal in (True, False):
        screen = io.StringIO()
        words.show(found, Console(file=screen, force_terminal=terminal, width=80))
        read = screen.getvalue()
        assert not {*read} & {"\x1b", "\x07", "\r"} and read.count("[red]x[/red] [link=https://x.example]y[/link]") == 4


# ------------------------------------------------------------------------------------------------------- what is kept


def test_the_record_is_read_as_it_was_written(plain, tmp_path):
    found = compare_sites.compare(two(plain, [10, 10.1, 9.9], [12, 12.2]), MARGIN)
    codec.write(tmp_path / "sites.json", found)
    assert codec.read(tmp_path / "sites.json", SitesComparison) == found


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_a_csv_file_is_a_formula(plain, text):
    one = session(plain, "a", 1, 10)
    train = one.results[0].train
    spans = (dataclasses.replace(train.spans[0], name=text, values={text: 1.0}),)
    its = [dataclasses.replace(one.results[0], train=dataclasses.replace(train, spans=spans))]
    (line,) = scorecards.curves("a", [dataclasses.replace(one, results=its)]).splitlines()[1:]
    assert line == f"a,{SETTING},1,'{text},'{text},1.0"
