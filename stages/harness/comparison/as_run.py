"""The environment of a setting as its cells had it: what the image's profile saw, with the variables of its variant."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from stages.harness.results.read import CellResult
from stages.records import Facts, Profile, Variant

NUMBERS_OF_THREADS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")  # the first that is set counts, as torch reads them


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
    threads = next((chosen.env[name] for name in NUMBERS_OF_THREADS if name in chosen.env), "")
    number = re.match(r"\s*(\d+)", threads)  # '4,2' is of nested regions
    if found.torch_threads is not None and number:
        found = dataclasses.replace(found, torch_threads=int(number.group(1)))
    return dataclasses.replace(found, variables={**found.variables, **chosen.env})
