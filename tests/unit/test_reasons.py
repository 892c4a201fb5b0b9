"""What changed between two records, in words: tests/pipeline/test_kept.py has the lines as a run prints them."""

import dataclasses

import pytest

from stages.harness.pipeline.reasons import _changed
from tests import results


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"isa": ("avx2", "avx512f")}, {"isa": ("avx2",)}, ["isa lost avx512f"]),
        ({"isa": ["avx2"]}, {"isa": ["avx2", "amx"]}, ["isa gained amx"]),
        ({"sizes": [64, 128]}, {"sizes": [64, 224]}, ["sizes[1] was 128, is 224"]),
        ({"gpus": [{"name": "T4"}]}, {"gpus": []}, ["gpus had 1 item, has 0"]),
        ({"size": 224}, {}, ["size was 224, is not there"]),
        ({"jobs/mine/a.py": "0" * 64}, {"jobs/mine/a.py": "1" * 64}, ["jobs/mine/a.py changed"]),
    ],
    ids=["lost", "gained", "at a place", "another length", "gone", "digest"],
)
def test_what_changed_is_named(was: dict[str, object], now: dict[str, object], said: list[str]) -> None:
    assert [*_changed(was, now)] == said


def test_a_cache_of_another_size_is_told_by_its_size() -> None:
    """Not by the first letters of all caches, which are the same."""
    cpu = dataclasses.asdict(results.machine().hardware.cpu)
    cache = {"level": 1, "kind": "data", "size_bytes": 49152, "instances": 2}
    was, now = ({**cpu, "caches": (cache, {**cache, "level": 2, "size_bytes": size})} for size in (2**20, 2**19))
    assert [*_changed(was, now)] == ["caches[1].size_bytes was 1048576, is 524288"]


def test_of_long_words_the_part_that_differs_is_shown() -> None:
    begin = "python train.py --epochs 3 --learning-rate 0.001 --out {output} --batch-size "
    [said] = _changed({"train": begin + "16 --workers 2 --verbose --seed 42"}, {"train": begin + "64"})
    assert said == "train was …utput} --batch-size 16 --workers 2 --ver…, is …utput} --batch-size 64'"
