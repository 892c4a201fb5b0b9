"""The job of test_soak.py, both its commands: of no time at all, and really timed.

plan.json beside it says what happens to it, by result: a fault, and whether it strikes amid the work or while the model
is half written. What it measured it also appends to a file beside its model, which faceoff knows nothing of.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

TOP = Path("../..").resolve()
CELL = json.loads(os.environ["FACEOFF_CELL"])
STAGE = CELL["stage"]
NAME = "{}-{}".format(STAGE, CELL["repeat"])
RESULT = "metrics/{}/{}/{}.json".format(CELL["image"], CELL["variant"], NAME)
BESIDE_MODELS = TOP / "models" / CELL["image"] / CELL["variant"]


def main():
    fault, moment = json.loads(Path("plan.json").read_text()).get(RESULT, (None, None))
    seconds = [work() for _ in range(3 if STAGE == "train" else 1)]
    with Path(os.environ["FACEOFF_EVENTS"]).open("a") as events:
        for each in seconds:
            events.write(json.dumps({"span": STAGE, "seconds": each}) + "\n")
    if moment == "at work":
        strike(fault)
    with (BESIDE_MODELS / "measured").open("a") as log:
        log.write(json.dumps([RESULT, seconds]) + "\n")
    (Path(os.environ["FACEOFF_OUTPUT"]) / "model").write_text("half")
    if moment == "writing":
        strike(fault)


def strike(fault):
    if fault == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "SIGSEGV":
        ctypes.string_at(0)
    elif fault == "exception":
        sys.exit("as the plan says")
    elif fault == "memory":
        bytearray(2**29)
    elif fault == "stall":
        time.sleep(600)
    else:  # test_soak.py does it, once
        reached = BESIDE_MODELS / (NAME + ".reached")
        if not reached.exists():
            reached.write_text(fault)
            time.sleep(600)


def work():
    began = time.perf_counter()
    sum(range(200000))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
