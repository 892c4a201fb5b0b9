"""A DataLoader of the script's own, that gives something else. THREAD: read by a thread that runs ahead."""

import os
import queue
import threading
import time

from common import data, net, optimiser, tell, work
from torch.utils.data import DataLoader


class Named(DataLoader):
    def __iter__(self):
        for x, y in super().__iter__():
            yield {"image": x, "label": y}


class Background(DataLoader):
    def __iter__(self):
        ready, batches = queue.Queue(2), super().__iter__()

        def fill():
            for x, y in batches:
                ready.put({"image": x, "label": y})
            ready.put(None)

        threading.Thread(target=fill, daemon=True).start()
        return iter(ready.get, None)


loader = (Background if os.environ.get("THREAD") else Named)(data(320), batch_size=16)
model = net()
opt = optimiser(model)
seconds = 0.0
for _ in range(2):
    began = time.perf_counter()
    for batch in loader:
        work(model, opt, batch["image"], batch["label"])
    seconds += time.perf_counter() - began
tell(train=2, steps=40, samples=640, validation=0, seconds=seconds)
