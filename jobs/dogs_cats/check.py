"""Check the job's section of params.yaml and a variant's parameters, before anything is downloaded or built."""

from typing import Sequence

from jobs.dogs_cats import parameters, seam
from jobs.dogs_cats.parameters import Choice, Section
from stages import contract
from stages.codec import RecordError, check


def main(arguments: Sequence[str]) -> int:
    """Raise a FaceoffError, one line that names the key, for what is wrong."""
    cell = seam.cell()
    section = parameters.section(cell["section"])
    where = "params.yaml: variants.{}".format(cell["variant"])
    check(where + ".gpus", cell["gpus"], cell["gpus"] == 1, "1, since this job trains in one process: leave it out")
    _check_photos(section, parameters.choice(cell["section"], cell["parameters"], where), where)
    if section.dataset.source == "folder":  # whose photos may change between two runs
        from jobs.dogs_cats import sources  # here: what the others need takes its time

        seam.say(fact="source", value=sources.pick(section.dataset, seam.folder(contract.DATA)).identity())
    return 0


def _check_photos(section: Section, choice: Choice, where: str) -> None:
    """Raise RecordError where a batch is larger than the drawn photos; the number of others is known later only."""
    drawn = section.dataset.train_photos
    if section.dataset.source == "synthetic" and choice.batch_size > drawn:
        raise RecordError(
            "{}.batch_size: {} is more than the {} of dogs_cats.dataset.train_photos, so there is not one whole batch: "
            "lower it or raise train_photos".format(where, choice.batch_size, drawn)
        )
