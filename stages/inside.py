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

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.cells import failures, tasks
from stages.harness.cells.attempt import CellStage
from stages.harness.environments import select
from stages.harness.environments.launch import Environment, Work
from stages.harness.params import schema
from stages.harness.params.schema import Params
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.process.watchdog import Watch

USAGE = (
    "usage: python -m stages.inside IMAGE -- COMMAND ... | IMAGE --result FILE | IMAGE --profile | IMAGE --preflight "
    "(IMAGE: a folder of docker/)"
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
        return of_cell.attempt(select.environment(name, wanted, Path()))
    environment = select.environment(name, wanted, Path())
    if how in IMAGE_STAGES:
        return look(name, environment, wanted, *IMAGE_STAGES[how])
    return command(name, tuple(rest), environment, wanted)


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
    if outcome.out_of_memory and outcome.exit_code != 0:
        raise FaceoffError(f"image {name}: {failures.out_of_memory(outcome, wanted.container)}", outcome.exit_code)
    return outcome.exit_code


def stage_watch(wanted: Params) -> Watch | None:
    """Limit a stage that is no cell's to a cell's time for a step, for each variant. A user's own has its time."""
    minutes = wanted.limits.stall_minutes
    if "DVC_STAGE" not in os.environ or minutes is None:
        return None
    return Watch(None, schema.LimitParams(stall_minutes=None, cell_minutes=minutes * (1 + len(wanted.variants))))


if __name__ == "__main__":
    run_entry(main)
