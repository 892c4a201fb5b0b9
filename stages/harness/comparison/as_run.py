"""The environment of a setting as its cells had it: what the image's profile saw, with the variables of its variant."""

import dataclasses
from collections.abc import Mapping, Sequence

from stages.checks import threads
from stages.harness.results.read import CellResult
from stages.records import Facts, Profile, Variant


def variant(results: Sequence[CellResult]) -> Variant | None:
    """Return the variant that the cells were run with; None where none ran."""
    return next((each.train.belongs.variant for each in results if each.train), None)


def facts(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> Facts | None:
    """Return the facts of the image, as the variant's variables change them; None without a profile."""
    profile, chosen = profiles.get(results[0].cell.image), variant(results)
    if profile is None:
        return None
    found = profile.facts
    if chosen is None:
        return found
    variables = {**found.variables, **chosen.env}
    return dataclasses.replace(found, variables=variables, torch_threads=threads(chosen.env, found.torch_threads))
