"""Stage `setting`: what all cells of a setting have to be of, in one file, metrics/<image>/<variant>/setting.json.

    python -m stages.setting cuda-10.0 fp32-bs16

DVC looks at each dependency of each cell and, where one names a key of params.yaml, reads that whole file again. So the
cells name this file alone. Where it becomes another, it says which results will be measured again, and why.
"""

import dataclasses
import sys

from stages import codec, records
from stages.errors import run_entry
from stages.harness.params import schema
from stages.harness.pipeline import reasons
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.results import read


@dvc_stage
def main() -> int:
    """Write down what the cells have to be of."""
    image, variant = sys.argv[1:]
    output, wanted = read.setting_path(image, variant), schema.load()
    if read.failure(image) and output.exists():  # its cells are left out, and their results stay
        return 0
    output.unlink(missing_ok=True)
    job = codec.read(records.JOB_PATH, records.Job)
    present = dataclasses.replace(read.belongs(wanted, job)[image, variant], code_sha256=read.code_sha256())
    cells = [cell for cell in wanted.cells() if (cell.image, cell.variant) == (image, variant)]
    if not read.failure(image):  # else they are left as they are
        reasons.tell(reasons.found_late(cells, present))
    codec.write(output, present)
    return 0


if __name__ == "__main__":
    run_entry(main)
