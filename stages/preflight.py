"""What could keep the face-off from running, looked at before the first image is built: metrics/preflight.json.

    python -m stages.preflight          the second command of stage `machine`, whose record it reads
    python -m stages.preflight --all    every check, and inside each image that is here too: `make preflight`

Ends with 1 and a line for each check that failed.
"""

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages import checks, codec, records
from stages.codec import RecordError
from stages.errors import FaceoffError, run_entry
from stages.harness import cells, images, jobs, params, preflight, sources
from stages.harness.engine import DockerEngine
from stages.harness.signals import stop_signals
from stages.harness.sources import photos
from stages.workload.probes import conditions

PATIENCE_SECONDS = 5  # with an engine that does not answer
STYLES = {"failed": "red", "warning": "yellow", "not checked": "dim", "passed": "green"}


@stop_signals()
def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.preflight")
    parser.add_argument("--all", action="store_true", help="show every check, and look inside each image that is here")
    everything = parser.parse_args().all
    records.PREFLIGHT_PATH.unlink(missing_ok=True)
    wanted = params.load()
    found = look(wanted)
    done = preflight.look_over(wanted, found)
    codec.write(records.PREFLIGHT_PATH, records.Preflight(None, done))
    if not everything:
        return checks.report(done, "preflight")
    show(done, Console())
    codes = [look_inside(image.name) for image in found.images if image.here]
    return int(any(codes) or any(each.status == "failed" for each in done))


def look(wanted: params.Params) -> preflight.Situation:
    """What is found on this machine."""
    root = Path.cwd()
    definitions = {name: images.load(name, root) for name in wanted.images}
    engine, problem = None, None
    if not all(each.on_host for each in definitions.values()):
        try:
            engine = DockerEngine(PATIENCE_SECONDS)
            engine.remove_left_over(root)  # before the machine is looked at, whether it is idle
        except FaceoffError as error:
            problem = str(error)
    return preflight.Situation(
        machine=codec.read(records.MACHINE_PATH, records.Machine),
        has_driver=jobs.wants_gpus("auto"),
        images=tuple(image_state(name, each, engine) for name, each in definitions.items()),
        engine=problem,
        engine_disk=free(engine.folder()) if engine else None,
        checkout_disk=free(root),
        has_photos=photos.written(sources.pick(wanted.dataset, records.DATA_DIR), records.PHOTOS_DIR),
        models=sum(any(cell.model_dir.glob("*")) for cell in wanted.cells()),
        doubts=conditions.doubts(conditions.look(records.DATA_DIR)),
        setting_seconds={} if wanted.session.max_hours is None else setting_seconds(wanted),
    )


def image_state(name: str, definition: images.Definition, engine: DockerEngine | None) -> preflight.ImageState:
    try:
        made = codec.read(records.image_path(name), records.Image)
    except RecordError:  # not made yet, or by another version of faceoff
        made = None
    if definition.on_host:
        return preflight.ImageState(name, definition, made, True, importlib.metadata.version("fastai"))
    here = bool(made and made.reference and engine and engine.find(made.reference))
    fastai = made.contents.fastai if made else definition.expects.fastai
    return preflight.ImageState(name, definition, made, here, fastai)


def free(folder: Path) -> preflight.Disk:
    """Room at a folder; a Docker engine's may be on another machine."""
    try:
        return preflight.Disk(str(folder), shutil.disk_usage(folder).free, folder.stat().st_dev, None)
    except OSError as error:
        return preflight.Disk(str(folder), None, None, f"not to be seen from here ({error.strerror})")


def setting_seconds(wanted: params.Params) -> dict[str, float]:
    """What a cell of each setting took, from the results that are there and still count."""
    try:
        results = cells.read_all(wanted)
    except RecordError:  # no data set yet, or another version's
        return {}
    taken: dict[str, list[float]] = {}
    for result in results:
        if result.train is not None and result.evaluate is not None:
            seconds = result.train.wall_seconds + result.evaluate.wall_seconds
            taken.setdefault(result.cell.setting, []).append(seconds)
    return {setting: sum(each) / len(each) for setting, each in taken.items()}


def look_inside(image: str) -> int:
    print(f"inside {image}:")
    command = [sys.executable, "-m", "stages.inside", image, "--", "python", "-m", "stages.preflight_inside"]
    with subprocess.Popen([*command, "--image", image]) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()  # not killed, as subprocess.run does: it removes its container, which `with` waits for
            raise


def show(found: tuple[records.Check, ...], console: Console) -> None:
    """Every check: a table on a terminal, a line each otherwise."""
    if not console.is_terminal:
        for each in found:
            print(f"{each.status}: {checks.sentence(each)}")
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for each in found:
        told = Text(each.name, "bold").append(f"\nneeds {each.needed}; found: {each.found}", "not bold")
        if each.advice is not None:
            told.append(f"\n{each.advice}", f"not bold {STYLES[each.status]}")
        table.add_row(Text(each.status, STYLES[each.status]), told)
    console.print(table)


if __name__ == "__main__":
    run_entry(main)
