"""Print how many repeats a params.yaml has, or its text with the first N of them alone: .ci/rerun-diff adds one by one.

python .ci/repeats.py PARAMS [N]
"""

import sys
from pathlib import Path

from ruamel.yaml import YAML


def main() -> None:
    """Read the file; with all of its repeats it is as it was."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    yaml = YAML()
    document = yaml.load(text)
    repeats = document["repeats"]
    if len(sys.argv) == 2:
        print(len(repeats))
    elif int(sys.argv[2]) >= len(repeats):
        print(text, end="")
    else:
        del repeats[int(sys.argv[2]) :]
        yaml.dump(document, sys.stdout)


if __name__ == "__main__":
    main()
