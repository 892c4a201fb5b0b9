"""An observed training whose steps go by with marks in a GPU's queue and without, in turns: see benchmarks/marks.py.

python marks_steps.py PAIRS LAYERS WIDTH, with the observer's hook on PYTHONPATH; with STAND_IN a folder that has the
tests' stand-in for a GPU's queue. Without pairs, all steps are marked. Prints a JSON object.
"""

import importlib
import json
import os
import sys
import time
from typing import Any

STAND_IN = os.environ.get("STAND_IN")
if STAND_IN:
    sys.path.insert(0, STAND_IN)
    card: Any = importlib.import_module("card")  # before torch
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS, BATCH = 300, 16


def main() -> None:
    """Train in blocks of STEPS steps; the first pair warms up."""
    pairs, layers, width = (int(each) for each in sys.argv[1:])
    device = "cpu" if STAND_IN else "cuda"
    if STAND_IN:
        card.start()
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)
    loader = DataLoader(TensorDataset(torch.randn(STEPS * BATCH, width)), batch_size=BATCH)
    hooks: Any = sys.modules["faceoff_observer.hooks"]
    marks: Any = sys.modules["faceoff_observer.marks"]
    find, kept = marks.device_of, hooks.RECORDER.marks
    found = []
    modes = (True, False) if pairs else (True,)
    for _ in range(pairs + 1):
        pair = {}
        for is_marked in modes:
            marks.device_of = find if is_marked else lambda tensors: None
            hooks.RECORDER.marks = kept if is_marked else None
            pair[is_marked] = block(model, optimiser, loader, device)
            kept = hooks.RECORDER.marks if is_marked else kept
        found.append([pair[each] for each in modes])
    name = "a stand-in" if STAND_IN else torch.cuda.get_device_name()
    print(json.dumps({"device": name, "steps": STEPS, "marks": kept.made, "pairs": found[1:]}))


def block(model: Any, optimiser: Any, loader: Any, device: str) -> tuple[float, float]:
    """Return the seconds of a step, of the clock and of the processor, with the queue empty at both ends."""
    done(device)
    began, used = time.monotonic(), time.process_time()
    for (batch,) in loader:
        optimiser.zero_grad()
        loss = model(batch.to(device)).mean()
        (card.on_card(loss) if STAND_IN else loss).backward()
        optimiser.step()
    done(device)
    return (time.monotonic() - began) / STEPS, (time.process_time() - used) / STEPS


def done(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
