"""Run a command inside an image, with this checkout's code and data, and nothing else of the machine.

python -m stages.inside cuda-10.0 -- nvidia-smi
"""

import argparse
from pathlib import Path

from stages.errors import run_entry
from stages.harness import images, jobs, params


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.inside", usage="%(prog)s IMAGE -- COMMAND ...")
    parser.add_argument("image", help="a folder of docker/")
    parser.add_argument("command", nargs="+", help="what to run in it")
    arguments = parser.parse_args()
    root = Path.cwd()
    command = tuple(arguments.command)
    container = params.load(root).container
    with jobs.stop_signals():
        if images.load(arguments.image, root).on_host:
            return jobs.run_on_host(command).exit_code
        from stages.harness.engine import DockerEngine  # the host's stages need not wait for its import

        return images.run(arguments.image, command, root, container, DockerEngine())


if __name__ == "__main__":
    run_entry(main)
