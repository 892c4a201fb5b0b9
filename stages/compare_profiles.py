"""What differs between two environments, hardware and software apart, and whether a timing of them isolates one cause.

    python -m stages.compare_profiles cuda-9.2 cuda-10.0
    python -m stages.compare_profiles main:host host

Each is an image, or REV:IMAGE: the image as a commit's results have it.
"""

import argparse
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from stages import codec, records
from stages.codec import Record
from stages.errors import FaceoffError, run_entry
from stages.harness.comparison import as_run, profile_diff
from stages.harness.pipeline import revisions
from stages.harness.process import git
from stages.harness.results.read import failure


def main() -> int:
    """Print what differs, and whether that is one cause."""
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m stages.compare_profiles")
    for name in ("A", "B"):
        parser.add_argument(name, help="an image, or REV:IMAGE")
    given = parser.parse_args()
    a, b = read(given.A), read(given.B)
    found = profile_diff.differences(a[0], b[0], (a[1], b[1]))
    console = Console()
    for kind in ("hardware", "software"):
        of_kind = [each for each in found if each.kind == kind]
        console.print(f"{kind.capitalize()}{'' if of_kind else ': nothing differs'}", style="bold", highlight=False)
        if of_kind:
            show(of_kind, given.A, given.B, console)
    unbroken = not console.is_terminal
    console.print(profile_diff.isolation(found), style="bold", markup=False, highlight=False, soft_wrap=unbroken)
    return 0


def read(place: str) -> tuple[records.Facts, records.Image]:
    """Read the facts of an image and what the engine said of it, as they are now or, for REV:IMAGE, in a commit."""
    revision, _, image = place.rpartition(":")
    reason = None if revision else failure(image)
    if reason:
        raise FaceoffError(f"{place} has no profile to compare: {reason}")
    facts = _read(records.facts_path(image), records.Facts, revision, place)
    of_engine = _read(records.image_path(image), records.Image, revision, place)
    return as_run.of_image(facts, of_engine), of_engine


def _read(path: Path, kind: type[Record], revision: str, place: str) -> Record:
    if not revision:
        return codec.read(path, kind)
    known = revisions.known(revision)
    try:
        shown = git.run("show", f"{known}:./{path}").decode(errors="replace")
    except FaceoffError as error:
        said = f"{place}: git has no {path} there ({error}); name a commit with results of this image"
        raise FaceoffError(said) from None
    return codec.parse(shown, kind, f"{known}:{path}")


def show(found: list[profile_diff.Difference], a: str, b: str, console: Console) -> None:
    """Print a table on a terminal; in a pipe a line each, which nothing breaks."""
    if not console.is_terminal:
        for each in found:
            cause = f" ({each.cause})" if each.cause not in ("", each.what) else ""
            print(f"  {each.what}{cause}: {each.a} | {each.b}")
        return
    table = Table("what", a, b, "cause", box=box.SIMPLE)
    for each in found:
        table.add_row(each.what, each.a, each.b, each.cause)
    console.print(table, markup=False)


if __name__ == "__main__":
    run_entry(main)
