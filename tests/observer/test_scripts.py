"""Trainings of all kinds, unchanged: what the observer counts is what each script counts by itself."""

import shutil
from pathlib import Path

import pytest

from stages.workload.observer.read import NOT_TRAINED
from tests.observer.observing import Seen, observe, observe_times

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
THREAD = "the script reads its loader in a thread of its own: waiting for it is unknown"
BACKWARDS = "no optimiser's step was seen: a step is a backward pass, so accumulation does not show"
NO_LOADER = "no DataLoader of torch is read in training: waiting and samples are unknown, and the first step's begin"
STRAGGLER = "where they join in each step, all wait for the batch that comes last"
SIDE_BY_SIDE = "several loaders are read side by side: samples are those of one of them"


def agreeing(folder: Path, *command: str, note: str = "", **environment: str) -> Seen:
    """Observe a script whose counts and times must be those that are observed."""
    seen, off = observe_times(folder, lambda each: whose_time_is_off(each, note), *command, **environment)
    assert not off, (seen.seconds("train"), seen.truth["seconds"])
    return seen


def whose_time_is_off(seen: Seen, note: str) -> list[str]:
    truth = seen.truth
    assert seen.counts == {key: truth[key] for key in ("train", "steps", "samples", "validation")}
    assert "faceoff: " not in seen.done.stderr
    late = [each for each in seen.observation.notes if STRAGGLER in each]  # which other work may have made so
    others = [each for each in seen.observation.notes if each not in (note, *late) and "microseconds" not in each]
    assert (note in seen.observation.notes or not note, others) == (True, [])
    assert len(seen.observation.steps) == truth["steps"]
    # Both clocks are read in the same run. Between a framework's timer and its loader lies what is 1 % of 0.3 s.
    off = seen.seconds("train") != pytest.approx(truth["seconds"], rel=0.01, abs=0.003)
    return ["train"] * off + [each.partition(" waited ")[0] for each in late]


@pytest.mark.parametrize(
    ("command", "environment", "note"),
    [
        ("plain.py", {}, ""),
        ("plain.py", {"STRIPPED": "1"}, BACKWARDS),
        ("gan.py", {}, ""),
        ("two_loaders.py", {}, SIDE_BY_SIDE),
        ("two_loaders.py", {"WORK": "both"}, SIDE_BY_SIDE),
        ("no_loader.py", {}, NO_LOADER),
        ("no_loader.py", {"LOOK": "1"}, NO_LOADER),
        ("subclassed.py", {}, ""),
        ("children.py fork", {}, ""),
        ("children.py spawn", {}, ""),
        ("fastai_2.py", {}, ""),
        ("strange.py whole", {}, ""),
        ("strange.py pipeline", {}, NO_LOADER),
    ],
)
def test_counts_are_the_scripts_own(tmp_path: Path, command: str, environment: dict[str, str], note: str) -> None:
    seen = agreeing(tmp_path, *command.split(), note=note, **environment)
    assert len(seen.files) == 1
    assert all(span.split is not None or note == NO_LOADER for span in seen.observation.spans if span.name == "train")


def test_a_training_that_neither_hook_meets_is_said_to_be_none(tmp_path: Path) -> None:
    seen = agreeing(tmp_path, "strange.py", "functional", note=NOT_TRAINED.format(1))
    assert seen.observation.spans == ()


def test_steps_of_several_batches_know_their_samples(tmp_path: Path) -> None:
    seen = agreeing(tmp_path, "accumulate.py")
    assert [step.samples for step in seen.observation.steps] == seen.truth["step_samples"] * 2


def test_validation_within_an_epoch_is_not_its_time(tmp_path: Path) -> None:
    def off(seen: Seen) -> list[str]:
        steps = sum(step.seconds for step in seen.observation.steps)
        pairs = {
            "validation": (seen.seconds("validation"), seen.truth["validated"]),
            "steps": (steps, seen.truth["seconds"]),
        }
        wrong = [name for name, (found, own) in pairs.items() if found != pytest.approx(own, rel=0.1)]
        return wrong + whose_time_is_off(seen, "")

    seen, wrong = observe_times(tmp_path, off, "midway.py")
    assert not wrong, (seen.truth, seen.observation.spans)


def test_a_loader_in_a_thread_leaves_the_waiting_unknown(tmp_path: Path) -> None:
    seen = agreeing(tmp_path, "subclassed.py", note=THREAD, THREAD="1")
    assert {(span.split, wait) for span, wait in zip(seen.observation.spans, seen.observation.waits, strict=True)} == {
        (None, None)
    }


def test_the_loader_tells_sizes_and_no_sampler_of_the_script_is_asked(tmp_path: Path) -> None:
    seen = observe(tmp_path, "sizes.py")
    truth = seen.truth
    assert seen.counts == {key: truth[key] for key in ("train", "steps", "samples", "validation")}
    assert truth["asked"] == 0


def test_ranks_write_a_file_each_and_samples_are_of_all(tmp_path: Path) -> None:
    seen = agreeing(tmp_path, *TORCHRUN, "ranks.py")
    assert [path.name.split(".")[1] for path in seen.files] == ["0", "1"]
    assert seen.observation.processes == 2


@pytest.mark.parametrize("environment", [{}, {"STEP": "1", "BACKEND": "aot_eager"}])
def test_a_compiled_training_has_the_same_graphs_and_its_compilations_apart(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    seen = observe(tmp_path, "compiled.py", **environment)
    truth = seen.truth
    assert seen.counts == {key: truth[key] for key in ("train", "steps", "samples", "validation")}
    if environment:  # the compiler reads the loop, our hooks with it
        plain = observe(tmp_path, "compiled.py", **environment, FACEOFF_OBSERVE="").truth
        assert (truth["graphs"], truth["breaks"]) == (plain["graphs"], plain["breaks"])
    found = seen.observation
    compiled = [index for index, step in enumerate(found.steps) if step.compiled]
    assert compiled[0] == 0 and 20 in compiled and found.warm_up > 0
    assert not any(step.compiled for step in found.steady)
    said = "torch.compile was at work after the warm-up too: steps" in " ".join(found.notes)
    assert said == (found.warm_up <= 20)  # on a busy machine the warm-up may seem as long


@pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("c++")), reason="torch.compile's own backend needs a C++ compiler"
)
def test_what_torch_compiles_to_machine_code_is_counted_and_its_compilation_is_the_warm_up(tmp_path: Path) -> None:
    seen = agreeing(
        tmp_path,
        "compiled.py",
        BACKEND="inductor",
        EVEN="1",
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"),
        TORCHINDUCTOR_COMPILE_THREADS="1",  # else it starts Pythons that compile
    )
    found = seen.observation
    assert [step.compiled for step in found.steps] == [True] + [False] * 39 and found.warm_up >= 1
    assert len(seen.files) == 1
