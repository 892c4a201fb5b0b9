"""What is read from the words of a program that found its card full, and who is said to hold what of it."""

import pytest

from stages import holders
from stages.records import GpuState
from stages.workload import gpu_memory, out_of_gpu
from stages.workload.out_of_gpu import Said
from stages.workload.probes import files, gpus
from stages.workload.probes.gpus import CardMemory, Holder

MIB, GIB = 2**20, 2**30
FULL = "CUDA out of memory. Tried to allocate 2.50 GiB"
NOW = f"{FULL}. GPU 1 has a total capacity of 15.00 GiB of which 512.00 MiB is free. "
OURS = "Including non-PyTorch memory, this process has 4.00 GiB memory in use. "
TORCH = (
    "Of the allocated memory 3.00 GiB is allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated. "
)
PRIVATE = TORCH.replace("PyTorch, and", "PyTorch, with 64.00 MiB allocated in private pools (e.g., CUDA Graphs), and")
ONCE = f"{FULL} (GPU 1; 15.00 GiB total capacity; 3.00 GiB already allocated; 512.00 MiB free; "
EXCEPTION = "Traceback (most recent call last):\n  File 'train.py', line 3, in <module>\n    step()\n"
SHARED = Said("", 1, 5 * GIB // 2, 15 * GIB, GIB // 2, 7 * GIB // 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(ONCE + "512.00 MiB cached)", SHARED, id="1.2"),
        pytest.param(ONCE + "3.50 GiB reserved in total by PyTorch)", SHARED, id="1.4"),
        pytest.param(
            ONCE + "5.00 GiB allowed; 3.50 GiB reserved in total by PyTorch) If reserved memory is >> allocated",
            SHARED._replace(allowed_bytes=5 * GIB, at_own_limit=True),
            id="1.13, with a limit of its own",
        ),
        pytest.param(
            NOW.replace("capacity", "capacty") + OURS + TORCH, SHARED._replace(ours_bytes=4 * GIB), id="2.1, misspelt"
        ),
        pytest.param(
            NOW + "Process 17 has 10.50 GiB memory in use. " + OURS + PRIVATE,
            SHARED._replace(ours_bytes=4 * GIB, others=((17, 21 * GIB // 2),)),
            id="2.14",
        ),
        pytest.param(
            NOW + OURS + "4.00 GiB allowed; " + TORCH,
            SHARED._replace(ours_bytes=4 * GIB, allowed_bytes=4 * GIB, at_own_limit=True),
            id="2.14, with a limit of its own",
        ),
        pytest.param(
            "Allocation on device 1 would exceed allowed memory. (out of memory)\nCurrently allocated     : 3.50 GiB\n"
            "Requested               : 2.50 GiB\nDevice limit            : 15.00 GiB\n"
            "Free (according to CUDA): 512.00 MiB\nPyTorch limit (set by user-supplied memory fraction)\n",
            SHARED,
            id="cudaMallocAsync",
        ),
        pytest.param(f"{FULL} of another wording", Said(), id="words to come"),
        pytest.param(ONCE.replace("2.50", "2.5.0") + "512.00 MiB cached)", Said(), id="what is no number"),
        pytest.param("RESOURCE_EXHAUSTED: Out of memory while trying to allocate , bytes", Said(), id="nor that"),
        pytest.param(NOW.replace("512.00 MiB", "99.00 GiB"), Said(index=1), id="numbers that cannot be"),
        pytest.param("CUDA error: out of memory\nCUDA kernel errors might be", Said(), id="no room for CUDA itself"),
        pytest.param("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", Said(), id="cuBLAS"),
        pytest.param(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
            Said(needed_bytes=4 * GIB),
            id="JAX",
        ),
    ],
)
def test_what_was_said_is_read_strictly_and_else_left(text: str, said: Said) -> None:
    assert out_of_gpu.in_error(text) == said


@pytest.mark.parametrize(
    ("text", "before"),
    [
        (f"at epoch 3: torch.OutOfMemoryError: {NOW}", "at epoch 3"),
        (f"Exception occured in `MixedPrecision` when calling event `after_batch`: {NOW}", ""),
        (f"RuntimeError: Exception occured in `MixedPrecision` when calling event `after_batch`:\n\t{NOW}", ""),
        ("Out of GPU memory at batch size 64", "Out of GPU memory at batch size 64"),
    ],
)
def test_the_jobs_own_words_stay_and_a_librarys_go(text: str, before: str) -> None:
    said = out_of_gpu.in_error(text)
    assert said is not None and said.before == before


@pytest.mark.parametrize("text", ["out of memory", "CUDA error: an illegal memory access was encountered", "", None])
def test_another_error_is_none_of_a_card(text: "str | None") -> None:
    assert out_of_gpu.in_error(text) is None


@pytest.mark.parametrize(
    ("stderr", "is_full"),
    [
        (f"İ: a letter that is two in lower case\n{EXCEPTION}torch.OutOfMemoryError: {NOW}\n", True),
        (f"epoch 1\n{EXCEPTION}torch.OutOfMemoryError: {NOW}\n", True),
        (f"terminate called after throwing an instance of 'c10::Error'\n  what():  {NOW}\n", True),
        (f"{EXCEPTION}RuntimeError: {NOW}\n{EXCEPTION}KeyError: 'loss'\n", False),  # it went on, and died of that
        (f"{NOW}\n" + "epoch 1\n" * 20 + "no room on the disk\n", False),
        (f"epoch 1\ngiving up: {NOW}\n\nsee the handbook\n", True),
        (f"terminate called after throwing\n  what():  {NOW}\n" + "frame #1: x\n" * 40, True),
        (f"RuntimeError: {NOW}\nlowering the batch size to 32\n{EXCEPTION}KeyError: 'loss'\n", False),
        (
            f"{EXCEPTION}RuntimeError: {NOW}\n\nThe above exception was the direct cause of the following exception:\n"
            f"\n{EXCEPTION}TrainingFailed: in step 7\n",
            True,
        ),
        (
            f"[rank1]: {EXCEPTION}[rank1]: torch.OutOfMemoryError: {NOW}\nW1127 Sending process 7 closing signal\n"
            f"{EXCEPTION}torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n====\n",
            True,
        ),
    ],
)
def test_the_last_error_on_stderr_counts(stderr: str, is_full: bool) -> None:
    said = out_of_gpu.in_last_words(stderr)
    assert (said is not None and said.index == 1) is is_full


# ----------------------------------------------------------------------------------------------------------- who it is

PLAIN = Said("", 0, 5 * GIB // 2, 15 * GIB, GIB // 2, None, 4 * GIB)


def card(used: float = 0.1, *holders: Holder, known: bool = True) -> CardMemory:
    """One of 15 GiB, as the driver shows it once the command has ended."""
    used_bytes = int(used * GIB)
    return CardMemory("GPU-1", "T4", 15 * GIB, 15 * GIB - used_bytes, used_bytes, holders if known else None, {})


def hog(gib: float, pid: int = 17, name: "str | None" = "hog.py") -> Holder:
    return Holder(pid, name, int(gib * GIB))


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of this machine has a number of the test's."""
    monkeypatch.setattr(holders, "described", lambda pid: (None, None))


def judged(said: Said, *cards: CardMemory) -> tuple[str, str]:
    """Who holds how much, and what to do."""
    verdict = gpu_memory.judge(said, cards, {"batch_size": 64, "rate": 0.1})
    return verdict.found.partition("; ")[2], verdict.advice


END_IT = "end that process or choose another card (CUDA_VISIBLE_DEVICES)"
SMALLER = "let the variant need less of the card: a lower batch_size than 64"


def test_a_process_that_torch_names_is_named_as_the_driver_calls_it() -> None:
    said = PLAIN._replace(others=((17, 21 * GIB // 2),))
    assert judged(said, card(10.6, hog(10.5))) == ("pid 17 (hog.py) holds 10.5 GiB of it", END_IT)
    assert judged(said, card()) == ("pid 17 holds 10.5 GiB of it", END_IT)  # it has ended since
    assert judged(said) == ("pid 17 holds 10.5 GiB of it", END_IT)


def test_the_commands_own_share_alone_is_a_matter_of_its_size() -> None:
    said = PLAIN._replace(ours_bytes=29 * GIB // 2)
    assert judged(said, card()) == ("it is the command's own, nobody else holds much of it", SMALLER)


def test_who_comes_when_it_has_died_is_not_blamed() -> None:
    said = PLAIN._replace(ours_bytes=29 * GIB // 2)
    assert judged(said, card(13.1, hog(13)))[1] == SMALLER


def test_who_was_there_at_the_begin_and_has_gone_is_told_where_the_error_has_no_numbers() -> None:
    """'CUDA error: out of memory' says no more: CUDA itself found no room."""
    plain = {"memory_free_bytes": 2 * GIB, "other_processes": ("pid 17, hog.py, 13 GiB",)}
    named = files.unknown(GpuState, "not told", memory_used_bytes=13 * GIB, **plain)
    little = files.unknown(GpuState, "not told", memory_used_bytes=GIB // 2, **plain)
    gone = "13 GiB of 15 GiB were in use (pid 17, hog.py, 13 GiB), and nobody is there any more"
    assert gone in gpu_memory.judge(Said(), [card()], {}, [named]).line
    assert "own" in gpu_memory.judge(PLAIN._replace(ours_bytes=29 * GIB // 2), [card()], {}, [named]).line
    assert "own" in gpu_memory.judge(Said(), [card()], {}, [little]).line


def test_a_share_that_would_not_have_made_room_is_told_and_not_blamed() -> None:
    said = PLAIN._replace(ours_bytes=13 * GIB, others=((17, 3 * GIB // 2),))
    assert judged(said, card(1.6, hog(1.5))) == (
        "pid 17 (hog.py) holds 1.5 GiB of it, which is less than it lacked",
        SMALLER,
    )


def test_in_a_container_what_nobody_is_seen_to_hold_is_somebodys_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "in_pid_namespace", lambda: True)
    who, advice = judged(PLAIN, card(10.6))
    assert who == "somebody outside of this container holds 10.6 GiB of it"
    assert advice == "end what else is on it or choose another card (CUDA_VISIBLE_DEVICES)"
    monkeypatch.setattr(gpus, "in_pid_namespace", lambda: False)
    assert judged(PLAIN, card(10.6))[0] == "processes that the driver does not name hold 10.6 GiB of it"


def test_in_a_container_torch_takes_its_own_process_for_another() -> None:
    """The driver gives the machine's number: of those named, the one that holds what torch has is the command."""
    said = PLAIN._replace(kept_bytes=7 * GIB // 2, ours_bytes=None, others=((17, 21 * GIB // 2), (18, 4 * GIB)))
    assert judged(said) == ("pid 17 holds 10.5 GiB of it", END_IT)
    alone = said._replace(kept_bytes=13 * GIB, others=((18, 29 * GIB // 2),))
    assert judged(alone, card())[1] == SMALLER


def test_old_words_leave_the_rest_to_the_driver() -> None:
    """Of what is not torch's of its own process, CUDA's context for one, 1.2 says nothing."""
    said = PLAIN._replace(kept_bytes=GIB, ours_bytes=None)
    assert judged(said, card(13.1, hog(13))) == ("pid 17 (hog.py) holds 13 GiB of it", END_IT)
    assert judged(said)[0] == "processes that the driver does not name hold 12.5 GiB of it"
    assert judged(said._replace(kept_bytes=14 * GIB), card())[1] == SMALLER


def test_without_numbers_what_the_driver_shows_counts() -> None:
    assert judged(Said(), card(13.1, hog(13))) == ("pid 17 (hog.py) holds 13 GiB of it", END_IT)
    assert judged(Said(), card())[1] == SMALLER
    who, advice = judged(Said())
    assert who == "whether another process holds some of it is not known"
    assert advice.startswith("see what nvidia-smi says: end what else is there or choose another card")


def test_a_limit_of_its_own_is_nobody_elses_doing() -> None:
    who, advice = judged(PLAIN._replace(at_own_limit=True), card(13.1, hog(13)))
    assert who == "the command has set itself a limit, and that is reached"
    assert advice.startswith("raise or remove it (torch.cuda.set_per_process_memory_fraction)")


def test_of_many_the_largest_are_named() -> None:
    found = card(12.1, *(hog(gib, pid=100 + gib) for gib in (1, 2, 3, 4)), hog(2, 110, None))
    assert judged(Said(), found)[0] == (
        "pid 104 (hog.py) holds 4 GiB of it, pid 103 (hog.py) holds 3 GiB of it, pid 102 (hog.py) holds 2 GiB of it, "
        "2 more hold 3 GiB"
    )


# ----------------------------------------------------------------------------------------------------------- preflight


@pytest.mark.parametrize(
    ("found", "needs", "status", "words"),
    [
        (card(), {}, None, ""),
        (card(), {"host/plain": 14 * GIB}, None, ""),
        (card(known=False), {}, None, ""),
        (card(13.1, hog(13)), {}, "warning", "1.9 GiB of 15 GiB free; pid 17 (hog.py) holds 13 GiB of it"),
        (card(13.1, hog(13)), {"host/plain": GIB}, "warning", END_IT),
        (card(13.1, hog(13)), {"host/plain": 4 * GIB}, "failed", "4 GiB for host/plain"),
        (card(13.1, hog(13)), {"host/plain": 4 * GIB}, "failed", END_IT),
        (card(1.2, hog(1.1)), {"host/plain": 16 * GIB}, "failed", "let the variant need less of the card"),
    ],
)
def test_a_card_is_looked_at_before_anything_runs(
    found: CardMemory, needs: dict[str, int], status: "str | None", words: str
) -> None:
    check = gpu_memory.check(found, needs)
    assert (check and check.status) == status
    assert check is None or (
        check.name == "GPU memory of T4" and words in f"{check.needed}; {check.found}; {check.advice}"
    )
