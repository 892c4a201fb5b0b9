"""The checks that only an image itself can answer, and what a dry-run shows.

Runs inside images: Python 3.7 syntax; torch, where there is one, is asked in a child.
"""

import dataclasses
import os
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from stages import checks, codec, holders
from stages.records import MANIFEST_PATH, Check, Conditions, Facts, ImageTask, Preflight, preflight_path
from stages.units import amount
from stages.visible_cards import VISIBLE
from stages.workload import dry_run, gpu_memory, job_cards
from stages.workload.dry_run import DryRun
from stages.workload.probes import conditions, files, limits
from stages.workload.probes.gpus import CardMemory

FULL_SHARE = 0.9  # of the memory there is: what is left serves what a dry-run of few steps does not show
# As the kernel, CUDA, torch and Python say it.
OUT_OF_MEMORY = ("sigkill", "out of memory", "allocate memory", "memoryerror")
UNSUPPORTED = "nothing, or leave the variant out of params.yaml: its cells will say 'unsupported'"
LOOK = "mend what it says; the cells would end alike"
AVAILABLE = "available on the machine"
END = "end what else holds it"
SMALLER = "let the variant need less in params.yaml: smaller batches, for example"


def run(task: ImageTask, seen: Facts, moment: Conditions) -> int:
    """Write down what is right and what is not, and tell of it; the exit code."""
    path = preflight_path(task.image)
    if path.exists():
        path.unlink()
    found = look_over(task, seen, moment)
    codec.write(path, Preflight(task.image, found))
    return checks.report(found, "preflight in " + task.image)


def look_over(task: ImageTask, seen: Facts, moment: Conditions) -> Tuple[Check, ...]:
    """Return what was checked, and what could not be, each with its reason. `seen`: what the image is now."""
    found = [*cards(task, seen), *gpus(seen, task.gpus), *shared_memory(task, seen)]
    found += checks.idle(conditions.warnings(_of_the_job(moment, seen)))
    used = card_memory(seen)
    found += filter(None, (gpu_memory.check(card, {}) for card in used))
    reason = why_no_dry_run(task, tuple(found))
    if reason is not None:
        found += cpu_quota(task, seen, {})
        return (*found, checks.not_checked("dry-run", "a few steps of every variant", reason), *session(task, {}))
    runs = dry_run.run(task, seen)
    found += [of_dry_run(variant, run, seen, moment, used) for variant, run in runs.items()]
    return (*found, *cpu_quota(task, seen, runs), *session(task, runs))


def why_no_dry_run(task: ImageTask, found: Tuple[Check, ...]) -> Optional[str]:
    """Return why no variant is tried; None where each is."""
    if not task.job.dry_run:
        return f"{task.job.directory}/job.yaml does not say `dry_run: true`"
    if not MANIFEST_PATH.exists():
        return "the job's data is not downloaded yet"
    if any(each.status == "failed" for each in found):
        return "not all checks above passed"
    return None


def _of_the_job(moment: Conditions, facts: Facts) -> Conditions:
    """Leave out the cards that the job does not use; all stay where no torch tells which those are."""
    if facts.device is None:
        return moment
    used = {gpu.uuid for gpu in facts.cards}
    cards = tuple(state for state in moment.gpus if state.uuid in used)
    return dataclasses.replace(moment, gpus=cards, gpus_reason=None if cards else "the job uses none")


def cards(task: ImageTask, facts: Facts) -> Iterator[Check]:
    """Check that the cards are here that the image was given, and that torch computes on one."""
    problem = job_cards.of_image(task, facts)
    if problem is not None:
        status = "failed" if problem.is_fatal else "warning"
        yield Check("cards", status, "those of container.gpus in params.yaml", problem.found, problem.advice)
    for cell in task.cells:
        few = job_cards.too_few(cell, facts.hardware.gpus)
        if few is not None:
            yield Check(f"GPUs of {cell.cell.variant}", "failed", "those of gpus in params.yaml", few.found, few.advice)


def gpus(facts: Facts, choice: str) -> Iterator[Check]:
    """Check whether this torch drives the card that the job trains on; where on none, whether any could be used."""
    if choice == "none":
        return
    cuda = facts.contents.cuda
    if cuda is not None:
        for gpu in facts.hardware.gpus if facts.device == "cpu" else facts.cards:
            yield checks.capability(gpu, facts.contents.cuda_architectures)
            yield checks.driver(gpu, cuda)
    elif facts.hardware.gpus:
        reason = "{}: what drives the card here is not known".format(facts.contents.absent["cuda"])
        yield checks.not_checked("GPU", "software that was built for it", reason)


def shared_memory(task: ImageTask, facts: Facts) -> Iterator[Check]:
    """Check what each variant needs of /dev/shm, where the job tells it."""
    there, free = facts.hardware.limits.shm_bytes, limits.shm_free_bytes(files.ROOT)
    needs = {cell.cell.variant: task.shm_bytes.get(cell.cell.variant) for cell in task.cells}
    for variant, need in needs.items():
        if need is not None:
            yield checks.shared_memory(variant, need, there, free, task.in_container)
    unknown = [variant for variant, need in needs.items() if need is None]
    if unknown:
        reason = "the job does not tell what it needs (`estimate` of job.yaml: shm_bytes)"
        yield checks.not_checked(_named("shared memory", unknown, task), "room in /dev/shm", reason)


def cpu_quota(task: ImageTask, facts: Facts, runs: Dict[str, DryRun]) -> Iterator[Check]:
    """Warn of variants whose threads and workers share a CPU quota that is too small for them."""
    variants: Dict[Check, List[str]] = {}
    for cell in task.cells:
        name, variant = cell.cell.variant, cell.belongs.variant
        workers = checks.workers({**variant.parameters, **(runs[name].facts if name in runs else {})})
        threads = checks.threads(variant.env, facts.torch_threads)
        check = checks.crowded(facts.hardware.limits, threads, workers)
        if check is not None:
            variants.setdefault(check, []).append(name)
    for check, names in variants.items():
        yield dataclasses.replace(check, name=_named(check.name, names, task))


def _named(name: str, variants: Sequence[str], task: ImageTask) -> str:
    """Return the name of a check of these variants, who are named unless they are all that there are."""
    return name if len(variants) == len(task.cells) else ", ".join([name, *variants])


def card_memory(facts: Facts) -> Tuple[CardMemory, ...]:
    """Return who holds what of the card that the job trains on; of an instance of one (MIG) that is not known."""
    uuids = {gpu.uuid for gpu in facts.cards}
    if facts.on_mig_instance or not uuids:
        return ()
    return tuple(card for card in gpu_memory.look(os.environ.get(VISIBLE)) if card.uuid in uuids)


def of_dry_run(variant: str, run: DryRun, facts: Facts, moment: Conditions, cards: Sequence[CardMemory] = ()) -> Check:
    """Return what the dry-run of a variant shows."""
    if run.unsupported:
        needed = "what this image can do"
        return Check("dry-run, " + variant, "not checked", needed, run.unsupported, UNSUPPORTED)
    if run.out_of_gpu is not None:
        verdict = run.out_of_gpu
        return Check("memory, " + variant, "failed", "room for a few steps on the GPU", verdict.found, verdict.advice)
    if run.failure and not any(sign in run.failure.lower() for sign in OUT_OF_MEMORY):
        return Check("dry-run, " + variant, "failed", "a few steps that end well", run.failure, LOOK)
    return memory("memory, " + variant, run, facts, moment, cards)


def memory(name: str, run: DryRun, facts: Facts, moment: Conditions, cards: Sequence[CardMemory]) -> Check:
    """Compare what the dry-run took, and what comes on top later, with what the host and the card have."""
    there, found = _host_memory(facts, moment)
    on_card, card = _card_memory(facts, moment)
    found += f", {card} on the GPU" if facts.cards else ""
    lower = SMALLER + ("" if facts.hardware.limits.memory_bytes is None else ", or raise container.memory")
    need = (run.memory_bytes or 0) + (run.estimate.memory_bytes or 0)
    if AVAILABLE in found and (run.failure or _fills(need, there)):
        who = holders.of_memory(facts.hardware.memory_bytes)
        found, lower = (f"{found}; {who}", f"{END}, or {lower}") if who else (found, lower)
    if run.failure:
        taken = "it could take" if run.memory_bytes is None else f"the {amount(run.memory_bytes)} that it had taken"
        return Check(name, "failed", "more than " + taken, f"{found}; the dry-run: {run.failure}", lower)
    if run.memory_bytes is None:
        return checks.not_checked(
            name, "what the dry-run took", "this kernel does not tell it (/proc/PID/smaps_rollup)"
        )
    needed = amount(need)
    if run.gpu_memory_bytes is not None:
        needed += f", {amount(run.gpu_memory_bytes)} on the GPU"
    if _fills(need, there):
        return Check(name, "warning", needed, found, lower)
    if _fills(run.gpu_memory_bytes, on_card):
        others = [each for each in map(gpu_memory.on, cards) if each is not None and each.bytes]
        who = max(others, key=lambda each: each.bytes, default=None)
        if who is None or _fills(run.gpu_memory_bytes, (on_card or 0) + who.bytes):
            return Check(name, "warning", needed, found, lower)
        return Check(name, "warning", needed, f"{found}; {gpu_memory.held(who)}", gpu_memory.make_room(who))
    return checks.passed(name, needed, found)


def _host_memory(facts: Facts, moment: Conditions) -> Tuple[Optional[int], str]:
    """Return what may be taken of the host's memory: the limit, or what the machine has left where that is less."""
    sizes = {
        "limit": facts.hardware.limits.memory_bytes,
        AVAILABLE: moment.memory_available_bytes,
        "the machine's": facts.hardware.memory_bytes,
    }
    known = [(size, what) for what, size in sizes.items() if size is not None]
    if not known:
        return None, "not known"
    least, what = min(known)
    return least, f"{amount(least)} ({what})"


def _card_memory(facts: Facts, moment: Conditions) -> Tuple[Optional[int], str]:
    """Return what is free of the card's memory, of equal cards on the fullest: torch does not tell which it takes.

    Of an instance of a card (MIG) the driver tells nothing apart.
    """
    uuids = [gpu.uuid for gpu in facts.cards]
    free = [state.memory_free_bytes for state in moment.gpus if state.uuid in uuids]
    known = [each for each in free if each is not None]
    if not known or len(known) < len(free) or facts.on_mig_instance:
        return None, "not known how much"
    return min(known), f"{amount(min(known))} free"


def _fills(taken: Optional[int], there: Optional[int]) -> bool:
    return taken is not None and there is not None and taken > FULL_SHARE * there


def session(task: ImageTask, runs: Dict[str, DryRun]) -> Iterator[Check]:
    """Compare the length of what is left of the run with that of a session, where there is one."""
    if task.session_max_hours is None:
        return
    estimates = {variant: run.estimate for variant, run in runs.items()}
    lasts = {variant: each.cell_seconds for variant, each in estimates.items() if each.cell_seconds is not None}
    if not lasts:
        reason = f"no dry-run tells how long a cell takes; {task.session_max_hours:g} h: session.max_hours"
        yield checks.not_checked("session", "the length of the run", reason)
        return
    mean = sum(lasts.values()) / len(lasts)  # for those that have no dry-run
    whole = sum(lasts.get(variant, mean) * left for variant, left in task.cells_left.items())
    left = sum(task.cells_left.values())
    needed = f"{_duration(whole)} for {left} cells, {_duration(max(lasts.values()))} for the longest"
    needed += ", if the other images take as long as this one"
    spans = [each.span_seconds for each in estimates.values() if each.span_seconds is not None]
    part, part_seconds = "cell", max(lasts.values())
    if task.job.resumes and spans:
        part, part_seconds = "span", max(spans)
    yield checks.session(task.session_max_hours, whole, part_seconds, part, needed)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
