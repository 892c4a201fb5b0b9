"""Stands in for stages/train.py and stages/evaluate.py in test_soak.py: a job of no time at all, which really is timed.

stages/soak/plan.json says what happens to it, by result: a fault, and whether it strikes amid the work or while the
result is half written. What it measured it also appends to a file beside its model, which faceoff knows nothing of.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import ctypes
import dataclasses
import datetime
import json
import os
import signal
import sys
import time
from pathlib import Path

from stages import codec
from stages.errors import run_entry
from stages.records import Cell, EvaluateResult, Facts, Image, TrainResult, facts_path, image_path

SOAK = Path("stages/soak")


def main():
    stage = Path(sys.argv[0]).stem
    given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    cell = Cell(given["--image"], given["--precision"], int(given["--batch-size"]), int(given["--repeat"]))
    path = cell.train_path if stage == "train" else cell.evaluate_path
    if path.exists():
        path.unlink()
    fault, moment = json.loads((SOAK / "plan.json").read_text()).get(str(path), (None, None))
    if moment == "at work":
        strike(fault, path)
    result, seconds = trained(cell) if stage == "train" else evaluated(cell)
    if moment == "writing":
        os.fsync = lambda _: strike(fault, path)
    with beside_models(path, "measured").open("a") as log:
        log.write(json.dumps([str(path), seconds]) + "\n")
    if stage == "train":
        cell.model_dir.mkdir(parents=True, exist_ok=True)
        (cell.model_dir / "weights").touch()
    else:
        codec.write_text(cell.predictions_path, "photo,label\n")
    codec.write(path, result)
    return 0


def strike(fault, path):
    if fault == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "SIGSEGV":
        ctypes.string_at(0)
    elif fault == "exception":
        raise RuntimeError("as the plan says")
    elif fault == "memory":
        bytearray(2**29)
    elif fault == "stall":
        time.sleep(600)
    else:  # test_soak.py does it, once
        reached = beside_models(path, path.stem + ".reached")
        if not reached.exists():
            reached.write_text(fault)
            time.sleep(600)


def beside_models(path, name):
    folder = Path("models", *path.parent.parts[1:])
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def trained(cell):
    template = codec.read(SOAK / "train.json", TrainResult)
    epochs = []
    for epoch in template.epochs:
        seconds = work()
        epochs.append(dataclasses.replace(epoch, train_seconds=seconds, epoch_seconds=seconds))
    result = dataclasses.replace(
        template,
        cell=cell,
        epochs=tuple(epochs),
        started_at=now(),
        image_sha256=codec.file_fingerprint(image_path(cell.image), Image),
        facts_sha256=codec.file_fingerprint(facts_path(cell.image), Facts),
    )
    return result, [epoch.epoch_seconds for epoch in epochs]


def evaluated(cell):
    training = codec.read(cell.train_path, TrainResult)
    template = codec.read(SOAK / "evaluate.json", EvaluateResult)
    if training.status != "ok":
        nothing = dict.fromkeys(("accuracy", "accuracy_tta", "predict_seconds", "predict_tta_seconds"))
        status = {"status": training.status, "reason": training.reason}
        return dataclasses.replace(template, cell=cell, started_at=now(), **nothing, **status), []
    seconds = work()
    return dataclasses.replace(template, cell=cell, predict_tta_seconds=seconds, started_at=now()), [seconds]


def work():
    began = time.perf_counter()
    sum(range(200_000))
    return time.perf_counter() - began


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


if __name__ == "__main__":
    run_entry(main)
