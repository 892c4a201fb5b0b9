"""metrics/results.csv: a row for each cell and metric, for whoever wants to plot or test on their own.

What a card did in a span (`card_sm_hertz`, `card_power_watts`, `card_busy_share`) has a row for each card and span.

A cell without metrics has one row that says why. Text that a spreadsheet would take for a formula begins with a quote.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas

from stages import checks, variables
from stages.harness import formatting
from stages.harness.results.metrics import declared, values
from stages.harness.results.read import CellResult
from stages.records import Image, Job, Machine, Profile, Variant

COLUMNS = (
    "setting", "image", "variant", "repeat", "status", "reason", "metric", "value", "unit", "better", "timed",
    "disturbed", "measured_again", "began_at", "job", "machine", "cpu", "device", "card", "span", "span_number",
)  # fmt: skip
CARD_UNITS = {"sm_hertz": "hertz", "power_watts": "watts", "busy_share": "share"}  # of CardSpan: medians


def text(
    job: Job,
    machine: Machine,
    results: Sequence[CellResult],
    variants: Mapping[str, Variant],
    profiles: Mapping[str, Profile],
    images: Mapping[str, Image],
) -> str:
    """Write the table as CSV. `profiles`, `images`: by image, those that there are."""
    metrics = declared(job, results)
    rows = []
    for result in results:
        cell = _cell(result, job, machine)
        cell |= _of_variant(variants[result.cell.variant])
        cell |= _of_image(profiles.get(result.cell.image), images.get(result.cell.image))
        found = values(result, job)
        for name, its in metrics.items() if found else ():
            if name in found:
                of_metric = {"value": found[name], "unit": its.unit, "better": its.better, "timed": its.timed}
                rows.append({**cell, "metric": name, **of_metric})
        rows += [{**cell, **of_card} for of_card in _of_cards(result)] if found else [cell]
    table = pandas.DataFrame([_harmless(row) for row in rows], columns=[*_columns(rows)], dtype=object)
    return table.to_csv(index=False, lineterminator="\n")


def _columns(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the columns of every row first, then those of variants and images, in the order in which they come."""
    found = dict.fromkeys(name for row in rows for name in row)
    yield from COLUMNS
    yield from (name for name in found if name not in COLUMNS)


def _cell(result: CellResult, job: Job, machine: Machine) -> dict[str, Any]:
    """Return what is of the cell whatever the metric."""
    loads = [attempt.load for stage in result.stages for attempt in stage.attempts]
    return {
        "setting": result.cell.setting,
        "image": result.cell.image,
        "variant": result.cell.variant,
        "repeat": result.cell.repeat,
        "status": result.status,
        "reason": result.reason,
        "disturbed": any(checks.disturbing(load) for load in loads) if loads else None,
        "measured_again": sum(len(stage.discarded) for stage in result.stages) if result.stages else None,
        "began_at": result.train.started_at if result.train else None,
        "job": job.name,
        "machine": machine.machine_id,
        "cpu": machine.hardware.cpu.model,
        **({f"fact.{name}": value for name, value in result.train.facts.items()} if result.train else {}),
    }


def _of_cards(result: CellResult) -> Iterator[dict[str, Any]]:
    """Yield what each card did in each span of the training, one value a row."""
    for card in result.train.cards if result.train else ():
        for number, span in enumerate(card.spans, start=1):
            of_span = {"card": card.uuid, "span": span.span, "span_number": number, "timed": False}
            for name, unit in CARD_UNITS.items():
                value = getattr(span, name)
                if value is not None:
                    yield {**of_span, "metric": f"card_{name}", "value": value, "unit": unit}


def _of_variant(variant: Variant) -> dict[str, Any]:
    parameters = {"gpus": variant.gpus} | {f"parameter.{name}": value for name, value in variant.parameters.items()}
    return parameters | {f"env.{name}": variables.shareable(name, value) for name, value in variant.env.items()}


def _of_image(profile: Profile | None, image: Image | None) -> dict[str, Any]:
    """Return what the image is; empty columns where it was not profiled."""
    facts = profile.facts if profile else None
    contents = facts.contents if facts else image.contents if image else None
    known = {
        "device": facts.device if facts else None,
        "image.kind": image.kind if image else None,
        "image.os": facts.os if facts else None,
        "image.torch_threads": facts.torch_threads if facts else None,
    }
    return known | {
        f"image.{name}": getattr(contents, name) if contents else None for name in ("python", "torch", "cuda", "cudnn")
    }


def _harmless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: formatting.harmless(value) for name, value in row.items()}
