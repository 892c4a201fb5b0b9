"""The checks that only an image's own torch can answer, and what a dry-run shows.

Runs inside images: Python 3.7 syntax.
"""

import itertools
from typing import Dict, Iterable, Iterator, Optional, Tuple

from stages import checks, codec, needs
from stages.checks import amount
from stages.records import DATA_DIR, MANIFEST_PATH, Check, Conditions, Facts, Manifest, Profile, Recipe, profile_path
from stages.workload import dry_run, facts, inputs
from stages.workload.dry_run import DryRun
from stages.workload.probes import conditions

FULL_SHARE = 0.9  # of the memory there is: what is left serves what a dry-run of few steps does not show
EVALUATION_PASSES = 10  # over the validation photos: the plain prediction, and with augmentation one plain and eight
FORWARD_SHARE = 1 / 3  # of a training step: the backward pass takes twice as long
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
    found += checks.idle(conditions.doubts(moment))
    settings = list(itertools.product(params["precisions"], params["batch_sizes"]))
    if not MANIFEST_PATH.exists():
        return (*found, checks.not_checked("dry-run", "the photos", "they are not downloaded yet"))
    if any(each.status == "failed" for each in found):
        return (*found, checks.not_checked("dry-run", "all checks above passed", "not all did"))
    runs = dry_run.try_settings(image, recipe, settings)
    found += [tried(*setting, run, seen, moment) for setting, run in runs.items()]
    return (*found, *session(image, params, recipe, runs))


def gpus(facts: Facts, choice: str) -> Iterator[Check]:
    """Whether this torch drives the card that the job trains on; where it trains on none, whether any could be used."""
    if facts.contents.cuda is not None and choice != "none":
        for gpu in facts.hardware.gpus:
            if facts.device in ("cpu", gpu.name):
                yield checks.capability(gpu, facts.contents.cuda_architectures)
                yield checks.driver(gpu, facts.contents.cuda)


def shared_memory(facts: Facts, recipe: Recipe, batch_sizes: Iterable[int]) -> Iterator[Check]:
    if facts.contents.fastai is None:
        return
    learner, on_gpu = needs.learner_kind(facts.contents.fastai), facts.device != "cpu"
    in_container = facts.image != "host"
    for size in batch_sizes:
        there = facts.hardware.limits.shm_bytes
        yield checks.shared_memory(learner, on_gpu, size, recipe, there, in_container)


def tried(precision: str, batch_size: int, run: DryRun, facts: Facts, moment: Conditions) -> Check:
    """What the dry-run of a setting shows."""
    setting = "{}, batch size {}".format(precision, batch_size)
    if run.unsupported:
        needed = "a precision that this image can do"
        return Check("dry-run, " + setting, "not checked", needed, run.unsupported, UNSUPPORTED)
    if run.failure and not any(sign in run.failure.lower() for sign in OUT_OF_MEMORY):
        return Check("dry-run, " + setting, "failed", "a few steps that end well", run.failure, LOOK)
    return memory("memory, " + setting, run, facts, moment)


def memory(name: str, run: DryRun, facts: Facts, moment: Conditions) -> Check:
    """What the dry-run took against what there is: of the host's memory, and of the card's."""
    limit, machine = facts.hardware.limits.memory_bytes, facts.hardware.memory_bytes
    there = min((each for each in (limit, machine) if each is not None), default=None)
    free = _gpu_free_bytes(facts, moment)
    found = "not known" if there is None else "{} ({})".format(amount(there), "limit" if limit else "machine")
    if facts.device != "cpu":
        found += ", {} free on the GPU".format("not known how much" if free is None else amount(free))
    lower = "lower batch_sizes or recipe.size in params.yaml" + ("" if limit is None else ", or raise container.memory")
    if run.failure:
        needed = "more than the {} that it had taken".format(amount(run.memory_bytes))
        return Check(name, "failed", needed, "{}; the dry-run {}".format(found, run.failure), lower)
    needed = amount(run.memory_bytes)
    if run.gpu_memory_bytes is not None:
        needed += ", {} on the GPU".format(amount(run.gpu_memory_bytes))
    if _fills(run.memory_bytes, there) or _fills(run.gpu_memory_bytes, free):
        return Check(name, "warning", needed, found, lower)
    return checks.passed(name, needed, found)


def _fills(taken: Optional[int], there: Optional[int]) -> bool:
    return taken is not None and there is not None and taken > FULL_SHARE * there


def session(image: str, params: dict, recipe: Recipe, runs: Dict[Tuple[str, int], DryRun]) -> Iterator[Check]:
    """The length of the whole run against that of a session, where there is one."""
    hours = params["session"]["max_hours"]
    steps = {setting: run.step_seconds for setting, run in runs.items() if run.step_seconds is not None}
    if hours is None or not steps:
        return
    manifest = codec.read(MANIFEST_PATH, Manifest)
    valid = sum(photo.path.startswith("valid/") for photo in manifest.photos)
    train = len(manifest.photos) - valid
    rate = _decoded_per_second(image)
    cells = [predicted_seconds(step, size, train, valid, recipe, rate) for (_, size), step in steps.items()]
    whole = sum(cells) * len(params["repeats"]) * len(params["images"])
    name = "session"
    needed = "{} for all cells, {} for the longest, if the other images take as long as this one".format(
        _hours(whole), _hours(max(cells))
    )
    found = "{:g} h a session".format(hours)
    advice = "keep metrics/, models/ and dvc.lock, and run `make repro` again in the next session: it goes on"
    if max(cells) / (recipe.frozen_epochs + recipe.unfrozen_epochs) > hours * 3600:
        advice = "not one epoch would end in time: lower recipe.size or take a machine without such a limit"
        yield Check(name, "failed", needed, found, advice)
    elif whole > checks.SESSION_SHARE * hours * 3600:
        yield Check(name, "warning", needed, found, advice)
    else:
        yield checks.passed(name, needed, found)


def predicted_seconds(
    step_seconds: float, batch_size: int, train: int, valid: int, recipe: Recipe, decoded_per_second: Optional[float]
) -> float:
    """Of one cell: its epochs and its evaluation.

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


def _gpu_free_bytes(facts: Facts, moment: Conditions) -> Optional[int]:
    """Of the card that the job trains on, by its name."""
    uuids = [gpu.uuid for gpu in facts.hardware.gpus if gpu.name == facts.device]
    free = [state.memory_free_bytes for state in moment.gpus if state.uuid in uuids]
    return free[0] if free else None


def _hours(seconds: float) -> str:
    return "{:.1f} h".format(seconds / 3600) if seconds >= 3600 else "{:.0f} min".format(seconds / 60)
