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

CLASSES_SHOWN = 10
LEARNT = "accuracy looks better than it is, for train holds photos of valid too,"


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
    codec.write(data / LISTING, Photos(receipt.photos, receipt.rare))
    report(receipt, time.monotonic() - began)


def report(receipt: Receipt, seconds: float) -> None:
    """Print a few lines on what there is now, and tell its numbers."""
    counts = photos.folder_counts(receipt)
    print(f"source: {receipt.source}")
    classes = sorted({folder.split("/")[1] for folder in counts})
    for split in layout.SPLITS:
        shown = ", ".join(f"{counts[f'{split}/{label}']:,} {label}" for label in classes[:CLASSES_SHOWN])
        more = f" and {len(classes) - CLASSES_SHOWN:,} more classes" if len(classes) > CLASSES_SHOWN else ""
        print(f"  {split}: {shown}{more}")
    learnt = photos.in_both_splits(receipt)
    for line in (*photos.describe("left out", receipt.left_out), *photos.describe(LEARNT, learnt)):
        print(line)
    total = sum(photo.size_bytes for photo in receipt.photos)
    print(f"{len(receipt.photos):,} photos, {amount(total)}, ready in {seconds:.1f} s")
    seam.say(fact="source", value=receipt.source)
    seam.say(fact="classes", value=len(classes))
    for split in layout.SPLITS:
        seam.say(fact=f"{split}_photos", value=sum(counts[f"{split}/{label}"] for label in classes))
    seam.say(fact="left_out", value=len(receipt.left_out))
