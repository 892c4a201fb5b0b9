"""Stage `setting`: what all cells of a setting depend on, in one file, metrics/<image>/<variant>/setting.json.

    python -m stages.setting cuda-10.0 fp32-bs16

DVC looks at each dependency of each cell and, where one names a key of params.yaml, reads that whole file again. So the
cells name this file alone. It holds a digest of each of this stage's dependencies in dvc.yaml, and its params.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from stages import codec
from stages.errors import FaceoffError, run_entry
from stages.harness.params import schema
from stages.harness.process.dvc_lock import dvc_stage
from stages.records import Cell

DVC_YAML_PATH = Path("dvc.yaml")


@dvc_stage
def main() -> int:
    """Write down what the cells depend on."""
    image, variant = sys.argv[1:]
    output = Cell(image, variant, 1).result_path("train").with_name("setting.json")
    output.unlink(missing_ok=True)
    codec.write_text(output, json.dumps(depended_on(image, variant), indent=2) + "\n")
    return 0


def depended_on(image: str, variant: str) -> dict[str, Any]:
    """Return digests of the files and folders, and values of the keys of params.yaml."""
    stage = yaml.safe_load(DVC_YAML_PATH.read_text(encoding="utf-8"))["stages"]["setting"]
    files, keys = ([filled(each, image, variant) for each in stage[part]] for part in ("deps", "params"))
    params = yaml.safe_load(schema.PARAMS_PATH.read_text(encoding="utf-8"))
    return {
        "files": {each: digest(Path(each)) for each in files},
        "params": {each: value_at(params, each) for each in keys},
    }


def filled(template: str, image: str, variant: str) -> str:
    """Fill in the names, as DVC does. Raises FaceoffError for what DVC fills in and this does not."""
    text = template.replace("${item.image}", image).replace("${item.variant}", variant)
    if "${" in text:
        raise FaceoffError(
            f"{DVC_YAML_PATH}: stage setting: expected ${{item.image}} or ${{item.variant}}, found {text}"
        )
    return text


def value_at(params: Any, key: str) -> Any:
    """Return what lies at the key, whose parts are parted by dots."""
    for part in key.split("."):
        params = params[part]
    return params


def digest(path: Path) -> str:
    """sha256 of the file, or of the folder's files with their names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    of_all = hashlib.sha256()
    for each in files:
        if each.is_file() and each.suffix != ".pyc":  # as in .dvcignore
            of_all.update(f"{each} {hashlib.sha256(each.read_bytes()).hexdigest()}\n".encode())
    return of_all.hexdigest()


if __name__ == "__main__":
    run_entry(main)
