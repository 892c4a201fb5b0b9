"""The page of a history in a real Chromium: quiet, readable by everybody, and deaf to what a commit says."""

import dataclasses

import pytest
from axe_playwright_python.sync_playwright import Axe

from stages import codec
from stages.harness.comparison import history
from stages.harness.comparison.history import Measured
from stages.harness.report import history as report
from tests import faceoffs
from tests.browser import open_browser
from tests.page.pages import HOSTILE
from tests.unit.test_history import commit, measured, runs

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    every = runs(*[10] * 8, *[11] * 6)
    every = [Measured(dataclasses.replace(each.commit, subject=HOSTILE), each.run) for each in every]
    silent = measured(14, faceoffs.with_facts(faceoffs.face_off(host=[11.0, 11.1]), "host", device=HOSTILE))
    every += [silent, Measured(commit(15, HOSTILE), None, HOSTILE)]
    path = tmp_path_factory.mktemp("history") / "history.html"
    codec.write_text(path, report.html(history.history(every), 0.02))
    return path


def test_it_is_quiet_asks_for_nothing_and_is_readable_on_any_width(file):
    with open_browser() as browser:
        for width in (1280, 390):
            context = browser.new_context(viewport={"width": width, "height": 900})
            page, said, asked = context.new_page(), [], []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            context.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(file.as_uri())
            title = page.title()
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            assert (said, asked, title) == ([], [file.as_uri()], page.title())
            assert "is slower since 0000008" in title
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("svg:visible").count() == page.locator("figure").count() > 5
            assert Axe().run(page).response["violations"] == []
            context.close()
