"""List the virtual environments below .venvs: what each takes on disk, and which images are it.

python -m stages.venvs                   list them
python -m stages.venvs --remove-unused   remove those that no image of docker/ is any more, and half-made ones
"""

import argparse
import shutil
from pathlib import Path

from stages.errors import FaceoffError, run_entry
from stages.harness.environments import definition, venvs
from stages.harness.params.schema import DOCKER_DIR
from stages.harness.process.locks import held, only_run
from stages.units import amount


def main() -> int:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m stages.venvs", description="Virtual environments of images."
    )
    parser.add_argument("--remove-unused", action="store_true", help="remove what no image is, and what is half made")
    if parser.parse_args().remove_unused:
        with only_run():
            remove_unused(Path.cwd())
    else:
        show(Path.cwd())
    return 0


def show(root: Path) -> None:
    """Print a line for each environment, then one for each image that has none."""
    images, problems = look(root)
    found = venvs.folders(root)
    for folder in found:
        use = ", ".join(images.get(folder, [])) or "no image"
        size = amount(venvs.size_bytes(folder / "bin" / "python") or venvs.disk_bytes(folder))
        print(
            f"{venvs.FOLDER / folder.name}  {size:>9}  {use}"
            + ("" if venvs.stamp(folder) else f", {venvs.lack(folder)}")
        )
    for folder, names in images.items():
        if folder not in found:
            print(f"{venvs.FOLDER / folder.name}  {'not made':>9}  {', '.join(names)}")
    for problem in problems:
        print(problem)
    if not found and not images and not problems:
        print(f"no environment below {venvs.FOLDER}, and no image of docker/ that is one")


def remove_unused(root: Path) -> None:
    """Remove what no image is, and what is half made. Raises FaceoffError where an image's own can't be told."""
    images, problems = look(root)
    if problems:
        raise FaceoffError(f"nothing is removed, as which is whose can't be told: {'; '.join(problems)}")
    removed = 0
    for folder in venvs.folders(root):
        if folder not in images or not venvs.stamp(folder):
            with held(venvs.lock(folder), str(venvs.FOLDER / folder.name)):
                size_bytes = venvs.disk_bytes(folder)
                venvs.remove(folder)
            print(f"removed {venvs.FOLDER / folder.name}, {amount(size_bytes)}")
            removed += size_bytes
    free = shutil.disk_usage(root).free
    print(
        f"{amount(removed)} removed; {amount(free)} are free"
        if removed
        else "nothing to remove: every environment is whole, and some image's"
    )


def look(root: Path) -> tuple[dict[Path, list[str]], list[str]]:
    """Return the images by their environment's folder, and why those have none that can have none."""
    images: dict[Path, list[str]] = {}
    problems: list[str] = []
    for path in sorted((root / DOCKER_DIR).glob("*/image.yaml")):
        name = path.parent.name
        try:
            venv = definition.load(name, root).venv
            if venv is not None:
                images.setdefault(venvs.folder_of(venv, root), []).append(name)
        except FaceoffError as error:
            problems.append(f"image {name}: {error}")
    return images, problems


if __name__ == "__main__":
    run_entry(main)
