"""Reads a whole run, of today or of a commit that is laid out in a folder, with what its results are results of."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from stages import codec, records
from stages.harness.comparison import as_run, regression
from stages.harness.params import schema
from stages.harness.results.read import failure, read_all


def read_run(name: str, root: Path) -> regression.Run:
    """Read the results under `root`, and what they are results of."""
    wanted, sha256 = schema.load(root), data_sha256(root)
    return regression.Run(
        name=name,
        machine=codec.read(root / records.MACHINE_PATH, records.Machine),
        data_sha256=sha256,
        job=codec.read(root / records.JOB_PATH, records.Job),
        profiles=read_profiles(wanted.images, root),
        results=read_all(wanted, root, sha256),
    )


def data_sha256(root: Path) -> str:
    """Return the digest of the data that results have to be of. A clone has no data/: its comparison says it too."""
    if not (root / records.MANIFEST_PATH).exists() and (root / records.COMPARISON_PATH).exists():
        return codec.read(root / records.COMPARISON_PATH, records.Comparison).data_sha256
    return codec.read(root / records.MANIFEST_PATH, records.Manifest).sha256


def read_profiles(images: Iterable[str], root: Path = Path()) -> dict[str, records.Profile]:
    """Read the profiles that there are: without one, a timing stands, and only what explains it is missing.

    With each goes what its image.yaml sets, which the profile tells in part.
    """
    paths = {image: root / records.profile_path(image) for image in images}
    there = [image for image, path in paths.items() if path.exists() and not failure(image, root)]
    found = {image: codec.read(paths[image], records.Profile) for image in there}
    for name, image in read_images(found, root).items():
        found[name] = dataclasses.replace(found[name], facts=as_run.of_image(found[name].facts, image))
    return found


def read_images(images: Iterable[str], root: Path = Path()) -> dict[str, records.Image]:
    """Read the records of images that there are."""
    paths = {image: root / records.image_path(image) for image in images if not failure(image, root)}
    return {image: codec.read(path, records.Image) for image, path in paths.items() if path.exists()}
