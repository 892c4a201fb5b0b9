"""Stands in for stages/train.py: a cell's result at once. Image cuda-10.0 is slower by a tenth, and each run of a cell
takes a little longer than its last, so that an old timing shows. Fails where the file `fail` names the cell's image;
the file `noise` says by how much repeats of cuda-10.0 at fp32 scatter."""

import random
import sys
import time
from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.harness.params import schema
from tests import results


def main() -> int:
    cell = results.cell_of(sys.argv[1:])
    cell.train_path.unlink(missing_ok=True)
    if Path("fail").exists() and Path("fail").read_text(encoding="utf-8") == cell.image:
        sys.exit(f"cell of {cell.image} fails, as the file `fail` asks")
    seconds = (11.0 if cell.image == "cuda-10.0" else 10.0) + time.time() % 1e5 / 1e7
    if Path("noise").exists() and cell.setting == "cuda-10.0/fp32-bs16":
        seconds *= 1 + random.Random(str(cell)).gauss(0, float(Path("noise").read_text(encoding="utf-8")))  # noqa: S311
    wanted = schema.load()
    result = results.trained(
        cell,
        seconds,
        recipe=wanted.recipe,
        container=wanted.container.limits,
        machine_sha256=codec.fingerprint(codec.read(records.MACHINE_PATH, records.Machine)),
        image_sha256=codec.file_fingerprint(records.image_path(cell.image), records.Image),
        facts_sha256=codec.file_fingerprint(records.facts_path(cell.image), records.Facts),
    )
    codec.write(cell.train_path, result)
    cell.model_dir.mkdir(parents=True, exist_ok=True)
    return 0


if __name__ == "__main__":
    run_entry(main)
