"""Predict the validation photos with a trained network, without and with test-time augmentation.

Runs inside images: Python 3.7 syntax.
"""

import csv
import io
from pathlib import Path
from typing import Sequence

from jobs.dogs_cats import failures, learners, parameters, photos, seam
from jobs.dogs_cats.learners import Prediction
from jobs.dogs_cats.photos import Input
from jobs.dogs_cats.training import MODEL_NAME, say_span
from stages import contract
from stages.codec import write_text
from stages.contract import Span

MOST_CLASSES = 10  # whose probabilities are written: of 1,000, git would be given a gigabyte


def main(arguments: Sequence[str]) -> int:
    """Evaluate as the command line and the environment say. Raises FaceoffError for what the user can mend."""
    cell, heartbeat = seam.cell(), seam.Heartbeat()
    own = parameters.of_arguments(arguments)
    model = Path(own.pop("model", ".")) / MODEL_NAME
    choice = parameters.choice(cell["section"], own, "params.yaml: variants")
    taken = photos.load(seam.folder(contract.DATA), choice, cell["seed"], heartbeat)
    learner = learners.find()
    learner.import_fastai()
    with failures.explained(taken, learner.version):
        # In fp32 whatever the training was: fastai 1 cannot predict with TTA in fp16, and the two shall compare.
        learner.prepare(taken._replace(precision="fp32"))
        learner.network.register_forward_hook(heartbeat)
        learner.load(model)
        plain = learner.predict(tta=False)
        say_span(Span("predict", plain.seconds, samples=len(taken.valid)))
        tta = learner.predict(tta=True)
        say_span(Span("predict_tta", tta.seconds, samples=len(taken.valid)))
    write_text(seam.folder(contract.OUTPUT) / contract.PREDICTIONS, predictions_csv(taken, plain, tta))
    seam.say(metric="accuracy", value=plain.accuracy)
    seam.say(metric="accuracy_tta", value=tta.accuracy)
    print("accuracy {:.4f}, with TTA {:.4f} ({:.2f} s)".format(plain.accuracy, tta.accuracy, tta.seconds))
    return 0


def predictions_csv(taken: Input, plain: Prediction, tta: Prediction) -> str:
    """Return a row per validation photo: its path, its class, what TTA takes it for, and the probabilities."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    shown = taken.classes if len(taken.classes) <= MOST_CLASSES else []
    rows.writerow([*contract.PREDICTION_COLUMNS, *shown, *(name + "_tta" for name in shown)])
    for index, row, row_tta in zip(taken.valid, plain.probabilities, tta.probabilities):
        photo = taken.photos[index]
        item, label = photo.relative_to(taken.root).as_posix(), taken.label_of(photo)
        predicted = taken.classes[row_tta.index(max(row_tta))]
        values = ["{:.6f}".format(each) for each in row + row_tta] if shown else []
        rows.writerow([item, label, predicted, *values])
    return text.getvalue()
