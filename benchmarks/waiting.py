"""What it costs when OpenMP's threads sleep while they wait, on an idle machine and beside a busy process.

python -m benchmarks.waiting [--rounds N]

A round runs each way to wait once, in a process of its own, in an order that is drawn anew: training steps of a small
network on all CPUs, first alone, then beside one busy process. Printed is the median step of each, as a ratio to that
of torch's own default in the same round, in the median of the rounds. Wants an idle machine.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.record_steps import BUSY, running
from stages.errors import run_entry
from stages.harness.params import schema
from tests.project import ROOT

STEPS = """
import json, time, torch
from torchvision.models import resnet18
torch.manual_seed(0)
model = resnet18(num_classes=2)
optimiser = torch.optim.SGD(model.parameters(), 1e-3)
images, labels = torch.randn(16, 3, 64, 64), torch.zeros(16, dtype=torch.long)
took = []
for _ in range(45):
    began = time.perf_counter()
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimiser.step()
    took.append(time.perf_counter() - began)
print(json.dumps(took[5:]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Steps by how OpenMP's threads wait.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ways: dict[str, Mapping[str, str]] = {
        "default": {},
        "as params.yaml says": schema.load(ROOT).env,
        "asleep at once": {"OMP_WAIT_POLICY": "passive"},
    }
    alone = [measured(ways) for _ in range(rounds)]
    with running(BUSY):
        beside = [measured(ways) for _ in range(rounds)]
    print(
        f"{'threads that wait':22} {'alone':>7} {'beside a busy process':>23}   (median step, ratio to the default's)"
    )
    for name in ways:
        ratios = [statistics.median(each[name] / each["default"] for each in found) for found in (alone, beside)]
        print(f"{name:22} {ratios[0]:7.2f} {ratios[1]:23.2f}")
    slower = statistics.median(each["default"] for each in beside) / statistics.median(
        each["default"] for each in alone
    )
    print(f"The default's step takes {slower:.1f} times as long beside a busy process as alone.")
    return 0


def measured(ways: Mapping[str, Mapping[str, str]]) -> dict[str, float]:
    """Run each way once and return the seconds of its median step."""
    found = {}
    for name in random.sample([*ways], len(ways)):
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
        done = subprocess.run(
            [sys.executable, "-c", STEPS], env={**plain, **ways[name]}, capture_output=True, text=True, check=True
        )
        found[name] = statistics.median(json.loads(done.stdout))
    return found


if __name__ == "__main__":
    run_entry(main)
