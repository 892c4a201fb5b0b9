"""Stage `job`: what is run, with digests of its files, after its own check of the variants: metrics/job.json.

    python -m stages.job

Writes data/source.json too, on which stage `download` depends: a digest of the folders that job.yaml names in `data`,
and what the job's check tells of the place that its download takes data from.
"""

import json
from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.harness.environments import commands
from stages.harness.params import jobs, listing, schema
from stages.harness.process.dvc_lock import dvc_stage


@dvc_stage
def main() -> int:
    """Look at the job, and write down what it is."""
    for path in (records.JOB_PATH, records.SOURCE_PATH):
        path.unlink(missing_ok=True)
    root, wanted = Path.cwd(), schema.load()
    definition = jobs.load(wanted.job, root)
    elsewhere = jobs.folders(wanted.job, definition, root)[1:]
    for line in jobs.warnings(wanted.job, definition):
        print(f"warning: {line}")
    source = {"told": commands.check(wanted, root), "folders": listing.take([], elsewhere).sha256}
    job = jobs.record(wanted.job, definition, wanted.section, wanted.seed, root)
    codec.write_text(records.SOURCE_PATH, json.dumps(source, indent=2) + "\n")
    codec.write(records.JOB_PATH, job)
    print(f"job {job.name}: {len(job.files)} files, {len(wanted.variants)} variants")
    return 0


if __name__ == "__main__":
    run_entry(main)
