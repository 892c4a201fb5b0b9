"""Modules whose import is put off: they are there for whoever asks, as they are."""

import subprocess
import sys
from pathlib import Path

PREPARED = """
import sys
from jobs.dogs_cats import imports
imports.LATER.clear()
imports.LATER.update({"heavy": (), "heavy.part": ("work", "Kind"), "heavy.other": (), "missing": ()})
user = imports.load("user")
"""
USER = """
import heavy.other as other
from heavy.part import work
try:
    import missing
except ModuleNotFoundError:
    missing = None
"""
PART = """
def work(size, *, times=1):
    return size * times

class Kind:
    def size(self):
        pass
"""
NAMES = """
import inspect
import heavy.part as part

def kept(one: part.Kind, size: object = part.Kind.size) -> (int, part.Kind):
    pass

SIGNATURE = inspect.signature(part.Kind.size)
"""


def run(folder: Path, text: str, user: str = USER) -> str:
    """What a program prints that has a package `heavy`, and a module `user` that imports of it."""
    (folder / "heavy").mkdir(exist_ok=True)
    (folder / "heavy/__init__.py").write_text("print('heavy')\nVERSION = 3\n")
    (folder / "heavy/part.py").write_text(PART)
    (folder / "heavy/other.py").write_text("print('other')\nfrom heavy import VERSION\nNUMBER = VERSION + 1\n")
    (folder / "user.py").write_text(user)
    root = Path(__file__).resolve().parents[3]
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(root)!r}]\n{PREPARED}{text}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_a_module_is_imported_when_something_of_it_is_asked_for(tmp_path: Path) -> None:
    assert run(tmp_path, "print([each for each in sys.modules if 'heavy' in each])") == "[]\n"
    assert run(tmp_path, "print(user.other.NUMBER)") == "heavy\nother\n4\n"
    assert run(tmp_path, "print(user.work(2, times=3))") == "heavy\n6\n"


def test_who_imports_it_afterwards_has_the_module_itself(tmp_path: Path) -> None:
    text = "import heavy.other; print(heavy.VERSION, heavy.__file__ == heavy.__spec__.origin, heavy.other.NUMBER)"
    assert run(tmp_path, text) == "heavy\nother\n3 True 4\n"


def test_who_takes_something_else_of_it_by_name_has_that_at_once(tmp_path: Path) -> None:
    assert run(tmp_path, "print(user.NUMBER)", "from heavy.other import NUMBER") == "heavy\nother\n4\n"
    assert run(tmp_path, "print(user.VERSION)", "from heavy import VERSION") == "heavy\n3\n"


def test_what_is_not_installed_is_missing(tmp_path: Path) -> None:
    assert run(tmp_path, "print(user.missing)") == "None\n"


def test_a_name_stands_in_signatures_without_an_import(tmp_path: Path) -> None:
    assert run(tmp_path, "print([each for each in sys.modules if 'heavy' in each])", NAMES) == "[]\n"
    assert run(tmp_path, "print(type(user.part.Kind()).__module__)", NAMES) == "heavy\nheavy.part\n"


def test_where_more_is_asked_for_than_was_foreseen_all_is_imported(tmp_path: Path) -> None:
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy/unforeseen.py").write_text("from heavy.part import Kind\nSIZE = 7\n")
    assert run(tmp_path, "print(user.SIZE, user.Kind)", "from heavy.unforeseen import *") == (
        "heavy\n7 <class 'heavy.part.Kind'>\n"
    )
