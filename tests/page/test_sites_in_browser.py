"""The page of sites in a real Chromium: what other machines say of themselves is text, and nothing else."""

import dataclasses
import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from stages import records
from stages.harness.params import schema
from stages.harness.report.sites import page, remade
from stages.harness.report.sites.words import COSTS
from stages.harness.sites import collect, compare_sites
from tests import results, sites
from tests.browser import open_browser
from tests.page.pages import HOSTILE

pytestmark = pytest.mark.browser

SCRIPT = b"<!doctype html><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sites of three sessions, packed by machines of which one says hostile things of itself, and their page."""
    made = sites.make_project(tmp_path_factory.mktemp("sites") / "project")
    sites.priced(made, source=HOSTILE)
    sites.change_params(made, lambda params: params["provider"].update(name=HOSTILE, source="javascript:alert(1)"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        for number in range(6):
            site = "ab"[number % 2]
            hostile = {"machine": machine(), "profile": profile()} if site == "b" else {}
            sites.measure(made, number, **hostile, host=10 + 2 * (number % 2))
            records.PAGE_PATH.parent.mkdir(exist_ok=True)
            records.PAGE_PATH.write_bytes(SCRIPT)
            collect.collect(sites.packed(made / f"{number}.zip"), site, remade.remake)
        compared = compare_sites.compare(compare_sites.read(["a", "b"]), schema.load().compare.margin)
    compared = dataclasses.replace(compared, warnings=(HOSTILE,))
    (made / "sites.html").write_text(page.html(compared), encoding="utf-8")
    return made


def machine():
    return results.machine(HOSTILE, sites.other_hardware(HOSTILE))


def profile():
    plain = results.older("host", torch=HOSTILE)
    facts = dataclasses.replace(plain.facts, os=HOSTILE, variables={HOSTILE: HOSTILE})
    return dataclasses.replace(plain, facts=facts)


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture
def opened(browser, folder):
    """The page, what it said on the console, and what it asked for."""
    context = browser.new_context()
    found, said, asked = context.new_page(), [], []
    found.on("console", lambda message: said.append(message.text))
    found.on("pageerror", lambda error: said.append(str(error)))
    context.on("request", lambda request: asked.append(request.url))
    found.goto((folder / "sites.html").as_uri(), wait_until="networkidle")
    found.evaluate(OPEN_ALL)
    yield found, said, asked
    context.close()


def test_what_records_say_is_text_and_nothing_runs(opened, folder):
    found, said, asked = opened
    assert (said, asked) == ([], [(folder / "sites.html").as_uri()])
    assert found.title() == "Sites: a, b"
    read = found.inner_text("body")
    assert read.count(HOSTILE) >= 6  # the machine, the operating system, torch, a variable, the price, a warning
    assert found.eval_on_selector_all("script, img, a:not([href^='#'])", "all => all.length") == 0


def test_the_verdict_the_causes_and_the_cost_are_there(opened):
    found, _, _ = opened
    verdict = found.inner_text("#verdicts")
    assert "slower" in verdict and "3 against 3 sessions" in verdict
    assert "Which of them it is cannot be told: " in found.inner_text("#causes")
    cost = found.inner_text("#cost")
    assert all(each in cost for each in COSTS) and "0.36 USD per hour" in cost
    assert len(re.findall(r"2026010\d-030405-", found.inner_text("#sessions"))) == 6


def test_everybody_can_read_it(opened):
    found, _, _ = opened
    violations = Axe().run(found).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_runs_out_of_the_page(opened, width):
    found, _, _ = opened
    found.set_viewport_size({"width": width, "height": 900})
    assert found.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_that_came_with_a_pack_is_not_laid_down(folder):
    packed = json.loads(next((folder / "sites/a").glob("*/pack.json")).read_text())["files"]
    assert str(records.PAGE_PATH) in packed
    assert [*(folder / "sites").glob("*/*/reports/*.html")] == []  # there was no comparison to make one of
