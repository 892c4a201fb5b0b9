"""What a cell is told: its place in the matrix by its arguments, its recipe by params.yaml."""

import argparse
from pathlib import Path

import yaml

from stages.codec import decode
from stages.records import PRECISIONS, Cell, Container, Recipe


def parse_cell(description: str) -> Cell:
    """The cell that the command line names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--image", required=True)
    parser.add_argument("--precision", required=True, choices=PRECISIONS)
    parser.add_argument("--batch-size", required=True, type=int)
    parser.add_argument("--repeat", required=True, type=int)
    arguments = parser.parse_args()
    return Cell(arguments.image, arguments.precision, arguments.batch_size, arguments.repeat)


def read_params(path: Path = Path("params.yaml")) -> dict:
    """params.yaml as it stands; the host checked it as a whole. PyYAML comes with every fastai."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_recipe(path: Path = Path("params.yaml")) -> Recipe:
    return decode(Recipe, read_params(path).get("recipe"), "{}: recipe".format(path))


def read_container(path: Path = Path("params.yaml")) -> Container:
    """What of the section decides how a cell runs; `base_images` decides what the image is."""
    section = {name: value for name, value in read_params(path)["container"].items() if name != "base_images"}
    return decode(Container, section, "{}: container".format(path))
