"""Stage `download`: the photos and the pretrained weights, once, and a manifest of them.

    python -m stages.download

Writes data/photos, data/weights, data/manifest.json and metrics/dataset.json, as params.yaml says. Run again, it keeps
what is valid and goes on where it was interrupted.
"""

import time
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness import sources
from stages.harness.params import schema
from stages.harness.process.signals import stop_signals
from stages.harness.sources import photos, weights
from stages.units import amount

DOWNLOADS_DIR = Path("data/downloads")


@stop_signals()
def main() -> int:
    try:
        download(schema.load())
    except OSError as error:
        place = error.filename or "data/"
        raise FaceoffError(f"{place}: {codec.refusal(error)}; what was downloaded is kept") from error
    return 0


def download(chosen: schema.Params) -> None:
    """Photos, weights and, last, the records of them: a manifest that is there vouches for the rest."""
    began = time.monotonic()
    records.MANIFEST_PATH.unlink(missing_ok=True)
    records.DATASET_PATH.unlink(missing_ok=True)
    recipe = chosen.recipe
    weights_sha256 = weights.place(recipe.arch if recipe.pretrained else None, records.WEIGHTS_DIR, DOWNLOADS_DIR)
    manifest = photos.place(sources.pick(chosen.dataset, DOWNLOADS_DIR), records.PHOTOS_DIR)
    dataset = photos.dataset_of(manifest, weights_sha256)
    codec.write(records.DATASET_PATH, dataset)
    codec.write(records.MANIFEST_PATH, manifest)
    report(dataset, time.monotonic() - began)


def report(dataset: records.Dataset, seconds: float) -> None:
    """A few lines on what there is now."""
    print(f"source: {dataset.source}")
    for split, counts in dataset.counts.items():
        print(f"  {split}: " + ", ".join(f"{count:,} {label}" for label, count in counts.items()))
    left_out = photos.describe_left_out(dataset.left_out)
    if left_out:
        print(left_out)
    print(f"{dataset.total_photos:,} photos, {amount(dataset.total_bytes)}, ready in {seconds:.1f} s")


if __name__ == "__main__":
    run_entry(main)
