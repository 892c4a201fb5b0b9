"""Whether two settings can be ranked by their times at all.

They cannot where

- a repeat of either failed: what is left of a setting that fails now and then is no account of it;
- they ran on different hardware or under different limits: then a difference is of the image and of the machine, and
  which of the two it shows cannot be said. That is a confounded comparison.

What images differ in by their software, however many causes it may have, is the very thing that is compared: it is told
beside the verdict, and does not stand in its way. Nor does the number of threads that torch takes, which is torch's own
choice on the same CPUs or a variable's, nor any variable.
"""

from collections.abc import Sequence

from stages.harness import formatting
from stages.harness.comparison import profile_diff
from stages.harness.results.read import CellResult
from stages.records import Profile

DEVICE = "device"  # the fact by which a job says what it ran on


def confounder(
    setting: Sequence[CellResult],
    baseline: Sequence[CellResult],
    profile: Profile | None,
    reference: Profile | None,
    name: str = "the baseline",
) -> str | None:
    """Say why the two cannot be ranked; None where they can. What is unknown for want of a profile is no reason."""
    for whose, results in (("its", setting), (f"{name}'s", baseline)):
        failed = sum(result.status == "failed" for result in results)
        if failed:
            return f"{failed} of {whose} {formatting.count(len(results), 'repeat')} failed"
    here, there = devices(setting, profile), devices(baseline, reference)
    if here and there and (here != there or len(here) > 1):
        return f"confounded: it ran on {_named(here)}, {name} on {_named(there)}"
    causes = _other_hardware(profile, reference)
    if causes:
        return f"confounded: not the same {', '.join(causes)} as {name}'s"
    return None


def devices(results: Sequence[CellResult], profile: Profile | None) -> tuple[str, ...]:
    """List what the repeats ran on, each once: as the job says, else as torch in the image does; empty: not known."""
    trained = [result.train for result in results if result.train]
    said = tuple(dict.fromkeys(each.facts[DEVICE] for each in trained if DEVICE in each.facts))
    if said or not trained or profile is None or profile.facts.device is None:
        return said
    return (profile.facts.device,)


def _named(names: Sequence[str]) -> str:
    return " and ".join(map(formatting.device, names))


def _other_hardware(profile: Profile | None, reference: Profile | None) -> tuple[str, ...]:
    if profile is None or reference is None:
        return ()
    differences = profile_diff.differences(profile.facts, reference.facts)
    return profile_diff.causes(tuple(each for each in differences if each.kind == "hardware"))
