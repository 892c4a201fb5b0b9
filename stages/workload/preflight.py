"""The checks that only an image's own torch can answer, and what a dry-run shows.

Runs inside images: Python 3.7 syntax.
"""

import dataclasses
import itertools
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from stages import checks, codec, needs
from stages.records import (
    DATA_DIR,
    MANIFEST_PATH,
    Cell,
    Check,
    Conditions,
    Facts,
    Manifest,
    Profile,
    Recipe,
    TrainResult,
    profile_path,
)
from stages.units import amount
from stages.workload import dry_run, facts, inputs
from stages.workload.dry_run import DryRun, Setting
from stages.workload.probes import conditions, files, limits

FULL_SHARE = 0.9  # of the memory there is: what is left serves what a dry-run of few steps does not show
EVALUATION_PASSES = 10  # over the validation photos: the plain prediction, and with augmentation one plain and eight
FORWARD_SHARE = 1 / 3  # of a training step: the backward pass takes twice as long
CELL_PROCESSES = 2  # that each import torch and fastai: the training's and the evaluation's
CELL_SECONDS = 8.0  # for what a cell does after its epochs (workload/ceilings.py), and for its looks at conditions
# As the kernel, CUDA, torch and Python say it.
OUT_OF_MEMORY = ("sigkill", "out of memory", "allocate memory", "memoryerror")
UNSUPPORTED = "nothing, or leave it out of precisions in params.yaml: its cells will say 'unsupported'"
LOOK = "mend what it says; the cells would end alike"
DECODING = "JPEG decode, all usable cores"


def look_over(image: str) -> Tuple[Check, ...]:
    params, recipe = inputs.read_params(), inputs.read_recipe()
    moment = conditions.look(DATA_DIR)
    seen, _ = facts.look(image)
    found = [*gpus(seen, params["container"]["gpus"]), *shared_memory(seen, recipe, params["batch_sizes"])]
    found += checks.idle(conditions.doubts(_of_the_job(moment, seen)))
    settings = list(itertools.product(params["precisions"], params["batch_sizes"]))
    if not MANIFEST_PATH.exists():
        return (*found, checks.not_checked("dry-run", "the photos", "they are not downloaded yet"))
    if any(each.status == "failed" for each in found):
        return (*found, checks.not_checked("dry-run", "all checks above passed", "not all did"))
    runs = dry_run.try_settings(image, recipe, settings)
    found += [tried(*setting, run, seen, moment, recipe) for setting, run in runs.items()]
    return (*found, *session(image, params, recipe, runs))


def _of_the_job(moment: Conditions, facts: Facts) -> Conditions:
    """Without the cards that the job does not use."""
    used = {gpu.uuid for gpu in facts.cards}
    cards = tuple(state for state in moment.gpus if state.uuid in used)
    return dataclasses.replace(moment, gpus=cards, gpus_reason=None if cards else "the job uses none")


def gpus(facts: Facts, choice: str) -> Iterator[Check]:
    """Whether this torch drives the card that the job trains on; where it trains on none, whether any could be used."""
    if facts.contents.cuda is not None and choice != "none":
        for gpu in facts.hardware.gpus if facts.device == "cpu" else facts.cards:
            yield checks.capability(gpu, facts.contents.cuda_architectures)
            yield checks.driver(gpu, facts.contents.cuda)


def shared_memory(facts: Facts, recipe: Recipe, batch_sizes: Iterable[int]) -> Iterator[Check]:
    if facts.contents.fastai is None:
        return
    learner, on_gpu = needs.learner_kind(facts.contents.fastai), facts.device != "cpu"
    in_container = facts.image != "host"
    there, free = facts.hardware.limits.shm_bytes, limits.shm_free_bytes(files.ROOT)
    for size in batch_sizes:
        yield checks.shared_memory(learner, on_gpu, size, recipe, there, free, in_container)


def tried(precision: str, batch_size: int, run: DryRun, facts: Facts, moment: Conditions, recipe: Recipe) -> Check:
    """What the dry-run of a setting shows."""
    setting = "{}, batch size {}".format(precision, batch_size)
    if run.unsupported:
        needed = "a precision that this image can do"
        return Check("dry-run, " + setting, "not checked", needed, run.unsupported, UNSUPPORTED)
    if run.failure and not any(sign in run.failure.lower() for sign in OUT_OF_MEMORY):
        return Check("dry-run, " + setting, "failed", "a few steps that end well", run.failure, LOOK)
    return memory("memory, " + setting, run, facts, moment, _later_bytes(facts, batch_size, recipe))


def memory(name: str, run: DryRun, facts: Facts, moment: Conditions, later_bytes: int) -> Check:
    """What the dry-run took, and what comes on top later, against what there is: of the host's memory, and the card's.

    `later_bytes`: in batches that the loader holds ahead once there are more than the dry-run had.
    """
    limit = facts.hardware.limits.memory_bytes
    there, found = _host_memory(facts, moment)
    on_card, card = _card_memory(run, facts, moment)
    found += "" if facts.device == "cpu" else ", {} on the GPU".format(card)
    lower = "lower batch_sizes or recipe.size in params.yaml" + ("" if limit is None else ", or raise container.memory")
    if run.failure:
        taken = (
            "it could take" if run.memory_bytes is None else "the {} that it had taken".format(amount(run.memory_bytes))
        )
        return Check(name, "failed", "more than " + taken, "{}; the dry-run {}".format(found, run.failure), lower)
    if run.memory_bytes is None:
        return checks.not_checked(
            name, "what the dry-run took", "this kernel does not tell it (/proc/PID/smaps_rollup)"
        )
    need = run.memory_bytes + later_bytes
    needed = amount(need)
    if run.gpu_memory_bytes is not None:
        needed += ", {} on the GPU".format(amount(run.gpu_memory_bytes))
    if _fills(need, there) or _fills(run.gpu_memory_bytes, on_card):
        return Check(name, "warning", needed, found, lower)
    return checks.passed(name, needed, found)


def _later_bytes(facts: Facts, batch_size: int, recipe: Recipe) -> int:
    if facts.contents.fastai is None or recipe.workers == 0:
        return 0
    learner = needs.learner_kind(facts.contents.fastai)
    batches = needs.batches_at_once(learner, facts.device != "cpu", recipe)
    return max(0, batches - dry_run.STEPS) * needs.batch_bytes(learner, batch_size, recipe)


def _host_memory(facts: Facts, moment: Conditions) -> Tuple[Optional[int], str]:
    """What may be taken of the host's memory: the limit, or what the machine has available where that is less."""
    sizes = {
        "limit": facts.hardware.limits.memory_bytes,
        "available on the machine": moment.memory_available_bytes,
        "the machine's": facts.hardware.memory_bytes,
    }
    known = [(size, what) for what, size in sizes.items() if size is not None]
    if not known:
        return None, "not known"
    least, what = min(known)
    return least, "{} ({})".format(amount(least), what)


def _card_memory(run: DryRun, facts: Facts, moment: Conditions) -> Tuple[Optional[int], str]:
    """What may be taken of the card's memory.

    By what is free on it: of equal cards on the fullest, since torch does not tell which it takes. Of an instance of a
    card (MIG) the driver tells nothing apart, and torch how large it is.
    """
    uuids = [gpu.uuid for gpu in facts.cards]
    free = [state.memory_free_bytes for state in moment.gpus if state.uuid in uuids]
    if free and None not in free and not facts.on_mig_instance:
        return min(free), "{} free".format(amount(min(free)))
    if run.gpu_total_bytes is None:
        return None, "not known how much"
    return run.gpu_total_bytes, "{} in all".format(amount(run.gpu_total_bytes))


def _fills(taken: Optional[int], there: Optional[int]) -> bool:
    return taken is not None and there is not None and taken > FULL_SHARE * there


def session(image: str, params: dict, recipe: Recipe, runs: Dict[Setting, DryRun]) -> Iterator[Check]:
    """The length of what is left of the run against that of a session, where there is one."""
    hours = params["session"]["max_hours"]
    steps = {setting: run.step_seconds for setting, run in runs.items() if run.step_seconds is not None}
    if hours is None or not steps:
        return
    start_seconds = max(run.start_seconds or 0.0 for run in runs.values())  # the first imported all, the others nothing
    photos = codec.read(MANIFEST_PATH, Manifest).photos
    valid = sum(photo.path.startswith("valid/") for photo in photos)
    rate = _decoded_per_second(image)
    lasts = {
        (precision, size): predicted_seconds(step, size, len(photos) - valid, valid, recipe, rate)
        + CELL_PROCESSES * start_seconds
        + CELL_SECONDS
        for (precision, size), step in steps.items()
    }
    left = [cell for cell in _cells(params) if not _is_done(cell, recipe)]
    mean = sum(lasts.values()) / len(lasts)  # for those that have no dry-run
    whole = sum(lasts.get((cell.precision, cell.batch_size), mean) for cell in left)
    longest = max(lasts.values())
    needed = "{} for {} cells, {} for the longest, if the other images take as long as this one".format(
        _duration(whole), len(left), _duration(longest)
    )
    yield checks.session(hours, whole, longest / (recipe.frozen_epochs + recipe.unfrozen_epochs), needed)


def _cells(params: dict) -> List[Cell]:
    matrix = (params[key] for key in ("images", "precisions", "batch_sizes", "repeats"))
    return [Cell(*each) for each in itertools.product(*matrix)]


def _is_done(cell: Cell, recipe: Recipe) -> bool:
    """Whether there is a result of it that another run would leave as it is, as far as can be told from here."""
    try:
        return cell.evaluate_path.exists() and codec.read(cell.train_path, TrainResult).recipe == recipe
    except codec.RecordError:
        return False


def predicted_seconds(
    step_seconds: float, batch_size: int, train: int, valid: int, recipe: Recipe, decoded_per_second: Optional[float]
) -> float:
    """Of one cell: its epochs and its evaluation, without what its processes take besides.

    Assumes that a batch takes as long as the slower of the two takes for it: the device, by the dry-run's steps, and
    the loader, which does nothing but decode on all usable cores. In validation the device does the forward pass alone.
    """
    loading = batch_size / decoded_per_second if decoded_per_second else 0.0
    epochs = recipe.frozen_epochs + recipe.unfrozen_epochs
    steps = epochs * (train // batch_size)
    passes = (epochs + EVALUATION_PASSES) * (valid / batch_size)
    return steps * max(step_seconds, loading) + passes * max(step_seconds * FORWARD_SHARE, loading)


def _decoded_per_second(image: str) -> Optional[float]:
    path = profile_path(image)
    measured = codec.read(path, Profile).measurements if path.exists() else ()
    return next((each.median for each in measured if each.name == DECODING), None)


def _duration(seconds: float) -> str:
    return "{:.1f} h".format(seconds / 3600) if seconds >= 3600 else "{:.0f} min".format(seconds / 60)
