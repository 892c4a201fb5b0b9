"""Hash a block many times, and say how fast that was."""

import argparse
import hashlib
import json
import os
import ssl
import time
from pathlib import Path

HASHES = 3000


def tell(**line):
    with Path(os.environ["FACEOFF_EVENTS"]).open("a") as events:
        events.write(json.dumps(line) + "\n")


parser = argparse.ArgumentParser()
parser.add_argument("--algorithm", default="sha256")
arguments = parser.parse_args()
tell(fact="openssl", value=ssl.OPENSSL_VERSION)
seconds = []
for _ in range(2):
    began = time.perf_counter()
    for _ in range(HASHES):
        hashlib.new(arguments.algorithm, bytes(65536)).digest()
    seconds.append(time.perf_counter() - began)
    tell(span="hashing", seconds=seconds[-1], samples=HASHES)
tell(metric="hashes_per_second", value=len(seconds) * HASHES / sum(seconds))
