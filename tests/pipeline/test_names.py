"""Names with a meaning to a shell: dvc.yaml's commands go through one, so none may get that far."""

import shutil

import pytest
import yaml

from tests.pipeline.test_pipeline import ROOT, Checkout

ODD = """it's a "$(touch pwned)" `touch pwned`; touch pwned"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout in a folder of an odd name, with the real check of params.yaml, and a cell of image host."""
    made = Checkout(tmp_path_factory.mktemp("checkout") / ODD)
    shutil.copy(ROOT / "stages/preflight.py", made.path / "stages")
    write(made, {"images": ["host"], "precisions": ["fp32"], "repeats": [1]})
    return made


def write(checkout, changes):
    path = checkout.path / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def pwned(checkout):
    return list(checkout.path.parent.rglob("pwned"))


def test_a_checkout_may_lie_in_a_folder_of_any_name(checkout):
    assert checkout.repro()[-4:] == ["train@1-host-fp32-16", "evaluate@1-host-fp32-16", "compare", "scorecard"]
    assert not pwned(checkout)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": ["host", "$(touch pwned)"]},
        {"images": ["host", "x\ntouch pwned\n"]},
        {"images": ["host", "--help"]},
        {"precisions": ["fp32", "$(touch pwned)"]},
        {"batch_sizes": [16, "$(touch pwned)"]},
        {"repeats": [1, "1; touch pwned"]},
    ],
    ids=str,
)
def test_a_name_that_is_not_plain_is_refused_before_a_shell_sees_it(checkout, changes):
    before = (checkout.path / "params.yaml").read_text()
    write(checkout, changes)
    try:
        ran = checkout.repro(code=255)
    finally:
        (checkout.path / "params.yaml").write_text(before)
    assert set(ran) <= {"machine"}, "a stage ran with that name on its command line"
    assert not pwned(checkout)
