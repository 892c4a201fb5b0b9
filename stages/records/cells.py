"""Cells and settings of the matrix, and where their files lie.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import re
from pathlib import Path
from typing import Dict, Union

from stages.codec import check

Scalar = Union[str, int, float, bool]  # what a variant's parameter may be

# Image and variant names become names of folders, stages and tags, and part of a command line in dvc.yaml. DVC refuses
# a dot in a key of a matrix's mapping.
VARIANT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]*")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STAGES = ("train", "evaluate")  # of a cell
MOST_GPUS = 64  # of one machine


@dataclasses.dataclass(frozen=True)
class Variant:
    """A named set of the job's parameters and of environment variables; the name is its key in params.yaml."""

    parameters: Dict[str, Scalar]
    env: Dict[str, str]
    gpus: int = 1  # processes that the training starts as, each with a card where there are any

    def __post_init__(self) -> None:
        check("gpus", self.gpus, 1 <= self.gpus <= MOST_GPUS, "from 1 to {}".format(MOST_GPUS))
        for name in self.parameters:
            check("parameters", name, bool(PARAMETER_NAME.fullmatch(name)), "lower-case letters, digits and '_'")
        for name in self.env:
            good = bool(VARIABLE_NAME.fullmatch(name)) and not name.startswith("FACEOFF_")
            check("env", name, good, "a variable's name, and none that begins with FACEOFF_")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of the matrix: a setting (image and variant) and which repeat of it."""

    image: str
    variant: str
    repeat: int

    @property
    def setting(self) -> str:
        """Name of what is compared, `image/variant`, for example 'cuda-10.0/fp32-bs16'."""
        return "{}/{}".format(self.image, self.variant)

    def result_path(self, stage: str) -> Path:
        """Where a stage, 'train' or 'evaluate', says what came out."""
        return Path("metrics") / self.setting / "{}-{}.json".format(stage, self.repeat)

    @property
    def predictions_path(self) -> Path:
        """CSV with the columns item, label, predicted; the header alone where the job gives no predictions."""
        return Path("metrics") / self.setting / "predictions-{}.csv".format(self.repeat)

    @property
    def steps_path(self) -> Path:
        """CSV with the columns span, microseconds: what each step of the training took; the header alone without."""
        return Path("metrics") / self.setting / "steps-{}.csv".format(self.repeat)

    @property
    def output_dir(self) -> Path:
        """Folder of what the training leaves, the model for example; empty where the cell did not end 'ok'."""
        return Path("models") / self.setting / str(self.repeat)

    @property
    def evaluation_dir(self) -> Path:
        """Folder that the evaluation may write to; not kept."""
        return Path("models") / self.setting / "{}.evaluation".format(self.repeat)

    @property
    def state_dir(self) -> Path:
        """Folder of the job's own checkpoints, which outlives a killed attempt until DVC has noted the result."""
        return Path("models") / self.setting / "{}.state".format(self.repeat)

    @property
    def progress_path(self) -> Path:
        """What was measured so far, by earlier attempts at the training."""
        return Path("models") / self.setting / "{}.progress.json".format(self.repeat)

    @property
    def events_path(self) -> Path:
        """The job's events of the attempt that runs; its time of change is the heartbeat."""
        return Path("models") / self.setting / "{}.events.jsonl".format(self.repeat)

    @property
    def earlier_events_path(self) -> Path:
        """The events of the attempt before: if it was killed, they may tell of spans that nobody has noted yet."""
        return Path("models") / self.setting / "{}.earlier.jsonl".format(self.repeat)

    @property
    def observed_dir(self) -> Path:
        """Folder of what the observer notes of the attempt that runs."""
        return Path("models") / self.setting / "{}.observed".format(self.repeat)

    @property
    def ranks_dir(self) -> Path:
        """Folder in which the processes of a training note how they ended, where there are several."""
        return Path("models") / self.setting / "{}.ranks".format(self.repeat)

    @property
    def aside_dir(self) -> Path:
        """Folder of what a run left that was disturbed, while another is made; a change of it tells of a new run."""
        return Path("models") / self.setting / "{}.aside".format(self.repeat)

    @property
    def aside_output_dir(self) -> Path:
        """Folder of what that run's command left."""
        return self.aside_dir / "output"

    @property
    def aside_result_path(self) -> Path:
        """That run's result, which counts if the process that measures once more is killed."""
        return self.aside_dir / "result.json"

    @property
    def running_path(self) -> Path:
        """There while the cell is trained or evaluated: its lock; why it failed goes in."""
        return Path("models") / self.setting / "{}.running".format(self.repeat)

    def task_path(self, stage: str) -> Path:
        """Return where the host tells the supervisor of the cell's stage."""
        return Path("models") / self.setting / "{}.{}.task.json".format(self.repeat, stage)

    @property
    def matrix_name(self) -> str:
        """What dvc.yaml's matrix calls it: '1-cuda-10.0-fp32-bs16' of 'train@1-cuda-10.0-fp32-bs16'."""
        return "{}-{}-{}".format(self.repeat, self.image, self.variant)
