"""Names with a meaning to a shell: dvc.yaml's commands go through one, so none may get that far."""

import shutil

import pytest

from tests.pipeline.test_pipeline import Checkout
from tests.project import ROOT

ODD = """it's a "$(touch pwned)" `touch pwned`; touch pwned"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout in a folder of an odd name, with the real check of params.yaml, and a cell of image host."""
    variants = {"fp32": {"precision": "fp32"}}
    made = Checkout(tmp_path_factory.mktemp("checkout") / ODD, images=["host"], variants=variants, repeats=[1])
    shutil.copy(ROOT / "stages/preflight.py", made.path / "stages")
    return made


def pwned(checkout):
    return list(checkout.path.parent.rglob("pwned"))


def test_a_checkout_may_lie_in_a_folder_of_any_name(checkout):
    assert checkout.repro()[-4:] == ["train@1-host-fp32", "evaluate@1-host-fp32", "compare", "scorecard"]
    assert not pwned(checkout)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": ["host", "$(touch pwned)"]},
        {"images": ["host", "x\ntouch pwned\n"]},
        {"images": ["host", "--help"]},
        {"variants": {"fp32": {"precision": "fp32"}, "$(touch pwned)": {"precision": "fp32"}}},
        {"variants": {"fp32": {"precision": "fp32"}, "a.b": {"precision": "fp32"}}},
        {"job": "$(touch pwned)"},
        {"repeats": [1, "1; touch pwned"]},
    ],
    ids=str,
)
def test_a_name_that_is_not_plain_is_refused_before_a_shell_sees_it(checkout, changes):
    before = (checkout.path / "params.yaml").read_text()
    checkout.change(**changes)
    try:
        ran = checkout.repro(code=255)
    finally:
        (checkout.path / "params.yaml").write_text(before)
    assert set(ran) <= {"machine"}, "a stage ran with that name on its command line"
    assert not pwned(checkout)
