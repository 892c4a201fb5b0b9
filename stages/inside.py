"""Run a command inside an image, with this checkout's code and data, and nothing else of the machine.

    python -m stages.inside cuda-10.0 -- nvidia-smi
    python -m stages.inside cuda-10.0 --result metrics/cuda-10.0/fp32-bs16/train-1.json -- python -m stages.train ...

With --result the command is a cell's training or evaluation: it runs alone and within `limits` of params.yaml, and
where it fails, the result says so; `on_failure` decides whether that ends the run.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.cells import failures
from stages.harness.cells.attempt import Attempt
from stages.harness.environments import images, launch
from stages.harness.environments.host import run_on_host
from stages.harness.params import schema
from stages.harness.process.signals import stop_signals
from stages.harness.process.watchdog import Watch

USAGE = "usage: python -m stages.inside IMAGE [--result FILE] -- COMMAND ... (IMAGE: a folder of docker/)"


@stop_signals()
def main() -> int:
    name, result, command = parse(sys.argv[1:])
    wanted = schema.load()
    run = runner(name, command, wanted.container)
    try:
        if result is not None:
            attempt = Attempt.at(result, wanted)
            return attempt.make(lambda watch: run(watch, attempt.cell.setting))
        watch = stage_watch(wanted)
        outcome = run(watch, None)
        if watch and outcome.overdue:
            raise FaceoffError(f"image {name}: {failures.overdue_stage(watch.limits)}", outcome.exit_code)
        if outcome.out_of_memory and outcome.exit_code != 0:
            machine = codec.read(records.MACHINE_PATH, records.Machine) if records.MACHINE_PATH.exists() else None
            line = failures.out_of_memory(outcome, wanted.container, machine)
            raise FaceoffError(f"image {name}: {line}", outcome.exit_code)
        return outcome.exit_code
    except BrokenPipeError:  # whoever read our output, e.g. `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parse(arguments: list[str]) -> tuple[str, Path | None, tuple[str, ...]]:
    """Image, result and command. By hand: argparse would take a second '--' out of the command."""
    if len(arguments) > 2 and arguments[1] == "--":
        return arguments[0], None, tuple(arguments[2:])
    if len(arguments) > 4 and (arguments[1], arguments[3]) == ("--result", "--"):
        return arguments[0], Path(arguments[2]), tuple(arguments[4:])
    raise FaceoffError(USAGE, exit_code=2)


def stage_watch(wanted: schema.Params) -> Watch | None:
    """For a stage that is no cell's: what a cell may take over a step, for each setting. A user's own has its time."""
    minutes = wanted.limits.stall_minutes
    if "DVC_STAGE" not in os.environ or minutes is None:
        return None
    settings = len(wanted.precisions) * len(wanted.batch_sizes)
    return Watch(Path(os.devnull), schema.LimitParams(stall_minutes=None, cell_minutes=minutes * (1 + settings)))


def runner(
    name: str, command: tuple[str, ...], container: schema.ContainerParams
) -> Callable[[Watch | None, str | None], launch.Outcome]:
    """Runs the command in the image, under watch, for a setting. What a killed run has left is removed by then."""
    root = Path.cwd()
    if images.load(name, root).on_host:
        return lambda watch, _setting: run_on_host(command, launch.wants_gpus(container.gpus), watch)
    from stages.harness.environments.docker_engine import DockerEngine  # the host's stages need not wait for its import

    engine = DockerEngine()
    engine.remove_left_over(root)  # before an attempt clears away what that may still be writing
    return lambda watch, setting: images.run(name, command, root, container, engine, watch, setting)


if __name__ == "__main__":
    run_entry(main)
