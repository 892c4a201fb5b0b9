"""Which cards CUDA_VISIBLE_DEVICES leaves visible: CUDA's own rule, over the cards that the driver shows.

Runs everywhere: Python 3.7 syntax, standard library only.
"""

from typing import Optional, Sequence, Tuple

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
PCI_ORDER = "PCI_BUS_ID"  # the driver's and nvidia-smi's; CUDA's own is the fastest card first
CARD, INSTANCE = "GPU-", "MIG-"  # how a UUID begins, of a card and of a part of one
HIDES_ALL = ("", "-1", "NoDevFiles")


def hides_all(wanted: Optional[str]) -> bool:
    """Whether this value of the variable is one of those that are written to hide every card."""
    return wanted is not None and wanted.strip() in HIDES_ALL


def visible(wanted: Optional[str], uuids: Sequence[Optional[str]], has_instances: bool) -> Tuple[str, ...]:
    """Return UUIDs of the cards that this value of the variable leaves, in its order; None: it is not set.

    `uuids`: of the cards in the driver's order, None where a card does not tell it. `has_instances`: whether one of
    them is in parts (MIG), whose UUIDs are taken as they are. A list ends at its first entry that names no card, as
    CUDA has it.
    """
    if wanted is None:
        return tuple(each for each in uuids if each is not None)
    found = ()  # type: Tuple[str, ...]
    for entry in wanted.split(","):
        uuid = named(entry.strip(), uuids, has_instances)
        if uuid is None or uuid in found:
            break
        found += (uuid,)
    return found


def leaves(wanted: Optional[str], uuids: Sequence[Optional[str]]) -> Tuple[int, ...]:
    """Return indices into `uuids` of the cards that this value of the variable leaves, in its order.

    Of a part of a card (MIG) the driver does not tell by this which one it is of: it may be any.
    """
    if wanted is None or INSTANCE in wanted:
        return tuple(range(len(uuids)))
    return tuple(uuids.index(each) for each in visible(wanted, uuids, has_instances=False))


def named(entry: str, uuids: Sequence[Optional[str]], has_instances: bool) -> Optional[str]:
    """Return the UUID of the card that an index or the begin of a UUID names; None where it is not one card."""
    if entry.isascii() and entry.isdigit():  # else '²' counts as a digit
        return uuids[int(entry)] if int(entry) < len(uuids) else None
    if entry.startswith(INSTANCE):
        return entry if has_instances else None
    begun = [each for each in uuids if each is not None and each.startswith(entry)]
    return begun[0] if entry.startswith(CARD) and len(begun) == 1 else None
