"""The environment of a setting as its cells had it: what the image's profile saw, with the variables that are set."""

import dataclasses
from collections.abc import Mapping, Sequence

from stages import checks, variables
from stages.harness.results.read import CellResult
from stages.records import Facts, Image, Profile, Variant


def variant(results: Sequence[CellResult]) -> Variant | None:
    """Return the variant that the cells were run with; None where none ran."""
    return next((each.train.belongs.variant for each in results if each.train), None)


def shareable(env: Mapping[str, str]) -> dict[str, str]:
    """Return what is set as it may be shown to others: comparisons are of that, and a secret is as good as another."""
    return {name: variables.shareable(name, value) for name, value in env.items()}


def of_image(seen: Facts, image: Image) -> Facts:
    """Return the facts with all that `env` of image.yaml sets: of that, the profile tells what libraries read."""
    return dataclasses.replace(seen, variables={**shareable(image.env), **seen.variables})


def facts(results: Sequence[CellResult], profiles: Mapping[str, Profile]) -> Facts | None:
    """Return the facts of the image, as the variant's variables change them; None without a profile."""
    profile, chosen = profiles.get(results[0].cell.image), variant(results)
    if profile is None:
        return None
    found = profile.facts
    if chosen is None:
        return found
    threads = checks.threads(chosen.env, found.torch_threads)
    return dataclasses.replace(found, variables={**found.variables, **shareable(chosen.env)}, torch_threads=threads)
