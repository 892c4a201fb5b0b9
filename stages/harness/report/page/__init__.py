"""reports/faceoff.html: one file that needs no network and no script.

Its values of results are comparison.json's; those of machine and images are of the profiles. What a run does not have
is left out, with the section that would show it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from stages.errors import FaceoffError
from stages.harness import formatting
from stages.harness.comparison import profile_diff
from stages.harness.params.schema import PARAMS_PATH, Params
from stages.harness.process import git
from stages.harness.report import provider, shown, table, templates
from stages.harness.report.page import cards, curves, drawings, environment_tables, svg
from stages.harness.results.metrics import TOTAL
from stages.harness.results.read import CellResult
from stages.records import Comparison, Image, Measurement, Profile, SettingResult

ICONS = {  # each verdict by its shape too
    "baseline": "★",
    "faster": "◀",
    "slower": "▶",
    "equivalent": "■",
    "inconclusive": "◇",
    "cannot say": "○",
}
MACHINE_COLUMNS = (  # title, field of a provider.Row
    ("the machine has", "machine"),
    ("the job may use", "limit"),
    ("the provider states", "claim"),
    ("claim against finding", "verdict"),
)
CODE = ("stages", "jobs", "docker", "dvc.yaml", str(PARAMS_PATH))  # that decide what is run


def html(
    compared: Comparison,
    results: Sequence[CellResult],
    wanted: Params,
    profiles: Mapping[str, Profile],
    images: Mapping[str, Image],
    root: Path | None = None,
) -> str:
    """Write the page. `profiles`, `images`: by image, those that there are. `root`: of a run that is not this one."""
    environment = templates.environment(Path(__file__).parent)
    environment.tests["tells_launches"] = lambda found: drawings.tells_launches(found.spans.values())
    environment.tests["is_compared"] = lambda name, compared: shown.has_ratio(compared, name)
    environment.filters |= {
        "device": formatting.device,
        "title_of": formatting.title,
        "what_it_is": formatting.WHAT_IT_IS.get,
        "repeat_name": formatting.repeat,
        "capitalize_first": _sentence,
        "peak_of": _peak,
    }
    return environment.get_template("page.html.jinja").render(
        compared=compared,
        css=Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        formatting=formatting,
        table=table,
        shown=shown,
        curves=curves,
        split=drawings.SPLIT,
        icons=ICONS,
        total=TOTAL,
        lead=table.leading(compared),
        cited=_cited(compared),
        pictures=_pictures(compared),
        repeats=wanted.repeats,
        statuses={(each.cell.setting, each.cell.repeat): each.status for each in results},
        measured=_measured(results),
        cards=cards.rows(results),
        energy_words=cards.energy_words(results),
        **_environments(compared, wanted, profiles, images),
        params_text=_params_text((root or Path()) / PARAMS_PATH),
        commit=_commit() if root is None else None,
    )


def _cited(compared: Comparison) -> Callable[..., Markup]:
    """Make what writes a value of comparison.json: as text and, for who wants to compute with it, as it is."""
    document = dataclasses.asdict(compared)

    def cite(*place: str | int, words: Callable[[Any], str]) -> Markup:
        value: Any = document
        for key in place:
            value = value[key]
        where = "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in place)  # a JSON pointer's escapes
        return Markup('<data value="{}" data-place="{}">{}</data>').format(repr(value), where, words(value))

    return cite


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------------------------------------------- pictures


def _pictures(compared: Comparison) -> dict[str, Markup]:
    """Draw each that there are values for, for a wide page and for a narrow one."""
    found = {}
    forest = drawings.forest_rows(compared)
    if forest:
        words = "; ".join(_ratio_words(compared, *row) for row in forest)
        title = "Ratios to the baseline with their intervals"
        found["forest"] = picture("forest", partial(drawings.forest, compared), title, words)
    timed = [(each.setting, each.metrics[TOTAL]) for each in compared.settings if TOTAL in each.metrics]
    if timed:
        words = "; ".join(f"{name}: {formatting.summary(total, 'seconds')}" for name, total in timed)
        found["times"] = picture("times", partial(drawings.times, compared), "Total time of each setting", words)
    split = drawings.split_rows(compared)
    if split:
        words = "; ".join(f"{label}: {steps.kind}" for label, _, steps in split)
        title = "Where the time of the training steps went"
        found["split"] = picture("split", partial(drawings.split, compared), title, words)
    learned = [each for each in compared.settings if each.curve]
    if curves.drawn(compared):
        words = "; ".join(_last_words(compared, each) for each in learned)
        found["curves"] = picture("curves", partial(curves.curves, compared), "What the spans say, by epoch", words)
    return found


def picture(name: str, draw: Callable[[int], Figure], title: str, description: str) -> Markup:
    """Draw it for a wide page and for a narrow one, of which each shows its own; `name` is unique in its page."""
    drawn = []
    for kind, width in (("wide", drawings.WIDE), ("narrow", drawings.NARROW)):
        with svg.style():
            drawn.append(f'<div class="{kind}">{svg.inline(draw(width), f"{name}-{kind}", title, description)}</div>')
    return Markup("".join(drawn))  # noqa: S704 - matplotlib escapes what it writes


def _ratio_words(compared: Comparison, index: int, label: str, metric: str) -> str:
    ratio = compared.settings[index].ratios[metric]
    return f"{label}: {formatting.ratio(ratio)}, {formatting.verdict(metric, ratio.verdict)}"


def _last_words(compared: Comparison, setting: SettingResult) -> str:
    """'host/fp32-bs16 after epoch 3: accuracy 92.7%'."""
    last = setting.curve[-1]
    values = (
        f"{formatting.title(name)} {curves.writer(compared, name)(number)}" for name, number in last.values.items()
    )
    return f"{setting.setting} after epoch {last.epoch}: {', '.join(values)}"


# --------------------------------------------------------------------------------------------- machine and images


def _environments(
    compared: Comparison, wanted: Params, profiles: Mapping[str, Profile], images: Mapping[str, Image]
) -> dict[str, Any]:
    """Gather what the template shows of machine and images."""
    names = [image for image in wanted.images if image in profiles]
    image, rows = _baseline_image(wanted), _machine_rows(wanted, profiles)
    return {
        "images": names,
        "baseline_image": image,
        "provider": wanted.provider,
        "overview": environment_tables.overview([profiles[name] for name in names]),
        "image_details": environment_tables.of_images(names, profiles, images),
        "differences": _differences(image, names, profiles),
        "machine_rows": rows,
        "machine_columns": [each for each in MACHINE_COLUMNS if any(getattr(row, each[1]) for row in rows)],
        "machine_details": environment_tables.of_machine(profiles.get(image), compared.machine),
        "measurements": _measurements(names, profiles),
    }


def _differences(
    baseline: str, names: Sequence[str], profiles: Mapping[str, Profile]
) -> list[tuple[str, tuple[profile_diff.Difference, ...], str]]:
    """List what of every other image is not as in the baseline's image, and whether that is one cause."""
    found = []
    for image in names if baseline in names else ():
        if image != baseline:
            differing = profile_diff.differences(profiles[baseline].facts, profiles[image].facts)
            found.append((image, differing, profile_diff.isolation(differing)))
    return found


def _machine_rows(wanted: Params, profiles: Mapping[str, Profile]) -> list[provider.Row]:
    """Rows of the machine as the baseline's image sees it."""
    profile = profiles.get(_baseline_image(wanted))
    rows = provider.rows(wanted, profile.facts) if profile else []
    return [row for row in rows if row.machine or row.limit or row.claim]


def _measurements(
    names: Sequence[str], profiles: Mapping[str, Profile]
) -> list[tuple[str, str, dict[str, Measurement]]]:
    """(name, detail where it is the same in all images, image: measurement) of the measured parts."""
    found: dict[str, dict[str, Measurement]] = {}
    for image in names:
        for each in profiles[image].measurements:
            found.setdefault(each.name, {})[image] = each
    details = {name: {each.detail for each in by_image.values()} for name, by_image in found.items()}
    return [(name, details[name].pop() if len(details[name]) == 1 else "", found[name]) for name in found]


def _peak(by_image: Mapping[str, Measurement]) -> str | None:
    """Write the theoretical peak, where one of the images knows it."""
    known = ((each.peak, each.unit) for each in by_image.values() if each.peak)
    return next((formatting.speed(*each) for each in known), None)


def _baseline_image(wanted: Params) -> str:
    return next(cell.image for cell in wanted.cells() if cell.setting == wanted.compare.baseline)


# --------------------------------------------------------------------------------------------------- how to repeat


def _measured(results: Sequence[CellResult]) -> tuple[str, str] | None:
    """Say when the first and the last of the cells began."""
    began = sorted(result.train.started_at for result in results if result.train)
    return (began[0], began[-1]) if began else None


def _params_text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _commit() -> str | None:
    """Name the commit, and whether what decides the run was changed since; None outside of git."""
    try:
        head, changes = git.text("rev-parse", "HEAD"), git.text("status", "--porcelain", "--", *CODE)
    except FaceoffError:
        return None
    return head + (" with changes" if changes else "")
