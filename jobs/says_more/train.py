"""Logistic regression in plain Python, which tells faceoff all that it can."""

import json
import math
import os
import random
import sys
import time
from pathlib import Path


def tell(**line):
    with Path(os.environ["FACEOFF_EVENTS"]).open("a") as events:
        events.write(json.dumps(line) + "\n")


epochs, learning_rate, seed = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
draw = random.Random(0)  # the points are the same for every seed
points = [[1.0] + [draw.gauss(0, 1) for _ in range(9)] for _ in range(8000)]
labels = [int(sum(point) + draw.gauss(0, 1) > 1) for point in points]
checkpoint = Path(os.environ["FACEOFF_STATE"], "checkpoint.json")
done, weights = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, [0.0] * 10)
if done:
    tell(resumed_after_spans=done)
tell(fact="number_format", value="fp64")
for epoch in range(done, epochs):  # each in an order of its own, so that going on changes nothing
    began, losses, order = time.perf_counter(), [], random.Random(1000 * seed + epoch).sample(range(6000), 6000)
    waited = time.perf_counter() - began
    for item in order:
        error = labels[item] - 1 / (1 + math.exp(-sum(weight * x for weight, x in zip(weights, points[item]))))
        weights = [weight + learning_rate * error * x for weight, x in zip(weights, points[item])]
        losses.append(-math.log(max(1 - abs(error), 1e-12)))
    seconds, values = time.perf_counter() - began, {"train_loss": sum(losses) / len(losses)}
    split = {"wait_seconds": waited, "copy_seconds": 0, "compute_seconds": seconds - waited, "other_seconds": 0}
    tell(span="epoch", seconds=seconds, samples=6000, steps=6000, values=values, split=split)
    checkpoint.with_suffix(".new").write_text(json.dumps([epoch + 1, weights]))
    checkpoint.with_suffix(".new").replace(checkpoint)  # whole or not at all, and only after the span was told
rows = [f"{i},{labels[i]},{int(sum(w * x for w, x in zip(weights, points[i])) > 0)}\n" for i in range(6000, 8000)]
Path(os.environ["FACEOFF_OUTPUT"], "predictions.csv").write_text("item,label,predicted\n" + "".join(rows))
tell(metric="accuracy", value=sum(row[-4] == row[-2] for row in rows) / len(rows))
