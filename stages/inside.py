"""Run something inside an image, with this checkout's code and data, and nothing else of the machine.

    python -m stages.inside cuda-10.0 -- nvidia-smi                                            a command
    python -m stages.inside cuda-10.0 --result metrics/cuda-10.0/fp32-bs16/train-1.json        a stage of a cell
    python -m stages.inside cuda-10.0 --profile                                                stage `profile`
    python -m stages.inside cuda-10.0 --preflight                                              its second half alone

A cell's stage runs alone and within `limits` of params.yaml, and where it fails, the result says so; `on_failure`
decides whether that ends the run.
"""

import os
import sys
from pathlib import Path

from stages import checks, codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.cells import failures, tasks
from stages.harness.cells.attempt import INTERRUPTIONS, CellStage
from stages.harness.environments import select
from stages.harness.environments.launch import Environment, Work
from stages.harness.params import schema
from stages.harness.params.schema import Params
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.process.watchdog import Watch
from stages.harness.results import read

USAGE = (
    "usage: .venv/bin/python -m stages.inside IMAGE -- COMMAND ... | IMAGE --result FILE | IMAGE --profile | "
    "IMAGE --preflight (IMAGE: a folder of docker/)"
)
COUNTS = {"--": range(1, sys.maxsize), "--result": (1,), "--profile": (0,), "--preflight": (0,)}  # of words that follow
IMAGE_STAGES = {"--profile": ("profile", "--preflight"), "--preflight": ("preflight_inside",)}  # that look inside


@dvc_stage
def main() -> int:
    """Read the command line and run what it says."""
    arguments = sys.argv[1:]
    if len(arguments) < 2 or len(arguments) - 2 not in COUNTS.get(arguments[1], ()):
        raise FaceoffError(USAGE, exit_code=2)
    name, how, *rest = arguments
    wanted = schema.load()
    if how == "--result":
        of_cell = CellStage.at(Path(rest[0]), wanted)
        if of_cell.cell.image != name:
            raise FaceoffError(f"--result {rest[0]}: not of image {name}", exit_code=2)
        reason = read.failure(name)
        return of_cell.leave_out(reason) if reason else of_cell.attempt(select.environment(name, wanted, Path()))
    if how == "--profile" and wanted.on_failure == "record":
        return profile_or_record(name, wanted)
    environment = select.environment(name, wanted, Path())
    if how in IMAGE_STAGES:
        return look(name, environment, wanted, *IMAGE_STAGES[how])
    return command(name, tuple(rest), environment, wanted)


def profile_or_record(name: str, wanted: Params) -> int:
    """Run the stage `profile`; where it fails, or the image did, record why, so that other images go on."""
    outputs = records.facts_path(name), records.profile_path(name)
    codec.remove(records.preflight_path(name))
    codec.remove(outputs[0])  # an earlier one may say that the profile failed
    reason = read.failure(name)
    if reason:
        failures.record_image(name, reason, outputs)
        return 0
    try:
        code = look(name, select.environment(name, wanted, Path()), wanted, *IMAGE_STAGES["--profile"])
        if code == 0 or code in INTERRUPTIONS:
            return code
        reason = _failed_checks(name) or f"its profile ended with exit code {code}; its words are above"
    except FaceoffError as error:
        print(f"faceoff: {error}", file=sys.stderr)
        reason = str(error).removeprefix(f"image {name}: ")
    failures.record_image(name, f"image {name}: {reason}", outputs)
    again = f".venv/bin/dvc repro -s -f profile@{name}"
    print(f"faceoff: recorded as failed; to try again: {again}, then make repro", file=sys.stderr)
    return 0


def _failed_checks(name: str) -> str | None:
    """Return what the preflight inside the image found wrong; None where it found nothing, or did not come to it."""
    found = codec.find(records.preflight_path(name), records.Preflight)
    failed = [checks.sentence(each) for each in found.checks if each.status == "failed"] if found else []
    return "; ".join(failed) or None


def look(name: str, environment: Environment, wanted: Params, stage: str, *options: str) -> int:
    """Tell the stage that looks at the image from inside what there is to know, and run it."""
    path = records.image_task_path(name)
    codec.write(path, tasks.image_task(name, wanted, in_container=environment.isolated))
    words = ("python", "-m", f"stages.{stage}", "--task", str(path), *options)
    return command(name, words, environment, wanted)


def command(name: str, words: tuple[str, ...], environment: Environment, wanted: Params) -> int:
    """Run what is no cell's, and say where it took too long or too much."""
    watch = stage_watch(wanted)
    outcome = environment.run(Work(words), watch)
    if watch and outcome.overdue:
        raise FaceoffError(f"image {name}: {failures.overdue_stage(watch.limits)}", outcome.exit_code)
    of_memory = failures.out_of_memory(outcome, "", wanted.container)
    if of_memory and outcome.exit_code != 0:
        raise FaceoffError(f"image {name}: {of_memory}", outcome.exit_code)
    return outcome.exit_code


def stage_watch(wanted: Params) -> Watch | None:
    """Limit a stage that is no cell's to a cell's time for a step, for each variant. A user's own has its time."""
    minutes = wanted.limits.stall_minutes
    if "DVC_STAGE" not in os.environ or minutes is None:
        return None
    return Watch(None, schema.LimitParams(stall_minutes=None, cell_minutes=minutes * (1 + len(wanted.variants))))


if __name__ == "__main__":
    run_entry(main)
