"""Run a command inside an image, with this checkout's code and data, and nothing else of the machine.

python -m stages.inside cuda-10.0 -- nvidia-smi
"""

import os
import sys
from pathlib import Path

from stages.errors import FaceoffError, run_entry
from stages.harness import images, jobs, params


def main() -> int:
    # By hand: argparse would take a second '--' out of the command.
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        raise FaceoffError("usage: python -m stages.inside IMAGE -- COMMAND ... (IMAGE: a folder of docker/)", 2)
    name, command = sys.argv[1], tuple(sys.argv[3:])
    root = Path.cwd()
    container = params.load(root).container
    try:
        with jobs.stop_signals():
            if images.load(name, root).on_host:
                return jobs.run_on_host(command, jobs.wants_gpus(container.gpus)).exit_code
            from stages.harness.engine import DockerEngine  # the host's stages need not wait for its import

            return images.run(name, command, root, container, DockerEngine())
    except BrokenPipeError:  # whoever read our output, e.g. `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    run_entry(main)
