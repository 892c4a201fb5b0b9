"""Docstrings begin with a sentence that stands alone, names say what they hold, functions and files are short."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import JOBS, ROOT

FOLDERS = ("stages", "benchmarks", "reach", *(f"jobs/{name}" for name in JOBS))
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
FUNCTION_LINES, FILE_LINES = 50, 400

# A first line that begins with one of these goes on with the name above it, which its reader may not have seen.
FRAGMENTS = {"Of", "For", "From", "By", "In", "To", "With", "And", "As", "At", "On", "Likewise", "Within", "Beside"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Alone they say nothing of what they hold; the latter also as a part: `_told`, `NOTHING_TOLD`.
WHOLE_NAMES, PARTS = {"of"}, {"told", "tried"}
# Words of earlier versions; the code has one word for each thing (a metric is no figure, except matplotlib's Figure).
GONE = re.compile(r"(?i)\b(doubts|sittings?|obstacles?|steadiness|figures)\b")
PROSE = [
    *(
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".yaml", ".md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]


def fragments(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
        if text and re.split(r"\W", text, maxsplit=1)[0] in FRAGMENTS:
            yield text.splitlines()[0]


def names(tree: ast.AST) -> Iterator[str]:
    """Names that the code gives: variables, parameters, fields, functions, classes, and what an import is called."""
    for node in ast.walk(tree):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.arg, ast.keyword)):
            yield node.arg or ""
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.asname or ""
        elif isinstance(node, ast.ExceptHandler):
            yield node.name or ""


def meaningless(tree: ast.AST) -> Iterator[str]:
    for name in names(tree):
        words = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower().strip("_").split("_")
        if "_".join(words) in WHOLE_NAMES or PARTS & {*words}:
            yield name


def long_functions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name}: {lines} lines"


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def found(rule, paths=FILES) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {each}" for path in paths for each in rule(parsed(path))]


def test_every_docstring_begins_with_a_sentence_that_stands_alone():
    assert len(FILES) > 100 and found(fragments) == []


def test_names_say_what_they_hold():
    assert found(meaningless) == []


def test_functions_are_short():
    assert found(long_functions) == []


def test_files_are_short():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_words_of_earlier_versions_are_gone():
    lines = [(path, line) for path in PROSE for line in path.read_text(encoding="utf-8").splitlines()]
    assert [f"{path.relative_to(ROOT)}: {line}" for path, line in lines if GONE.search(line)] == []


@pytest.mark.parametrize(
    "code", ['"""Of pairs."""', 'def f():\n    """In the child, first."""', 'class A:\n    """By: b."""']
)
def test_a_fragment_is_found(code):
    assert [*fragments(ast.parse(code))]


@pytest.mark.parametrize(
    "code", ['"""Output of a job."""', 'def f():\n    """Return it.\n\n    Of all."""', "x = 'Of'"]
)
def test_a_sentence_is_no_fragment(code):
    assert [*fragments(ast.parse(code))] == []


@pytest.mark.parametrize(
    "code",
    ["told = 1", "def f(of): ...", "a.tried", "class Told: ...", "NOTHING_TOLD = 0", "f(of=1)", "for _, of in a: ..."],
)
def test_a_name_without_a_meaning_is_found(code):
    assert [*meaningless(ast.parse(code))]


@pytest.mark.parametrize("code", ["of_job = 1", "def offer(photos_of): ...", "'told'", "retried = 2"])
def test_other_names_are_free(code):
    assert [*meaningless(ast.parse(code))] == []


@pytest.mark.parametrize(("lines", "long"), [(FUNCTION_LINES, False), (FUNCTION_LINES + 1, True)])
def test_a_function_is_measured_whole(lines, long):
    assert bool([*long_functions(ast.parse("def f():\n" + "    x = 1\n" * (lines - 1)))]) is long
