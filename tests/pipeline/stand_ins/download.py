"""Stands in for stages/download.py: a manifest of no photos and a data set record, at once."""

from pathlib import Path

from stages import codec, records
from tests import results

results.write_dataset()
codec.write(records.MANIFEST_PATH, records.Manifest("synthetic", (), {}, results.DATASET_SHA256))
Path(records.WEIGHTS_DIR).mkdir(parents=True, exist_ok=True)
