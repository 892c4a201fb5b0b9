"""A real Chromium for the tests that open the page: they fail without it where FACEOFF_REQUIRE_ENGINE is set."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.real_engine import REQUIRED

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (  # what Chromium would fetch by itself is no doing of the page
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The browser. Skips the test where there is none, unless there has to be one."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no {', '.join(PROGRAMS)}")
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
