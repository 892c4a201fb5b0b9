"""reports/faceoff.html: one file that needs no network and no script.

Its figures of results are comparison.json's; those of machine and images are of the profiles.
"""

import dataclasses
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from stages.harness import formatting
from stages.harness.comparison import explanation, profile_diff
from stages.harness.params.schema import PARAMS_PATH, Params
from stages.harness.report import provider, table
from stages.harness.report.page import drawings, environment_tables, svg
from stages.harness.results.metrics import TIMED, TOTAL
from stages.harness.results.read import Result
from stages.records import Comparison, Image, Profile

FIGURE_NAMES = {
    TOTAL: "total time",
    **drawings.PHASES,
    "train_images_per_second": "images/s in training",
}
ICONS = {  # each verdict by its shape too
    "baseline": "★",
    "faster": "◀",
    "slower": "▶",
    "equivalent": "■",
    "inconclusive": "◇",
    "cannot say": "○",
}
CODE = ("stages", "docker", "dvc.yaml", str(PARAMS_PATH))  # that decide what is run


def html(
    compared: Comparison,
    results: Sequence[Result],
    wanted: Params,
    profiles: Mapping[str, Profile],
    images: Mapping[str, Image],
) -> str:
    """The page. `profiles`, `images`: by image, those that there are."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "device": formatting.device,
        "repeat_name": formatting.repeat,
        "capitalize_first": _sentence,
    }
    forest_names = {name for _, _, name in drawings.forest_rows(compared)}
    return environment.get_template("page.html.jinja").render(
        compared=compared,
        conclusion=table.conclusion(compared),
        lead=table.leading(compared),
        header=table.header(compared),
        verdict=table.verdict,
        style=table.style,
        reasons=table.reasons,
        figure=_cited(compared),
        formatting=formatting,
        cudnn=profile_diff.cudnn,
        icons=ICONS,
        css=Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        names=FIGURE_NAMES,
        timed=TIMED,
        total=TOTAL,
        phases=drawings.PHASES,
        split=drawings.SPLIT,
        pictures=_pictures(compared),
        forest_names=forest_names,
        repeats=wanted.repeats,
        statuses={(each.cell.setting, each.cell.repeat): each for each in results},
        measured=_measured(results),
        wanted=wanted,
        environments=[profiles[image].facts for image in wanted.images if image in profiles],
        image_details=environment_tables.of_images(wanted.images, profiles, images),
        differences=_differences(results, wanted, profiles),
        machine_rows=_machine_rows(wanted, profiles),
        machine_details=environment_tables.of_machine(profiles.get(_baseline_image(wanted)), compared.machine),
        measurements=_measurements(wanted, profiles),
        params_text=PARAMS_PATH.read_text(encoding="utf-8") if PARAMS_PATH.exists() else None,
        commit=_commit(),
    )


def _cited(compared: Comparison) -> Callable[..., Markup]:
    """A figure of comparison.json by its place there, as text and, for who wants to compute with it, as it is."""
    document = dataclasses.asdict(compared)

    def cite(place: str, words: Callable[[Any], str]) -> Markup:
        value = document
        for key in place.split("/"):
            value = value[int(key)] if isinstance(value, tuple) else value[key]
        return Markup('<data value="{}" data-figure="{}">{}</data>').format(repr(value), place, words(value))

    return cite


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------------------------------------------- pictures


def _pictures(compared: Comparison) -> dict[str, Markup]:
    """Each that there are figures for, for a wide page and for a narrow one."""
    found = {}
    if drawings.forest_rows(compared):
        found["forest"] = _picture(
            "forest",
            lambda width: drawings.forest(compared, width),
            "Ratios to the baseline with their intervals",
            "; ".join(_ratio_words(compared, *row) for row in drawings.forest_rows(compared)),
        )
    timed = [each for each in compared.settings if TOTAL in each.figures]
    if timed:
        found["phases"] = _picture(
            "phases",
            lambda width: drawings.phases(compared, width),
            "Time of each phase",
            "; ".join(f"{each.setting}: {formatting.time(each.figures[TOTAL])}" for each in timed),
        )
    split = drawings.split_rows(compared)
    if split:
        found["split"] = _picture(
            "split",
            lambda width: drawings.split(compared, width),
            "Where the time of the training steps went",
            "; ".join(f"{label}: {steps.kind}" for _, label, _, steps in split),
        )
    learned = [(each.setting, each.curve[-1]) for each in compared.settings if each.curve]
    if learned:
        found["curves"] = _picture(
            "curves",
            lambda width: drawings.curves(compared, width),
            "Validation loss and accuracy by epoch",
            "; ".join(
                f"{setting}: accuracy {formatting.share(point.accuracy)} after epoch {point.epoch}"
                for setting, point in learned
            ),
        )
    return found


def _picture(name: str, draw: Callable[[int], Figure], title: str, description: str) -> Markup:
    drawn = []
    for kind, width in (("wide", drawings.WIDE), ("narrow", drawings.NARROW)):
        with svg.style():
            drawn.append(f'<div class="{kind}">{svg.inline(draw(width), f"{name}-{kind}", title, description)}</div>')
    return Markup("".join(drawn))  # noqa: S704 - matplotlib escapes what it writes


def _ratio_words(compared: Comparison, index: int, label: str, figure: str) -> str:
    ratio = compared.settings[index].ratios[figure]
    return f"{label}: {formatting.ratio(ratio)}, {ratio.verdict}"


# --------------------------------------------------------------------------------------------- machine and images


def _differences(
    results: Sequence[Result], wanted: Params, profiles: Mapping[str, Profile]
) -> list[tuple[str, tuple[profile_diff.Difference, ...], str]]:
    """(image, what is not as in the baseline's image, whether that is one cause) for every other image."""
    of_image = {
        image: [each for each in results if each.cell.image == image] for image in wanted.images if image in profiles
    }
    reference = of_image.pop(_baseline_image(wanted), None)
    if reference is None:
        return []
    found = []
    for image, group in of_image.items():
        differing = explanation.environment_differences(reference, group, profiles)
        found.append((image, differing, profile_diff.isolation(differing)))
    return found


def _machine_rows(wanted: Params, profiles: Mapping[str, Profile]) -> list[provider.Row]:
    """As the baseline's image sees it."""
    profile = profiles.get(_baseline_image(wanted))
    rows = provider.rows(wanted, profile.facts) if profile else []
    return [row for row in rows if row.machine or row.limit or row.claim]


def _measurements(wanted: Params, profiles: Mapping[str, Profile]) -> list[tuple[str, str, dict[str, Any]]]:
    """(name, detail where it is the same in all images, image: measurement) of the measured parts."""
    found: dict[str, dict[str, Any]] = {}
    for image in wanted.images:
        for each in profiles[image].measurements if image in profiles else ():
            found.setdefault(each.name, {})[image] = each
    details = {name: {each.detail for each in by_image.values()} for name, by_image in found.items()}
    return [(name, details[name].pop() if len(details[name]) == 1 else "", found[name]) for name in found]


def _baseline_image(wanted: Params) -> str:
    return next(cell.image for cell in wanted.cells() if cell.setting == wanted.compare.baseline)


# --------------------------------------------------------------------------------------------------- how to repeat


def _measured(results: Sequence[Result]) -> tuple[str, str] | None:
    """When the first and the last of the cells began."""
    began = sorted(result.train.started_at for result in results if result.train)
    return (began[0], began[-1]) if began else None


def _commit() -> str | None:
    """The commit that is checked out, and whether what decides the run was changed since; None outside of git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
        if head.returncode:
            return None
        changes = subprocess.run(["git", "status", "--porcelain", "--", *CODE], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")
