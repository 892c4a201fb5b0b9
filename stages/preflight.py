"""What could keep the face-off from running, looked at before the first image is built: metrics/preflight.json.

    python -m stages.preflight          the second command of stage `machine`, whose record it reads
    python -m stages.preflight --all    look at the machine and the job, then every check, and inside each image that is
                                        here too: `make preflight`

Ends with 1 and a line for each check that failed. Says which cells that have results will be measured again, and why.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from stages import checks, codec, records, variables
from stages.errors import run_entry
from stages.harness.environments import cards, commands
from stages.harness.params import schema
from stages.harness.pipeline import adoption, reasons
from stages.harness.preflight import findings, host_checks, show
from stages.harness.process.dvc_lock import dvc_stage
from stages.harness.process.locks import only_run
from stages.visible_cards import VISIBLE
from stages.workload import gpu_memory
from stages.workload.probes import conditions, cpu, files, limits


@dvc_stage
def main() -> int:
    """Run preflight on the host; the exit code."""
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m stages.preflight")
    parser.add_argument("--all", action="store_true", help="show every check, and look inside each image that is here")
    if parser.parse_args().all:
        with only_run():  # which has the machine's record, and its own session
            return show.run_stage("machine") or show.run_stage("job") or show_all()
    wanted = schema.load()
    adoption.check_noted(wanted)
    done, found = check(wanted)
    code = checks.report(done, "preflight")
    if code == 0:
        tell_again(wanted, found.measured)
    return code


def tell_again(wanted: schema.Params, measured: findings.Measured) -> None:
    """Say what will be measured again; where an evaluation lacks what its training left, the training is."""
    left = [cell for cell in wanted.cells() if cell not in measured.cells]
    others = [cell for cell in left if cell.result_path("train").exists()]
    again = {*left}.difference(others)
    with contextlib.suppress(codec.RecordError):
        found = reasons.found_early(wanted, others)
        reasons.tell(found)
        again.update(*found.values())
        without = reasons.without_model(wanted, others)
        reasons.tell({reasons.NO_MODEL: without} if without else {}, reasons.KEEP_MODEL)
        if time.time() > measured.block_until:
            reasons.tell_pairs_lost(wanted.compare.baseline, measured.cells, again)
        for cell in without if "DVC_STAGE" in os.environ else ():
            cell.result_path("train").unlink()  # DVC trains again what has no result


def show_all() -> int:
    """Show every check, and look inside each image that is here; the exit code."""
    wanted = schema.load()
    done, found = check(wanted)
    show.show(done, Console())
    tell_again(wanted, found.measured)
    here = [image.name for image in found.images if image.here]
    if not found.job.has_data:
        print(f"not looked inside {', '.join(here)}: the job's data is not here yet: `make repro` downloads it")
        here = []
    codes = [show.look_inside(name) for name in here]
    return int(any(codes) or any(each.status == "failed" for each in done))


def check(wanted: schema.Params) -> tuple[tuple[records.Check, ...], findings.Situation]:
    """Look, and write down what is right and what is not."""
    root = Path.cwd()
    records.PREFLIGHT_PATH.unlink(missing_ok=True)
    visible = cards.variables(cards.handed(wanted, root)).get(VISIBLE)
    found = findings.look(
        wanted,
        lambda: look_at_moment(visible, wanted.container.cpuset),
        lambda image, variant: commands.estimate(wanted, image, variant, root),
        root,
    )
    done = host_checks.look_over(wanted, found)
    codec.write(records.PREFLIGHT_PATH, records.Preflight(None, done))
    return done, found


def look_at_moment(visible: str | None, cpuset: str | None) -> findings.Moment:
    """Look at what moves: how busy and hot the machine and the jobs' cards are, and what is free."""
    now = conditions.look(records.DATA_DIR, visible=visible)
    seen = codec.read(records.MACHINE_PATH, records.Machine).hardware
    of_cpu = (*cpu.warnings(seen.cpu, cpuset or seen.limits.cpuset), *cpu.saving(now.cpu_clocks))
    held = gpu_memory.look(visible) if now.gpus else ()

    def check_gpu_memory(needs: Mapping[str, int]) -> tuple[records.Check, ...]:
        found = (gpu_memory.check(card, needs) for card in held)
        return tuple(each for each in found if each is not None)

    shm_free_bytes, wanted = limits.shm_free_bytes(files.ROOT), variables.look(os.environ)
    return findings.Moment(conditions.warnings(now), shm_free_bytes, wanted, of_cpu, check_gpu_memory)


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
