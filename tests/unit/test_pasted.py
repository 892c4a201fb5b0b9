"""Commands that faceoff prints can be pasted into the user's shell as they are, whatever its PATH says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.project import JOBS, ROOT

# `dvc metrics diff` alone is what something is called, and no command.
BARE = re.compile(r"(?<![\w/.-])(?:dvc (?:repro|commit|checkout|queue|exp|metrics diff [^`])|python3? -m )")
INSIDE_IMAGES = ("stages/profile.py", "stages/preflight_inside.py", "stages/workload/supervisor/__init__.py")


IN_DOCS = re.compile(r"(?m)^(?:dvc|python3? -m) |`python3? -m (?:stages|reach|benchmarks)\.")


def printed(path: Path) -> Iterator[str]:
    """The texts of a file that are no docstring."""
    text = path.read_text(encoding="utf-8")
    if not BARE.search(text):
        return
    tree = ast.parse(text)
    alone = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in alone:
            yield each.value


def test_printed_commands_name_venvs_python_and_dvc() -> None:
    parts = ("stages", "reach", *(f"jobs/{name}" for name in JOBS))
    files = [path for part in parts for path in sorted((ROOT / part).rglob("*.py"))]
    of_host = [path for path in files if str(path.relative_to(ROOT)) not in INSIDE_IMAGES]
    found = [f"{path.relative_to(ROOT)}: {text!r}" for path in of_host for text in printed(path) if BARE.search(text)]
    assert found == []
    assert BARE.search("run `dvc repro -f`") and not BARE.search("run `.venv/bin/dvc repro -f`")


def test_a_page_whose_commands_name_no_venv_says_which_shell_they_are_for() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    bare = {page.name: page.read_text(encoding="utf-8") for page in pages if IN_DOCS.search(page.read_text("utf-8"))}
    assert "history.md" in bare
    assert [name for name, text in bare.items() if ". .venv/bin/activate" not in text] == []
