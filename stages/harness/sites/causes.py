"""What is not the same at two sites, and so may be why the one is faster: by the facts of all their sessions."""

import dataclasses
from collections.abc import Iterable, Sequence

from stages import codec
from stages.harness.comparison import profile_diff
from stages.harness.comparison.profile_diff import Difference
from stages.harness.sites.sessions import Session
from stages.records import Facts

# No two machines agree in these, and a card of the same kind is as good as another.
OF_ONE_PIECE = ("identity", "card that it trains on")
NONE = "nothing that is known differs but the machines"


@dataclasses.dataclass(frozen=True)
class Causes:
    """What differs between two sites in the environment of one setting."""

    differences: tuple[Difference, ...]
    names: tuple[str, ...]  # of causes, each once; '' is none

    @property
    def words(self) -> str:
        """Say what a difference in time would be put down to."""
        if not self.names:
            unknown = any(profile_diff.UNKNOWN in (each.a, each.b) for each in self.differences)
            return NONE + (", as far as is known of them" if unknown else "")
        if len(self.names) == 1:
            return f"one cause differs: {self.names[0]}"
        shown = ", ".join(self.names[: profile_diff.SHOWN])
        more = len(self.names) - profile_diff.SHOWN
        return f"which of them it is cannot be told: {shown}" + (f" and {more} more" if more > 0 else "")


def between(these: Sequence[Session], those: Sequence[Session], setting: str) -> Causes | None:
    """List what differs between any session of the one site and any of the other; None without profiles of both."""
    ours, others = _environments(these, setting), _environments(those, setting)
    if not ours or not others:
        return None
    return _found((here, there) for here in ours for there in others)


def within(sessions: Sequence[Session], setting: str) -> Causes:
    """List what differs among the sessions of one site, which should be of one kind of machine."""
    found = _environments(sessions, setting)
    return _found((found[0], each) for each in found[1:])


def _environments(sessions: Sequence[Session], setting: str) -> list[Facts]:
    """Return the environments of the sessions that have a profile, each once."""
    found = [each for each in (session.facts(setting) for session in sessions if session.of_setting(setting)) if each]
    return [*{codec.fingerprint(each): each for each in found}.values()]


def _found(pairs: Iterable[tuple[Facts, Facts]]) -> Causes:
    """Gather the differences of all pairs, by what differs: the values that differ most often are as good as others."""
    seen: dict[str, Difference] = {}
    for here, there in pairs:
        for each in profile_diff.differences(here, there):
            if each.a != each.b and not each.what.endswith(OF_ONE_PIECE):  # which show alike are alike: 7.8 GiB
                seen.setdefault(each.what, each)
    differences = tuple(seen.values())
    return Causes(differences, profile_diff.causes(differences))
