"""Every check of a preflight, shown; and the checks inside an image, run from here."""

import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages import checks
from stages.records import Check

STYLES = {"failed": "red", "warning": "yellow", "not checked": "dim", "passed": "green"}


def look_inside(image: str) -> int:
    """Have stages.preflight_inside look; return its exit code."""
    print(f"inside {image}:")
    began = time.monotonic()
    code = run_stage("inside", image, "--preflight")
    print(f"inside {image}: {time.monotonic() - began:.0f} s")
    return code


def run_stage(*arguments: str) -> int:
    """Run a stage; return its exit code."""
    with subprocess.Popen([sys.executable, "-m", f"stages.{arguments[0]}", *arguments[1:]]) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()  # not killed, as subprocess.run does: it removes its container, which `with` waits for
            raise


def show(found: tuple[Check, ...], console: Console) -> None:
    """Show every check: in a table on a terminal, a line each otherwise."""
    if not console.is_terminal:
        for each in found:
            print(f"{each.status}: {checks.sentence(each)}")
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for each in found:
        words = Text(each.name, "bold").append(f"\nneeds {each.needed}; found: {each.found}", "not bold")
        if each.advice is not None:
            words.append(f"\n{each.advice}", f"not bold {STYLES[each.status]}")
        table.add_row(Text(each.status, STYLES[each.status]), words)
    console.print(table)
