"""The pipeline knows nothing of any job: it imports none, and no line of it names what one trains on or with."""

import ast
import re

import pytest

from tests.project import JOBS, ROOT

# Whole words, which '_' and digits end too. `frozen=True` is a dataclass's own.
WORDS = re.compile(r"(?i)(?<![a-z])(cats?|dogs?|photos?|fastai|tta|(un)?frozen(?!=True)|jpe?g|recipes?)(?![a-z])")
FILES = sorted(path for path in (ROOT / "stages").rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_of_the_pipeline_names_what_a_job_is_about(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    assert [f"{number}: {line}" for number, line in enumerate(lines, 1) if WORDS.search(line)] == []
    assert not WORDS.search(path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("line", ["predict_tta", "two Cats", "frozen_epochs", "fastai2", "a .jpg", "recipe.size"])
def test_the_words_are_found_wherever_they_stand(line):
    assert WORDS.search(line)


@pytest.mark.parametrize("line", ["@dataclass(frozen=True)", "concatenate", "frozenset", "category", "metadata"])
def test_other_words_that_hold_their_letters_are_free(line):
    assert not WORDS.search(line)


def imported(path):
    """Modules that a Python file imports, by their full names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_of_the_pipeline_imports_a_job():
    sources = [path for path in FILES if path.suffix == ".py"]
    found = {path.name: name for path in sources for name in imported(path) if name.split(".")[0] == "jobs"}
    assert sources and found == {}


def test_a_job_imports_of_the_pipeline_what_runs_everywhere_alone():
    sources = [path for name in JOBS for path in (ROOT / "jobs" / name).rglob("*.py")]
    names = {name for path in sources for name in imported(path) if name.split(".")[0] == "stages"}
    assert names and {name.split(".")[1] for name in names} <= {"codec", "contract", "errors", "units", "watched"}
