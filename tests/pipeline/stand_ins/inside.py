"""Stands in for stages/inside.py: runs the command here. Says so in the file `calls`, one line per command."""

import subprocess
import sys
from pathlib import Path

command = sys.argv[sys.argv.index("--") + 1 :]
with Path("calls").open("a", encoding="utf-8") as calls:
    calls.write(" ".join(command[2:]) + "\n")
sys.exit(subprocess.run([sys.executable, *command[1:]]).returncode)
