"""Which cards jobs get, by container.gpus and CUDA_VISIBLE_DEVICES: two equal cards, and a third."""

import dataclasses
from pathlib import Path

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments import cards
from stages.harness.params import schema
from stages.harness.params.schema import Params
from stages.records import Hardware
from tests.environments import gpu, hardware, machine
from tests.project import make_project

A, B, C = (f"GPU-{letter * 8}-0000-0000-0000-000000000000" for letter in "abc")
TWINS = hardware(gpu("Tesla T4", uuid=A), gpu("Tesla T4", uuid=B), gpu("NVIDIA A100", uuid=C, mig=True))
PART = "MIG-c7e44a1c-0000-0000-0000-000000000000"


def choose(choice: str, visible: str | None = None, on: Hardware = TWINS) -> tuple[str, ...]:
    return cards.choose(choice, on, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})


@pytest.mark.parametrize(
    ("choice", "visible", "chosen"),
    [
        ("auto", None, (A, B, C)),
        ("all", None, (A, B, C)),
        ("none", None, ()),
        ("none", "1", ()),
        ("auto", "1", (B,)),
        ("auto", "2,0", (C, A)),  # the order is kept
        ("auto", f"{B},{A}", (B, A)),
        ("auto", "GPU-b", (B,)),
        ("auto", "0,7,1", (A,)),  # CUDA ends the list at what it does not find
        ("auto", "1,-1,0", (B,)),
        ("auto", "0,0,1", (A,)),
        ("auto", PART, (PART,)),
        ("auto", "", ()),
        ("auto", "-1", ()),
        ("1", None, (B,)),
        ("1", "0", (B,)),  # who names a card in params.yaml means it
        (C, None, (C,)),
        ("GPU-a", None, (A,)),
        (PART, None, (PART,)),
    ],
)
def test_cards_by_index_uuid_and_its_begin(choice: str, visible: str | None, chosen: tuple[str, ...]) -> None:
    assert choose(choice, visible) == chosen


@pytest.mark.parametrize(
    ("choice", "visible", "words"),
    [
        ("3", None, "container.gpus is '3', but this machine has 0 Tesla T4 (GPU-aaaa"),
        ("GPU-d", None, "container.gpus is 'GPU-d', but this machine has"),
        ("auto", "3", "CUDA_VISIBLE_DEVICES=3 names no card of this machine, which has 0 Tesla T4 (GPU-aaaa"),
        ("auto", "GPU-", "CUDA_VISIBLE_DEVICES=GPU- names no card"),  # all of them, so none
        ("all", "", "CUDA_VISIBLE_DEVICES= hides every card"),
    ],
)
def test_what_names_no_card_is_one_line_with_the_cards_there_are(choice: str, visible: str | None, words: str) -> None:
    with pytest.raises(FaceoffError) as caught:
        choose(choice, visible)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_of_a_card_is_refused_where_no_card_is_in_parts() -> None:
    with pytest.raises(FaceoffError, match=PART):
        choose(PART, on=hardware(gpu(uuid=A, mig=False)))


@pytest.mark.parametrize("loaded", [True, False])
def test_all_without_a_card_is_refused_unless_a_driver_is_loaded_that_does_not_answer(
    loaded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidiactl"
    monkeypatch.setattr(cards, "DEVICES", (device,))
    if loaded:
        device.touch()
        assert choose("all", on=hardware()) == ()
    else:
        with pytest.raises(FaceoffError, match="this machine has no GPU: no NVIDIA driver"):
            choose("all", on=hardware())
    assert choose("auto", on=hardware()) == ()
    with pytest.raises(FaceoffError, match="this machine shows none: no NVIDIA driver answers"):
        choose("0", on=hardware())


def params(root: Path, choice: str) -> Params:
    wanted = schema.load(make_project(root, ["host"]))
    return dataclasses.replace(wanted, container=dataclasses.replace(wanted.container, gpus=choice))


def test_what_is_handed_to_an_image_is_what_the_machines_record_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidiactl"
    monkeypatch.setattr(cards, "DEVICES", (device,))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    root, wanted = tmp_path / "project", params(tmp_path / "project", "auto")
    named = dataclasses.replace(wanted, container=dataclasses.replace(wanted.container, gpus="0"))
    assert cards.handed(wanted, root) is None
    with pytest.raises(FaceoffError, match="not known yet"):
        cards.handed(named, root)
    device.touch()
    assert cards.handed(wanted, root) == ()  # all, of unknown UUIDs
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert cards.handed(wanted, root) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # of the machine stage it was another, which counts
    codec.write(root / records.MACHINE_PATH, machine(TWINS, (B, A)))
    assert cards.handed(wanted, root) == (B, A)
    assert cards.handed(named, root) == (A,)
    codec.write(root / records.MACHINE_PATH, machine(TWINS, ()))  # where they were hidden
    assert cards.handed(wanted, root) is None
    none = dataclasses.replace(wanted, container=dataclasses.replace(wanted.container, gpus="none"))
    assert cards.handed(none, root) is None


def test_both_kinds_of_environment_are_told_the_cards_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    told = cards.variables((B, A))
    assert told["CUDA_VISIBLE_DEVICES"] == told["NVIDIA_VISIBLE_DEVICES"] == f"{B},{A}"
    assert cards.variables(None)["CUDA_VISIBLE_DEVICES"] == ""
    assert cards.variables(None)["NVIDIA_VISIBLE_DEVICES"] == "void"  # a runtime may hand out cards unasked
    assert "CUDA_VISIBLE_DEVICES" not in cards.variables(())
    assert {cards.variables(each)["CUDA_DEVICE_ORDER"] for each in ((B,), (), None)} == {"PCI_BUS_ID"}


def test_of_jobs_are_the_cards_that_they_get_in_that_order() -> None:
    assert [each.uuid for each in cards.of_jobs(machine(TWINS, (C, A)))] == [C, A]
    assert [each.uuid for each in cards.of_jobs(machine(TWINS, (PART,)))] == [C]
    assert cards.of_jobs(machine(TWINS)) == ()
    silent = hardware(gpu(uuid=None))
    assert cards.of_jobs(machine(silent)) == silent.gpus
