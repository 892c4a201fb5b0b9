"""One cell of the matrix: train it, or evaluate what was trained, and say what came out."""

import csv
import hashlib
import io
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Iterable, Optional, Tuple

import torch

from stages.codec import file_fingerprint, fingerprint, read, sync_folder, write_text
from stages.errors import FaceoffError
from stages.records import (
    DATA_DIR,
    MACHINE_PATH,
    Cell,
    Conditions,
    Environment,
    EvaluateResult,
    Image,
    Load,
    Machine,
    Recipe,
    Sitting,
    TrainResult,
    image_path,
)
from stages.units import amount
from stages.workload import ceilings, checkpoint, failures, learners, sitting, surroundings
from stages.workload.checkpoint import Progress
from stages.workload.clocks import peak_gpu_memory_bytes, peak_process_memory_bytes
from stages.workload.heartbeat import Heartbeat
from stages.workload.inputs import read_container
from stages.workload.learners import Job, Learner, Prediction
from stages.workload.photos import job_of
from stages.workload.probes import conditions, hardware, load
from stages.workload.sitting import now

MODEL_NAME = "model.pth"


def train(cell: Cell, recipe: Recipe, began: float) -> TrainResult:
    """Train the cell, or what an earlier sitting left of it, and leave its weights in its model folder.

    `began` is what time.perf_counter() said when the process began its work. Raises FaceoffError for what the user can
    mend. A cell that the stack cannot do comes back with status 'unsupported' and the folder empty.
    """
    started_at = now()
    heartbeat = Heartbeat(cell.running_path)
    cell.model_dir.mkdir(parents=True, exist_ok=True)
    job, dataset_sha256 = job_of(cell, recipe, heartbeat)
    machine_sha256 = fingerprint(read(MACHINE_PATH, Machine))
    seen = hardware.look(DATA_DIR)  # first: it forks, and a CUDA context does not outlive that
    learner = learners.find()
    reason = learner.unsupported(cell.precision)
    ran_in = environment(learner)
    facts_sha256 = surroundings.check(cell.image, seen, ran_in)
    import_seconds = reached = None  # type: Any
    progress, moments = Progress(started_at=started_at), ()
    wall_seconds = time.perf_counter() - began
    if reason is None:
        belongs = checkpoint.belongings(cell, recipe, dataset_sha256, machine_sha256, ran_in)
        here = sitting.Sitting(cell, job, belongs, began)
        importing = time.perf_counter()
        learner.import_fastai()
        import_seconds = time.perf_counter() - importing
        with failures.explained(cell, recipe, learner):
            learner.prepare(job)
            learner.network.register_forward_hook(heartbeat)
            progress = here.train(learner)
            moments = (*progress.conditions, conditions.look(DATA_DIR, sample_seconds=0))
            _save(learner, cell.model_dir / MODEL_NAME)
            reached = ceilings.measure(learner, job, heartbeat)
        wall_seconds = here.wall_seconds
    return TrainResult(
        cell=cell,
        status="ok" if reason is None else "unsupported",
        reason=reason,
        recipe=recipe,
        dataset_sha256=dataset_sha256,
        machine_sha256=machine_sha256,
        image_sha256=file_fingerprint(image_path(cell.image), Image),
        facts_sha256=facts_sha256,
        container=read_container(),
        environment=ran_in,
        algorithm=learner.algorithm() if reason is None else None,
        memory_format=learner.memory_format() if reason is None else None,
        epochs=progress.epochs,
        ceilings=reached,
        sittings=progress.sittings,
        conditions=moments,
        warnings=_warnings(progress.sittings, moments),
        started_at=progress.started_at,
        import_seconds=import_seconds,
        wall_seconds=wall_seconds,
    )


def evaluate(cell: Cell, recipe: Recipe, began: float) -> EvaluateResult:
    """Predict the validation photos with the cell's trained network, without and with test-time augmentation.

    Writes the predictions beside the result. Where the training ended 'unsupported' or 'failed', so does this.
    """
    started_at = now()
    heartbeat = Heartbeat(cell.running_path)
    trained = read(cell.train_path, TrainResult)
    job, _ = job_of(cell, recipe, heartbeat)
    plain = tta = None  # type: Optional[Prediction]
    moments, found = (), None  # type: Tuple[Conditions, ...], Optional[Load]
    if trained.status == "ok":
        learner = learners.find()
        learner.import_fastai()
        # In fp32 whatever the training was: fastai 1 cannot predict with TTA in fp16, and the two shall compare.
        with failures.explained(cell, recipe, learner):
            learner.prepare(job._replace(precision="fp32"))
            learner.network.register_forward_hook(heartbeat)
            learner.load(cell.model_dir / MODEL_NAME)
            before, meter = conditions.look(DATA_DIR, sample_seconds=0), load.Meter()
            plain, tta = learner.predict(tta=False), learner.predict(tta=True)
            found, moments = meter.read(), (before, conditions.look(DATA_DIR, sample_seconds=0))
        print("accuracy {:.4f}, with TTA {:.4f} ({:.2f} s)".format(plain.accuracy, tta.accuracy, tta.seconds))
    predictions = _predictions_csv(job, plain, tta)
    write_text(cell.predictions_path, predictions)
    return EvaluateResult(
        cell=cell,
        status=trained.status,
        reason=trained.reason,
        photos=len(job.valid),
        accuracy=plain.accuracy if plain else None,
        accuracy_tta=tta.accuracy if tta else None,
        predict_seconds=plain.seconds if plain else None,
        predict_tta_seconds=tta.seconds if tta else None,
        peak_process_memory_bytes=peak_process_memory_bytes() if plain else None,
        peak_gpu_memory_bytes=peak_gpu_memory_bytes() if plain else None,
        predictions_sha256=hashlib.sha256(predictions.encode("utf-8")).hexdigest(),
        conditions=moments,
        load=found,
        warnings=_doubts(("before the evaluation", "after the evaluation"), moments, (("in the evaluation", found),)),
        started_at=started_at,
        wall_seconds=time.perf_counter() - began,
    )


def environment(learner: Learner) -> Environment:
    return Environment(
        device=learner.device(),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        fastai=learner.version,
        torch_threads=torch.get_num_threads(),
    )


def _warnings(sittings: Tuple[Sitting, ...], moments: Tuple[Conditions, ...]) -> Tuple[str, ...]:
    """What casts doubt on a training's times."""
    again = ["before the first epoch of sitting {}".format(index) for index in range(2, len(moments))]
    spans = ["in training", *("in sitting {}".format(index) for index in range(2, len(sittings) + 1))]
    loads = zip(spans, (each.load for each in sittings))
    doubts = _doubts(("before the first epoch", *again, "after the last epoch"), moments, loads)
    if len(sittings) > 1:
        after = " and ".join(str(each.after_epochs) for each in sittings[1:])
        told = (
            "trained in {} sittings, anew after epoch {}, which makes the next one a cold one; it counts all the same"
        )
        doubts = (*doubts, told.format(len(sittings), after))
    return doubts


def _doubts(
    when: Iterable[str], moments: Iterable[Conditions], loads: Iterable[Tuple[str, Optional[Load]]]
) -> Tuple[str, ...]:
    """In words, of conditions at these moments and of loads in these spans of time."""
    found = [(name, conditions.doubts(moment)) for name, moment in zip(when, moments)]
    found += [(name, load.doubts(each)) for name, each in loads if each]
    return tuple("{}: {}".format(name, doubt) for name, doubts in found for doubt in doubts)


def _save(learner: Learner, path: Path) -> None:
    """Whole or not at all. Raises FaceoffError where the disk does not take it."""
    temporary = path.with_suffix(".tmp")
    try:
        learner.save(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        if temporary.exists():
            temporary.unlink()
        if not isinstance(error, (OSError, RuntimeError)):  # the latter is how torch says that a disk is full
            raise
        free = shutil.disk_usage(str(path.parent)).free
        said = str(error).strip().splitlines()[0]
        raise FaceoffError(
            "{}: not written, with {} free on that disk: make room, then run again ({})".format(
                path, amount(free), said
            )
        ) from None


def _predictions_csv(job: Job, plain: Optional[Prediction], tta: Optional[Prediction]) -> str:
    """A row per validation photo: its path, its class, and each class's probability without and with TTA."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["photo", "label", *job.classes, *(name + "_tta" for name in job.classes)])
    if plain and tta:
        for row, index in enumerate(job.valid):
            photo = job.photos[index]
            values = plain.probabilities[row] + tta.probabilities[row]
            rows.writerow(["/".join(photo.parts[-3:]), photo.parent.name, *("{:.6f}".format(each) for each in values)])
    return text.getvalue()
