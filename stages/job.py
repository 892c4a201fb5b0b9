"""Stage `job`: what is run, with digests of its files, after its own check of the variants: metrics/job.json.

python -m stages.job
"""

from pathlib import Path

from stages import codec, records
from stages.errors import run_entry
from stages.harness.environments import commands
from stages.harness.params import jobs, schema
from stages.harness.process.dvc_lock import dvc_stage


@dvc_stage
def main() -> int:
    """Look at the job, and write down what it is."""
    records.JOB_PATH.unlink(missing_ok=True)
    root, wanted = Path.cwd(), schema.load()
    definition = jobs.load(wanted.job, root)
    jobs.folders(wanted.job, definition, root)
    for line in jobs.warnings(wanted.job, definition):
        print(f"warning: {line}")
    commands.check(wanted, root)
    job = jobs.record(wanted.job, definition, wanted.section, wanted.seed, root)
    codec.write(records.JOB_PATH, job)
    print(f"job {job.name}: {len(job.files)} files, {len(wanted.variants)} variants")
    return 0


if __name__ == "__main__":
    run_entry(main)
