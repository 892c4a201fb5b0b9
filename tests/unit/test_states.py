"""Checkpoints go when DVC has noted the result that lies there, and not before."""

import hashlib

import pytest
import yaml

from stages.harness.cells import checkpoints
from stages.records import Cell

CELL = Cell("cuda-10.0", "fp32", 16, 2)


def noted(md5, name="train@2-cuda-10.0-fp32-16"):
    """A dvc.lock as DVC 3 writes it."""
    outs = [{"path": str(CELL.model_dir), "hash": "md5", "md5": "0.dir"}]
    outs.append({"path": str(CELL.train_path), "hash": "md5", "md5": md5, "size": 9})
    return {"schema": "2.0", "stages": {"machine": {"cmd": "x"}, name: {"cmd": "x", "outs": outs}}}


MD5 = hashlib.md5(b"a result", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("lock", "result", "stays"),
    [
        (noted(MD5), b"a result", False),  # a later run is a forced one, or of something else
        (noted(MD5), b"another", True),  # of a run that was killed before DVC noted it
        (noted(MD5), None, True),  # of a forced run that was killed amid the training
        (noted(MD5, "evaluate@2-cuda-10.0-fp32-16"), b"a result", True),
        (None, b"a result", True),
    ],
)
def test_a_checkpoint_stays_until_dvc_has_noted_the_result(tmp_path, monkeypatch, lock, result, stays):
    monkeypatch.chdir(tmp_path)
    for path, content in ((CELL.checkpoint_path, b""), (CELL.train_path, result)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
    if lock:
        checkpoints.LOCK_PATH.write_text(yaml.safe_dump(lock))
    checkpoints.discard_noted([Cell("host", "fp32", 16, 1), CELL])
    assert CELL.checkpoint_path.exists() == stays
