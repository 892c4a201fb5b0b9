"""Why a setting takes longer or shorter than in an earlier run: which parts of it do, and what is not as it was."""

from collections.abc import Iterator, Mapping, Sequence

from stages.harness.comparison import as_run, explanation, profile_diff, regression
from stages.harness.comparison.parts import parts
from stages.harness.comparison.regression import Run
from stages.harness.results.metrics import TOTAL
from stages.harness.results.read import CellResult
from stages.records import Change


def why(now: Run, then: Run, changes: Sequence[Change]) -> dict[str, tuple[str, ...]]:
    """Say it of every setting that there is something to say of. `changes`: what regression.changes says of the two."""
    verdicts: Mapping[str, str] = {each.setting: each.verdict for each in changes if each.metric == TOTAL}
    found = {
        name: tuple(_sentences(now, group, then, before, verdicts.get(name, "cannot say")))
        for name, (group, before) in regression.in_both(now, then).items()
    }
    return {name: sentences for name, sentences in found.items() if sentences}


def _sentences(
    now: Run, group: Sequence[CellResult], then: Run, before: Sequence[CellResult], verdict: str
) -> Iterator[str]:
    is_sure = verdict in ("faster", "slower")
    pieces = parts(group, before, now.job.total) if is_sure else ()
    if (sum(part.difference for part in pieces) > 0) == (verdict == "slower"):
        yield from explanation.attribution(pieces, verdict)[1]
    unlike = differences(now, group, then, before)
    if unlike:
        yield f"Changed since {then.name}: {'; '.join(unlike)}."
    elif is_sure:
        yield f"Nothing that is known of its code, environment and parameters changed since {then.name}."


def differences(
    now: Run, results: Sequence[CellResult], then: Run, results_then: Sequence[CellResult]
) -> tuple[str, ...]:
    """Say what of the job's code and of a setting's environment and parameters is not as it was."""
    found = [*regression.code(now.job, then.job)]
    facts, were = as_run.facts(results, now.profiles), as_run.facts(results_then, then.profiles)
    if facts and were:
        found += [f"{each.what} {each.b}, not {each.a}" for each in profile_diff.differences(were, facts) if each.cause]
    variant, was = as_run.variant(results), as_run.variant(results_then)
    if variant and was:
        ours, theirs = ({**each.parameters, "gpus": each.gpus} for each in (variant, was))
        for name in dict.fromkeys((*theirs, *ours)):
            here, there = (each.get(name, "left out") for each in (ours, theirs))
            found += [f"{name} {here}, not {there}"] if here != there else []
    return tuple(found)
