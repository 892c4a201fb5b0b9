"""Tests run side by side (`pytest -n`), but for those that measure time and so need the machine to themselves."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest

from tests.project import ROOT
from tests.supervised import PYTHONS

# pytest's main process imports readline, which sets these for all that it starts: then what is no terminal has 80
# columns, and lines are broken that are whole for whoever runs the same.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
# Whoever runs them may sign each commit, have hooks or other branches, stage what DVC writes, or be in a hook of git's.
for name in [each for each in os.environ if each.startswith(("GIT_", "DVC_"))]:
    del os.environ[name]
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
os.environ |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), "/faceoff/has/none")
# Of a suite under nohup or in the background, which what a test starts would ignore too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the stages, whatever PYTHONDONTWRITEBYTECODE says: a fifth of what each that a test starts takes.

    For images' Python 3.7 too, where there is one; what it does not understand is not for it.
    """
    if not hasattr(config, "workerinput"):
        for python in PYTHONS:
            subprocess.run([python, "-m", "compileall", "-qq", "stages"], cwd=ROOT)


hypothesis.settings.register_profile("any machine", deadline=None)  # on one with other work an example takes its time
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are CPUs: tests wait for a third of their time, for pauses, containers and other machines."""
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that need the machine alone last, where tests are short: they wait until each that runs has ended."""
    last = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: item.path in last)


def pytest_collection_finish() -> None:
    """What was imported by now stays: no collection of garbage looks through it, of which statsmodels has one for each
    correction of p-values.
    """
    gc.freeze()


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that is marked `alone` runs while no other test does. Its wider fixtures are made before that."""
    if not hasattr(request.config, "workerinput"):  # of pytest-xdist: there is one process of tests
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent  # of this run, the same for all of its processes
    how = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    with ExitStack() as held:
        # Who waits for the machine holds the queue, or those that share it would never leave it empty.
        with _locked(folder / "queue", fcntl.LOCK_EX):
            held.enter_context(_locked(folder / "machine", how))
        yield


@pytest.fixture(autouse=True)
def leaves_its_process_as_it_was() -> Iterator[None]:
    """A test may go where it likes and comes back: whatever the order, the next one begins as the first did."""
    before = _process()
    yield
    after = _process()
    assert [
        (name, before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)
    ] == []


def _process() -> dict[str, object]:
    """What all tests of a process share, and one may have changed for the next."""
    variables = {f"${name}": value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    return {"folder": Path.cwd(), "sys.path": [*sys.path], "handlers": handlers, **variables}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have to tell though they pass, as their property 'told': another process's output is lost.

    And in one line what was skipped: without a Docker engine it would be one for each of 145 tests.
    """
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.line(str(value))
    skipped = Counter(_reason(report) for report in terminalreporter.getreports("skipped"))
    if skipped:
        reasons = (f"{reason} ({count})" for reason, count in skipped.most_common())
        terminalreporter.line(f"faceoff: skipped {skipped.total()} tests: {'; '.join(reasons)}")


def _reason(report: pytest.TestReport) -> str:
    """Why it was skipped, in one line."""
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(words.removeprefix("Skipped: ").split())


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield
