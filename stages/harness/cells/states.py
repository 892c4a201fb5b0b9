"""States of trainings that are done: no later run may take its times from one, and none may take up the disk.

A training is done when DVC has noted its result in dvc.lock. Until then its run may be made again, and goes on from the
state to the same result.
"""

import hashlib
from collections.abc import Iterable

from stages import codec
from stages.harness.process.dvc_lock import LOCK_PATH, outputs
from stages.records import Cell


def discard_noted(cells: Iterable[Cell]) -> None:
    """Remove state and progress of cells whose result DVC has noted; a cell that failed has them, too."""
    left = [cell for cell in cells if cell.state_dir.exists() or cell.progress_path.exists()]
    if left and LOCK_PATH.exists():
        lock = LOCK_PATH.read_text(encoding="utf-8")
        for cell in left:
            if _is_noted(cell, outputs(lock, f"train@{cell.matrix_name}")):
                cell.progress_path.unlink(missing_ok=True)
                codec.remove(cell.earlier_events_path)
                codec.remove(cell.state_dir)


def _is_noted(cell: Cell, outs: list[dict[str, object]]) -> bool:
    path = cell.result_path("train")
    if not path.exists():
        return False
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return any(out["path"] == str(path) and out.get("md5") == md5 for out in outs)
