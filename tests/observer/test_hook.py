"""What the hook does to the program that it runs in: nothing that shows."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from stages.workload.observer.read import NOT_SEEN, observed
from tests.observer.observing import HOOK, SCRIPTS, environment, observe

OLDER = [
    path
    for version in ("2.7", "3.6", "3.7", "3.13")
    for path in Path.home().glob(f".pyenv/versions/{version}*/bin/python")
]


def run(*command: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=SCRIPTS, env=changes, capture_output=True, text=True, timeout=100)


def test_output_exit_code_and_random_numbers_stay_as_they_are(tmp_path: Path) -> None:
    with_it = observe(tmp_path, "unchanged.py")
    without = run(sys.executable, "unchanged.py", **environment(tmp_path / "none", FACEOFF_OBSERVE="", PYTHONPATH=""))
    assert (with_it.done.returncode, without.returncode) == (3, 3), with_it.done.stderr
    assert (with_it.done.stdout, with_it.done.stderr) == (without.stdout, without.stderr)
    assert with_it.counts == {"train": 1, "steps": 4, "samples": 64, "validation": 0}


def test_a_killed_program_leaves_whole_lines_up_to_its_last_second(tmp_path: Path) -> None:
    seen = observe(tmp_path, "killed.py")
    assert seen.done.returncode == -9
    assert seen.files[0].read_text().endswith("}\n")
    assert seen.counts["steps"] > 20


@pytest.mark.parametrize("trouble", ["no folder", "full disk"])
def test_where_nothing_can_be_written_the_program_goes_on_and_one_line_says_so(tmp_path: Path, trouble: str) -> None:
    prefix = tmp_path / ("missing/observed" if trouble == "no folder" else "observed")
    limit = "ulimit -f 4; exec " if trouble == "full disk" else "exec "  # 4 KiB a file
    command = f"{limit}{sys.executable} plain.py"
    done = run("bash", "-c", command, **environment(prefix))
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["steps"] == 63
    assert [line for line in done.stderr.splitlines() if line.startswith("faceoff: ")] == done.stderr.splitlines()
    assert done.stderr.count("\n") == 1 and "steps are not recorded any more" in done.stderr
    found = observed(prefix)
    assert (0 < sum(span.steps or 0 for span in found.spans) < 63) == (trouble == "full disk")


@pytest.mark.parametrize("python", [sys.executable, *map(str, OLDER)])
def test_a_program_without_torch_is_left_alone_in_any_python(tmp_path: Path, python: str) -> None:
    script = "import sys; print('%s %s' % ([each for each in sys.path if 'hook' in each], 'json' in sys.modules))"
    done = run(python, "-c", script, **environment(tmp_path / "observed"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] False\n", "")
    assert observed(tmp_path / "observed").notes == (NOT_SEEN,)
    assert list(tmp_path.iterdir()) == []


def test_an_isolated_python_is_not_observed_and_that_is_said(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import plain"
    seen = observe(tmp_path, "-I", "-c", code)
    assert seen.truth["steps"] == 63
    assert (seen.observation.spans, seen.observation.notes, seen.files) == ((), (NOT_SEEN,), [])


@pytest.mark.parametrize("python", [sys.executable, *map(str, OLDER)])
def test_the_sitecustomize_that_it_hides_runs_as_ever(tmp_path: Path, python: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import sys\nsys.path.append('/added')\nname = __name__\n")
    path = f"{HOOK}:{other}"
    script = "import os, sys, sitecustomize as s; print(' '.join([s.name, os.path.dirname(s.__file__), sys.path[-1]]))"
    done = run(python, "-c", script, **environment(tmp_path / "observed", PYTHONPATH=path))
    assert done.stdout.split() == ["sitecustomize", str(other), "/added"], done.stderr


def test_one_that_fails_does_so_as_ever(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import nothing_of_this_name\n")
    alone, chained = (
        run(sys.executable, "-c", "print('goes on')", **environment(tmp_path / "observed", PYTHONPATH=path))
        for path in (str(tmp_path), f"{HOOK}:{tmp_path}")
    )
    assert chained.stdout == alone.stdout == "goes on\n"
    assert chained.stderr == alone.stderr and "nothing_of_this_name" in alone.stderr


KAGGLES = """
import importlib.abc, importlib.machinery, sys
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "made_by_the_image" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.answer = 42
sys.meta_path.insert(0, Finder())
"""


def test_one_that_imports_torch_and_hooks_imports_as_kaggles_did_goes_on_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import torch\n" + KAGGLES)
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import made_by_the_image; import plain"
    seen = observe(tmp_path, "-c", f"{code}; assert made_by_the_image.answer == 42", PYTHONPATH=f"{HOOK}:{tmp_path}")
    assert seen.done.returncode == 0, seen.done.stderr
    assert seen.counts["steps"] == 63


def test_a_program_without_torch_pays_little(tmp_path: Path) -> None:
    """Of the processor's time: the machine may have other things to do."""

    def seconds(path: str) -> float:
        child = subprocess.Popen([sys.executable, "-c", ""], env=environment(tmp_path / "o", PYTHONPATH=path))
        used = os.wait4(child.pid, 0)[2]
        child.returncode = 0
        return used.ru_utime + used.ru_stime

    pairs = [(seconds(str(HOOK)), seconds(str(tmp_path))) for _ in range(15)]
    usual = statistics.median(without for _, without in pairs)
    cost = statistics.median(with_it - without for with_it, without in pairs)
    print(f"{cost * 1e3:.2f} ms of {usual * 1e3:.1f} ms")  # 2 ms are allowed
    assert cost < 0.25 * usual
