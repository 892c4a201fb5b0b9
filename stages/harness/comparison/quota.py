"""Settings whose threads and workers are more than their CPU quota: what took the time from them, and a remedy."""

from collections.abc import Mapping, Sequence

from stages import checks
from stages.harness.comparison import as_run
from stages.harness.results.read import CellResult
from stages.records import Profile

SHOWN = 3  # settings that are named


def warnings(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> tuple[str, ...]:
    """Warn of each cause once, whatever number of settings have it."""
    groups: dict[str, list[CellResult]] = {}
    for result in results:
        if result.train is not None:
            groups.setdefault(result.cell.setting, []).append(result)
    said: dict[str, list[str]] = {}
    for setting, group in groups.items():
        facts = as_run.facts(group, profiles)
        check = facts and checks.crowded(facts.hardware.limits, facts.torch_threads, workers(group))
        if check:
            said.setdefault(f"{check.found}: {check.advice}", []).append(setting)
    return tuple(
        words if len(settings) == len(groups) else f"{_named(settings)}: {words}" for words, settings in said.items()
    )


def _named(settings: Sequence[str]) -> str:
    more = f" and {len(settings) - SHOWN} more" if len(settings) > SHOWN else ""
    return ", ".join(settings[:SHOWN]) + more


def workers(group: Sequence[CellResult]) -> int | None:
    """Return how many the job says that it has, if it does."""
    trained = [each.train for each in group if each.train]
    found = (checks.workers({**train.belongs.variant.parameters, **train.facts}) for train in trained)
    return next((each for each in found if each is not None), None)
