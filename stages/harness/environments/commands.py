"""Commands of a job that run on the host, beside every cell: `download`, `check` and `estimate` of its job.yaml."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from stages import codec, contract, records
from stages.errors import FaceoffError
from stages.harness.environments import cards, host
from stages.harness.environments.contents import NONE
from stages.harness.environments.definition import load
from stages.harness.environments.launch import PYTHON_ENVIRONMENT, STOP_SECONDS, TOKENS, with_python
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.harness.process.signals import masked_signals

ITS_EVENTS = "its events"  # in place of the name of a temporary file
LINE_LETTERS = 2000  # of the last line on stderr
SOURCE = "source"  # a fact of `check`: which data there are where the download takes them from


def check(params: Params, root: Path) -> list[str]:
    """Run the job's `check` for each variant, and return what they tell of the data's source, each once.

    Raises FaceoffError, one line, for the first that is not right.
    """
    definition, sources = jobs.load(params.job, root), set[str]()
    for name, variant in params.variants.items() if definition.check else ():
        document = _document(params) | {"variant": name, "parameters": variant.parameters, "gpus": variant.gpus}
        facts = _run(params.job, "check", f" of variant {name}", definition, document, root).facts
        sources |= {str(facts[SOURCE])} if SOURCE in facts else set()
    return sorted(sources)


def download(params: Params, root: Path) -> Mapping[str, contract.Value]:
    """Run the job's `download`, which fills data/<job>, and return the facts that it tells. Raises FaceoffError."""
    definition = jobs.load(params.job, root)
    document = _document(params) | {"variants": [each.parameters for each in params.variants.values()]}
    return _run(params.job, "download", "", definition, document, root).facts


def estimate(params: Params, image: str, variant: str, root: Path) -> contract.Estimate:
    """Run the job's `estimate`: what it says that a variant needs in an image, which may be nothing."""
    definition = jobs.load(params.job, root)
    packages = _packages(image, root)
    document = _document(params) | {
        "image": image,
        "variant": variant,
        "parameters": params.variants[variant].parameters,
        "gpus": params.variants[variant].gpus,
        "packages": packages,
        "on_gpu": cards.handed(params, root) is not None and _has_cuda(image, root),
    }
    found = _run(params.job, "estimate", f" of variant {variant}", definition, document, root)
    return found.estimate or contract.Estimate()


def _document(params: Params) -> dict[str, Any]:
    return {"job": params.job, "section": params.section}


def _packages(image: str, root: Path) -> Mapping[str, str] | None:
    """Return package and version of all that the image holds or is expected to; None where that is not known."""
    made = codec.find(root / records.image_path(image), records.Image)
    if made is not None:
        return made.contents.packages
    definition = load(image, root)
    return {name: str(version) for name, version in definition.expects.items()} or None


def _has_cuda(image: str, root: Path) -> bool:
    made = codec.find(root / records.image_path(image), records.Image)
    cuda = made.contents.cuda if made else load(image, root).expects.get("cuda", NONE)
    return cuda not in (None, NONE)


def _run(
    job: str, key: str, which: str, definition: jobs.Definition, document: Mapping[str, Any], root: Path
) -> contract.Events:
    """Run one of the job's commands, where it has it, and read what it tells. Its output is shown as it comes."""
    template = getattr(definition, key)
    if template is None:
        return contract.Events()
    where = f"{jobs.JOBS_DIR / job / jobs.DEFINITION}: {key}{which}"
    with tempfile.TemporaryDirectory(prefix="faceoff-job-") as folder:
        events = Path(folder) / "events.jsonl"
        events.touch()
        variables = {
            contract.EVENTS: str(events),
            contract.DATA: str((root / records.data_dir(job)).absolute()),
            contract.CELL: json.dumps(document),
        }
        if key == "download":
            variables |= {name: os.environ[name] for name in TOKENS if name in os.environ}
        command = with_python(jobs.command(template, {}, {}), sys.executable)
        code, last = _execute(command, _environment() | variables, root / jobs.JOBS_DIR / job)
        try:
            found = contract.read_events(events)
        except codec.RecordError as error:
            raise FaceoffError(f"{where}: {error}".replace(str(events), ITS_EVENTS)) from None
    if found.error is not None:
        raise FaceoffError(f"{where}: {found.error}")
    if code != 0:
        raise FaceoffError(f"{where}: ended with exit code {code}" + (f": {last}" if last else ""))
    if last:
        print(last, file=sys.stderr)
    return found


def _environment() -> dict[str, str]:
    """Return this process's own, without what is for the download alone; no card."""
    inherited = {key: value for key, value in os.environ.items() if key not in TOKENS}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**inherited, **PYTHON_ENVIRONMENT, **cards.variables(None), "PATH": path}


def _execute(command: tuple[str, ...], environment: Mapping[str, str], directory: Path) -> tuple[int, str]:
    """Give the exit code and the last line on stderr; those before are handed on as they come."""
    held = bytearray()

    def hand_on(stderr: IO[bytes]) -> None:
        for chunk in iter(lambda: os.read(stderr.fileno(), 65536), b""):
            held.extend(chunk)
            text = held.rstrip()
            begin = 1 + max(text.rfind(b"\n"), text.rfind(b"\r"))  # of the last line
            sys.stderr.buffer.write(held[:begin])
            sys.stderr.flush()
            del held[:begin]

    with host.started(command, environment, directory, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None  # noqa: S101 - as asked for
        listener = threading.Thread(target=hand_on, args=(process.stderr,), daemon=True)
        listener.start()
        with masked_signals(signal.SIG_UNBLOCK):
            code = process.wait()
    listener.join(STOP_SECONDS)  # what the command left running, and would keep it open, is ended
    return code if code >= 0 else 128 - code, held.decode(errors="replace").strip()[:LINE_LETTERS]
