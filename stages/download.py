"""Stage `download`: the job's data, once, and a manifest of it.

    python -m stages.download

Runs the job's `download`, if it has one, which fills data/<job>. Writes data/manifest.json, a listing's digest: of
data/<job> with contents, of the folders that job.yaml names in `data` with sizes; and metrics/dataset.json, numbers.
"""

import json
from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.harness.environments import commands
from stages.harness.params import jobs, listing, schema
from stages.harness.process.dvc_lock import dvc_stage
from stages.units import amount


@dvc_stage
def main() -> int:
    """Have the job fill its folder, and list what is there."""
    records.MANIFEST_PATH.unlink(missing_ok=True)
    records.DATASET_PATH.unlink(missing_ok=True)
    wanted, root = schema.load(), Path.cwd()
    elsewhere = jobs.folders(wanted.job, jobs.load(wanted.job, root), root)[1:]
    own = records.data_dir(wanted.job)
    own.mkdir(parents=True, exist_ok=True)
    facts = commands.download(wanted, root)
    found = listing.take([own], elsewhere)
    numbers = {name: fact for name, fact in facts.items() if isinstance(fact, int | float)}
    dataset = {"files": found.files, "bytes": found.size_bytes, **numbers}
    codec.write_text(records.DATASET_PATH, json.dumps(dataset, indent=2) + "\n")
    codec.write(records.MANIFEST_PATH, records.Manifest(wanted.job, *found))
    if found.files:
        print(f"data of job {wanted.job}: {found.files:,} files, {amount(found.size_bytes)}")
    return 0


if __name__ == "__main__":
    run_entry(main)
