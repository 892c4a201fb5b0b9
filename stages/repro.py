"""Run the pipeline, `dvc repro`, and show over all cells how far it is: what `make repro` does.

python -m stages.repro
"""

from rich.console import Console

from stages.errors import run_entry
from stages.harness.params import schema
from stages.harness.pipeline import repro
from stages.harness.process.locks import only_run


def main() -> int:
    with only_run():
        return repro.repro(schema.load(), Console())


if __name__ == "__main__":
    run_entry(main, to_the_end=True)
