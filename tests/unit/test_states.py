"""A training's state goes when DVC has noted the result that lies there, and not before."""

import hashlib

import pytest
import yaml

from stages.harness.cells import states
from stages.records import Cell

CELL = Cell("cuda-10.0", "fp32", 2)
RESULT_PATH = CELL.result_path("train")


def noted(md5, name="train@2-cuda-10.0-fp32"):
    """A dvc.lock as DVC 3 writes it."""
    outs = [{"path": str(CELL.output_dir), "hash": "md5", "md5": "0.dir"}]
    outs.append({"path": str(RESULT_PATH), "hash": "md5", "md5": md5, "size": 9})
    return {"schema": "2.0", "stages": {"machine": {"cmd": "x"}, name: {"cmd": "x", "outs": outs}}}


MD5 = hashlib.md5(b"a result", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("lock", "result", "stays"),
    [
        (noted(MD5), b"a result", False),  # a later run is a forced one, or of something else
        (noted(MD5), b"another", True),  # of a run that was killed before DVC noted it
        (noted(MD5), None, True),  # of a forced run that was killed amid the training
        (noted(MD5, "evaluate@2-cuda-10.0-fp32"), b"a result", True),
        (None, b"a result", True),
    ],
)
def test_a_state_stays_until_dvc_has_noted_the_result(tmp_path, monkeypatch, lock, result, stays):
    monkeypatch.chdir(tmp_path)
    state = CELL.state_dir / "checkpoint"
    for path, content in ((state, b""), (CELL.progress_path, b""), (RESULT_PATH, result)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
    if lock:
        states.LOCK_PATH.write_text(yaml.safe_dump(lock))
    states.discard_noted([Cell("host", "fp32", 1), CELL])
    assert [state.exists(), CELL.state_dir.exists(), CELL.progress_path.exists()] == [stays] * 3
