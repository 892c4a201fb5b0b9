"""Have the photos and the pretrained weights below data/dogs_cats, once, and a listing of the photos.

Run again, it keeps what is valid and goes on where it was interrupted. Runs on the host.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from jobs.dogs_cats import parameters, seam, sources
from jobs.dogs_cats.photos import DOWNLOADS, FOLDER, LISTING, Photos
from jobs.dogs_cats.sources import layout, photos, weights
from jobs.dogs_cats.sources.photos import Receipt
from stages import codec, contract
from stages.errors import FaceoffError
from stages.units import amount


def main(arguments: Sequence[str]) -> int:
    """Download what params.yaml names. Raises FaceoffError for what the user can mend."""
    try:
        download(seam.folder(contract.DATA))
    except OSError as error:
        place = error.filename or "data/"
        raise FaceoffError(f"{place}: {codec.refusal(error)}; what was downloaded is kept") from error
    return 0


def download(data: Path) -> None:
    """Place photos, weights and, last, the listing: one that is there vouches for the rest."""
    began = time.monotonic()
    cell = seam.cell()
    section = parameters.section(cell["section"])
    choices = [parameters.choice(cell["section"], each, "params.yaml: variants") for each in cell["variants"]]
    (data / LISTING).unlink(missing_ok=True)
    weights.place(parameters.architectures(choices), data / DOWNLOADS / "weights", data / DOWNLOADS)
    receipt = photos.place(sources.pick(section.dataset, data / DOWNLOADS), data / FOLDER)
    codec.write(data / LISTING, Photos(receipt.photos))
    report(receipt, time.monotonic() - began)


def report(receipt: Receipt, seconds: float) -> None:
    """Print a few lines on what there is now, and tell its numbers."""
    counts = photos.folder_counts(receipt)
    print(f"source: {receipt.source}")
    for split in layout.SPLITS:
        print(f"  {split}: " + ", ".join(f"{counts[f'{split}/{label}']:,} {label}" for label in layout.CLASSES))
    left_out = photos.describe_left_out(receipt.left_out)
    if left_out:
        print(left_out)
    total = sum(photo.size_bytes for photo in receipt.photos)
    print(f"{len(receipt.photos):,} photos, {amount(total)}, ready in {seconds:.1f} s")
    seam.say(fact="source", value=receipt.source)
    for folder, count in counts.items():
        seam.say(fact=folder.replace("/", "_"), value=count)
    seam.say(fact="left_out", value=len(receipt.left_out))
