"""Preflight inside an image: what its checks make of a dry-run, and the real stage on this machine."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from stages import codec, holders, records
from stages.contract import Estimate
from stages.records import Check, Conditions, Facts, GpuState, Preflight, preflight_path
from stages.workload import preflight
from stages.workload.dry_run import DryRun
from stages.workload.probes import conditions, files
from stages.workload.probes.gpus import CardMemory, Holder
from tests import environments, results
from tests.supervised import LEGACY, Checkout, write_image_task
from tests.unit.test_checks import make_gpu

GIB = 2**30
RAN = DryRun(2 * GIB, None, Estimate(), None, None, {})
MOMENT: Conditions = results.CONDITIONS


def with_limit(limit_bytes: int) -> Facts:
    facts = results.facts("host")
    absent = {key: reason for key, reason in facts.hardware.limits.absent.items() if key != "memory_bytes"}
    limits = dataclasses.replace(facts.hardware.limits, memory_bytes=limit_bytes, absent=absent)
    return dataclasses.replace(facts, hardware=dataclasses.replace(facts.hardware, limits=limits))


# ----------------------------------------------------------------------------------------------------------- memory


def tried(run: DryRun, facts: Facts) -> Check:
    return preflight.of_dry_run("plain", run, facts, MOMENT)


def test_a_dry_run_that_fits_passes_with_its_numbers() -> None:
    check = tried(RAN, with_limit(4 * GIB))
    assert (check.name, check.status) == ("memory, plain", "passed")
    assert (check.needed, check.found) == ("2 GiB", "4 GiB (limit)")


def test_one_that_fills_the_limit_is_a_warning() -> None:
    check = tried(RAN, with_limit(int(2.1 * GIB)))
    assert (check.status, check.found) == ("warning", "2.1 GiB (limit)")
    assert check.advice is not None and "container.memory" in check.advice


def test_one_that_was_killed_says_so_and_what_to_do() -> None:
    check = tried(RAN._replace(failure="the command was killed by SIGKILL"), with_limit(2 * GIB))
    assert (check.status, check.needed) == ("failed", "more than the 2 GiB that it had taken")
    assert check.found == "2 GiB (limit); the dry-run: the command was killed by SIGKILL"
    assert check.advice is not None and "smaller batches" in check.advice


def test_one_that_failed_otherwise_gives_its_reason_as_it_is() -> None:
    check = tried(RAN._replace(failure="RuntimeError: no such operator"), results.facts("host"))
    assert (check.name, check.status) == ("dry-run, plain", "failed")
    assert check.found == "RuntimeError: no such operator"


def test_a_variant_that_the_image_cannot_do_is_no_failure() -> None:
    check = tried(RAN._replace(unsupported="no fp16 on a CPU"), results.facts("host"))
    assert (check.status, check.found) == ("not checked", "no fp16 on a CPU")


def test_where_the_kernel_does_not_tell_what_was_taken_nothing_is_passed() -> None:
    check = tried(RAN._replace(memory_bytes=None), results.facts("host"))
    assert (check.status, check.needed) == ("not checked", "what the dry-run took")
    assert "smaps_rollup" in check.found
    killed = tried(RAN._replace(memory_bytes=None, failure="MemoryError: "), results.facts("host"))
    assert (killed.status, killed.needed) == ("failed", "more than it could take")


def test_what_others_took_of_the_machines_memory_is_not_there() -> None:
    used = dataclasses.replace(MOMENT, memory_available_bytes=GIB)
    check = preflight.of_dry_run("plain", RAN, with_limit(4 * GIB), used)
    assert (check.status, check.found) == ("warning", "1 GiB (available on the machine)")


def test_who_took_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "of_memory", lambda total_bytes: "pid 17 (hog.py) holds 5 GiB of it")
    used = dataclasses.replace(MOMENT, memory_available_bytes=GIB)
    check = preflight.of_dry_run("plain", RAN, with_limit(4 * GIB), used)
    assert check.found == "1 GiB (available on the machine); pid 17 (hog.py) holds 5 GiB of it"
    assert check.advice is not None and check.advice.startswith("end what else holds it, or let the variant need less")
    killed = RAN._replace(failure="the command was killed by SIGKILL")
    assert "hog.py" in preflight.of_dry_run("plain", killed, with_limit(4 * GIB), used).found
    assert "hog.py" not in preflight.of_dry_run("plain", killed, with_limit(4 * GIB), MOMENT).found  # the limit's doing


def test_what_the_job_says_will_come_on_top_does() -> None:
    check = tried(RAN._replace(estimate=Estimate(memory_bytes=GIB // 2)), results.facts("host"))
    assert check.needed == "2.5 GiB"


# ------------------------------------------------------------------------------------------------ memory of the card


def on_cards(device: str, *free_bytes: int) -> tuple[Facts, Conditions]:
    """Equal cards with so much free."""
    facts, cards, states = results.facts("host"), [], []
    for index, free in enumerate(free_bytes):
        cards.append(dataclasses.replace(make_gpu("8.0"), name="Card", uuid=f"GPU-{index}"))
        states.append(files.unknown(GpuState, "not told", uuid=f"GPU-{index}", memory_free_bytes=free))
    hardware = dataclasses.replace(facts.hardware, gpus=tuple(cards), gpus_reason=None)
    moment = dataclasses.replace(MOMENT, gpus=tuple(states), gpus_reason=None)
    return dataclasses.replace(facts, device=device, hardware=hardware), moment


def tried_on(device: str, *free_bytes: int) -> Check:
    facts, moment = on_cards(device, *free_bytes)
    return preflight.of_dry_run("plain", RAN._replace(gpu_memory_bytes=4 * GIB), facts, moment)


def test_of_two_equal_cards_the_fullest_counts() -> None:
    """An older torch does not tell which it takes."""
    assert tried_on("Card", 14 * GIB, 14 * GIB).status == "passed"
    check = tried_on("Card", 14 * GIB, 1 * GIB)
    assert (check.status, check.found) == ("warning", "7 GiB (available on the machine), 1 GiB free on the GPU")


def test_a_card_that_would_hold_it_but_for_others_says_who_they_are() -> None:
    facts, moment = on_cards("Card", 3 * GIB)
    ran = RAN._replace(gpu_memory_bytes=int(2.9 * GIB))
    hog = Holder(99999999, "hog.py", 12 * GIB)
    card = CardMemory("GPU-0", "Card", 16 * GIB, 3 * GIB, 13 * GIB, (hog,), {})
    check = preflight.of_dry_run("plain", ran, facts, moment, [card])
    assert check.found.endswith("3 GiB free on the GPU; pid 99999999 (hog.py) holds 12 GiB of it")
    assert check.advice == "end that process or choose another card (CUDA_VISIBLE_DEVICES)"
    alone = preflight.of_dry_run("plain", ran, facts, moment, [card._replace(used_bytes=0, holders=())])
    assert (alone.status, alone.advice) == ("warning", preflight.SMALLER)


def test_of_two_equal_cards_the_one_counts_that_torch_computes_on() -> None:
    facts, moment = on_cards("Card", 1 * GIB, 14 * GIB)
    named = {name: why for name, why in facts.absent.items() if name != "gpu_uuid"}
    facts = dataclasses.replace(facts, gpu_uuid="GPU-1", absent=named)
    check = preflight.of_dry_run("plain", RAN._replace(gpu_memory_bytes=4 * GIB), facts, moment)
    assert (check.status, check.found) == ("passed", "7 GiB (available on the machine), 14 GiB free on the GPU")
    assert [state.uuid for state in preflight._of_the_job(moment, facts).gpus] == ["GPU-1"]


def test_what_an_instance_of_a_card_has_is_not_known_and_its_card_is() -> None:
    """MIG: the driver's numbers are the whole card's."""
    check = tried_on("Card MIG 1g.5gb", 14 * GIB)
    assert (check.status, check.needed) == ("passed", "2 GiB, 4 GiB on the GPU")
    assert check.found.endswith(", not known how much on the GPU")
    checks = list(preflight.gpus(with_card("8.0", "Card MIG 1g.5gb"), "auto"))
    assert [each.status for each in checks] == ["failed", "passed"]


def test_a_card_that_the_job_does_not_use_warns_of_nothing() -> None:
    facts, moment = on_cards("Card", GIB)
    other = files.unknown(GpuState, "not told", uuid="GPU-other", temperature_celsius=99)
    both = dataclasses.replace(moment, gpus=(*moment.gpus, other))
    assert conditions.warnings(both) and not conditions.warnings(preflight._of_the_job(both, facts))


# ---------------------------------------------------------------------------------------------------------- session


def session(tmp_path: Path, resumes: bool, **estimate: float) -> list[Check]:
    job = dataclasses.replace(results.JOB, resumes=resumes)
    path = tmp_path / write_image_task(tmp_path, None, job, session_max_hours=1.0, cells_left={"plain": 2, "other": 1})
    run = RAN._replace(estimate=Estimate(**estimate))  # type: ignore[arg-type]
    return list(preflight.session(codec.read(path, records.ImageTask), {"plain": run}))


@pytest.mark.parametrize(
    ("resumes", "cell_seconds", "span_seconds", "status"),
    [
        (True, 600, 60, "passed"),  # half an hour, with another variant's cell that no dry-run tells of
        (True, 1200, 60, "warning"),
        (True, 7200, 60, "warning"),
        (True, 7200, 3700, "failed"),
        (False, 7200, 60, "failed"),  # what does not go on must end in one session
    ],
)
def test_a_session_must_hold_the_run_or_at_least_what_the_next_one_goes_on_after(
    tmp_path: Path, resumes: bool, cell_seconds: float, span_seconds: float, status: str
) -> None:
    [check] = session(tmp_path, resumes, cell_seconds=cell_seconds, span_seconds=span_seconds)
    assert (check.status, check.found) == (status, "1 h: session.max_hours")
    assert " for 3 cells, " in check.needed


def test_a_job_that_does_not_say_how_long_it_takes_leaves_the_session_unchecked(tmp_path: Path) -> None:
    [check] = session(tmp_path, True)
    assert check.status == "not checked" and check.found.startswith("no dry-run tells how long a cell takes")


# ------------------------------------------------------------------------------------------------------------- cards


def with_card(capability: str, device: str) -> Facts:
    facts = results.facts("cuda-10.0")
    contents = dataclasses.replace(facts.contents, cuda="10.0", cuda_architectures=("sm_70", "sm_75"))
    contents = dataclasses.replace(contents, absent={k: v for k, v in contents.absent.items() if k != "cuda"})
    hardware = dataclasses.replace(facts.hardware, gpus=(make_gpu(capability),), gpus_reason=None)
    return dataclasses.replace(facts, device=device, contents=contents, hardware=hardware)


def test_the_card_that_trains_is_checked_and_another_is_not() -> None:
    assert [check.status for check in preflight.gpus(with_card("8.0", "Card"), "auto")] == ["failed", "passed"]
    assert list(preflight.gpus(with_card("8.0", "Another card"), "auto")) == []


def test_a_card_that_the_job_shall_not_use_is_no_matter() -> None:
    assert [check.status for check in preflight.gpus(with_card("8.0", "cpu"), "auto")] == ["failed", "passed"]
    assert list(preflight.gpus(with_card("8.0", "cpu"), "none")) == []


def test_a_card_in_an_image_without_torch_is_not_checked() -> None:
    hardware = environments.hardware(make_gpu("8.0"))
    facts = environments.facts("host", hardware, torch=None, cuda=None, device=None)
    [check] = preflight.gpus(facts, "auto")
    assert (check.status, check.found) == ("not checked", "not stated: what drives the card here is not known")
    assert list(preflight.gpus(facts, "none")) == []


# ------------------------------------------------------------------------------------------------------- for real

STEPS = """import json, os, sys
out = os.environ["FACEOFF_OUTPUT"]
block = os.urandom(1) * 100_000_000
if os.fork() == 0:
    own = os.urandom(1) * 100_000_000
    __import__("time").sleep(1)
    os._exit(0)
os.wait()
json.dump([os.environ["FACEOFF_STEPS"], sys.argv[1], out, sys.dont_write_bytecode], open({told!r}, "w"))
tell = lambda **line: open(os.environ["FACEOFF_EVENTS"], "a").write(json.dumps(line) + "\\n")
tell(span="epoch", seconds=1, steps=4)
tell(estimate={{"cell_seconds": 60.0, "memory_bytes": 2**20}})
"""


def looked_over(checkout: Checkout, text: str, **changes: object) -> tuple[int, dict[str, Check]]:
    """By the real stage in a process of its own, for one variant."""
    output = str(checkout.root / "models/host/plain/1")
    task = checkout.task("train", (*checkout.script(text), "--out=" + output))
    path = write_image_task(checkout.root, task, checkout.job, session_max_hours=1.0, **changes)
    environment = {**os.environ, "PYTHONPATH": str(checkout.root)}
    command = [checkout.python, "-m", "stages.preflight_inside", "--task", path]
    done = subprocess.run(command, cwd=checkout.root, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    checks = codec.read(checkout.root / preflight_path("host"), Preflight).checks
    assert not list((checkout.root / "models").glob(".*")), "what was tried is removed"
    return done.returncode, {check.name: check for check in checks}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A bare Python 3.7 where there is one: without torch, all that can be looked at is quick."""
    monkeypatch.chdir(tmp_path)
    codec.write(records.MANIFEST_PATH, records.Manifest("mine", "d" * 64, 1, 1))
    return Checkout(tmp_path, *LEGACY[:1], dry_run=True)


def test_the_command_itself_is_tried_for_some_steps_beside_the_cells_folders(checkout: Checkout) -> None:
    told = checkout.root / "told"
    code, found = looked_over(checkout, STEPS.format(told=str(told)), shm_bytes={"plain": 2**20})
    assert code == 0
    steps, argument, output, leaves_no_compiled_code = json.loads(told.read_text())
    assert leaves_no_compiled_code  # as in a container, since imports belong to what it is timed by
    assert steps == "4" and argument == "--out=" + output
    assert Path(output).parent.parent == checkout.root / "models" and not (checkout.root / "models/host").exists()
    assert found["shared memory, plain"].status == "passed"
    memory = found["memory, plain"]
    # Two blocks, one of them of a child that has the other too, two interpreters, and the MiB that comes on top.
    taken = float(memory.needed.split()[0])
    assert (memory.status, memory.needed.split()[1]) == ("passed", "MiB") and 195 < taken < 240
    assert found["session"].needed.startswith("6 min for 6 cells, 1 min for the longest")


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("raise SystemExit(1)", "failed", "the command ended with exit code 1; its own words are above"),
        ("import os; os.kill(os.getpid(), 9)", "failed", "the dry-run: the command was killed by SIGKILL"),
        (
            "import os; open(os.environ['FACEOFF_EVENTS'], 'a').write('{\"unsupported\": \"no fp16\"}')",
            "not checked",
            "no fp16",
        ),
    ],
)
def test_how_a_dry_run_ends_is_told(checkout: Checkout, script: str, status: str, words: str) -> None:
    code, found = looked_over(checkout, script)
    [check] = [check for name, check in found.items() if name.endswith(", plain") and "shared" not in name]
    assert (check.status, words in check.found, code) == (status, True, int(status == "failed")), check


def test_a_short_first_variant_concludes_nothing_about_the_others(checkout: Checkout) -> None:
    """The second one takes hours: it has a look at its memory, and is the longest."""
    script = """case "$FACEOFF_CELL" in *'"variant": "long"'*) seconds=36000 ;; *) seconds=30 ;; esac
echo "{\\"estimate\\": {\\"cell_seconds\\": $seconds}}" >> "$FACEOFF_EVENTS"
sleep 0.3
"""
    plain = checkout.task("train", checkout.script(script, "job.sh"))
    names = ("short", "long")
    tasks = tuple(dataclasses.replace(plain, cell=dataclasses.replace(plain.cell, variant=each)) for each in names)
    path = checkout.root / write_image_task(checkout.root, plain, checkout.job)
    image_task = dataclasses.replace(
        codec.read(path, records.ImageTask), cells=tasks, session_max_hours=9.0, cells_left={"short": 3, "long": 3}
    )
    found = {each.name: each for each in preflight.look_over(image_task, results.facts("host"), MOMENT)}
    assert {"memory, short", "memory, long"} <= set(found)
    assert found["session"].needed.startswith("30.0 h for 6 cells, 10.0 h for the longest")


def test_what_the_job_does_not_give_is_not_checked_and_says_so(checkout: Checkout) -> None:
    checkout.job = dataclasses.replace(checkout.job, dry_run=False)
    code, found = looked_over(checkout, "raise ValueError")
    assert code == 0
    assert found["dry-run"].found == "jobs/mine/job.yaml does not say `dry_run: true`"
    for name in ("dry-run", "shared memory", "session"):
        assert found[name].status == "not checked"
