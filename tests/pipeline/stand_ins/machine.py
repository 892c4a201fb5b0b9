"""Stands in for stages/machine.py: the machine's name is what the file `machine-name` says."""

from pathlib import Path

from stages import codec, records
from tests import results

codec.write(records.MACHINE_PATH, results.machine(Path("machine-name").read_text(encoding="utf-8")))
