"""Whose memory it is that a card lacks: who holds how much of it, and what to do, in a line.

What a command said as it died tells of that moment; the driver tells who else is there, before and after.

Runs inside images: Python 3.7 syntax, standard library only.
"""

from typing import Mapping, NamedTuple, Optional, Sequence, Tuple

from stages import holders
from stages.records import Check, GpuState, Scalar
from stages.units import amount
from stages.visible_cards import INSTANCE
from stages.workload import out_of_gpu
from stages.workload.out_of_gpu import Said
from stages.workload.probes import gpus
from stages.workload.probes.gpus import CardMemory, Holder
from stages.workload.probes.hardware import asked_driver

MUCH_SHARE = 0.1  # of a card: who holds so much of it may be why a job does not fit
OUT = "out of GPU memory"
SHOWN = 3  # of those who hold some, the largest
OTHER_CARD = "choose another card (CUDA_VISIBLE_DEVICES)"
NOT_KNOWN = "whether another process holds some of it is not known"
ASK = f"see what nvidia-smi says: end what else is there or {OTHER_CARD}; if nothing is, "
OWN_LIMIT = "the command has set itself a limit, and that is reached"
RAISE_LIMIT = "raise or remove it (torch.cuda.set_per_process_memory_fraction)"


class Others(NamedTuple):
    """What is held of a card by processes that are not the command's."""

    holders: Tuple[Holder, ...]  # the largest first, each with its amount
    unseen_bytes: int  # by processes that the driver does not name in here

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.unseen_bytes + sum(each.used_bytes or 0 for each in self.holders)


class Verdict(NamedTuple):
    """Why there was no memory, and what to do."""

    found: str
    advice: str

    @property
    def line(self) -> str:
        """Both in a line."""
        return f"{self.found}: {self.advice}"


def look(visible: Optional[str]) -> Tuple[CardMemory, ...]:
    """Return the memory of the cards that this value of CUDA_VISIBLE_DEVICES leaves; none where it is not known.

    Of an instance of a card (MIG) the driver's numbers are the whole card's.
    """
    if visible is not None and INSTANCE in visible:
        return ()
    cards, _ = asked_driver(gpus.memory, visible)
    return cards


def explain(
    error: Optional[str],
    last_words: str,
    visible: Optional[str],
    parameters: Mapping[str, Scalar],
    before: Sequence[GpuState] = (),
) -> Optional[Verdict]:
    """Return why a command that failed had no memory on its card; None where it died of something else.

    `error`: what the job says of it. `visible`: of the command's environment, CUDA_VISIBLE_DEVICES. `parameters`: of
    the variant. `before`: the cards when the command began. To be asked when all its processes have ended: what is on
    the card then is not its own.
    """
    said = heard = out_of_gpu.in_last_words(last_words)
    if error is not None:
        said = out_of_gpu.in_error(error)
        if said is not None and said.needed_bytes is None and heard is not None:
            said = heard._replace(before=said.before)
    return None if said is None else judge(said, look(visible), parameters, before)


def judge(
    said: Said, cards: Sequence[CardMemory], parameters: Mapping[str, Scalar], before: Sequence[GpuState] = ()
) -> Verdict:
    """Put together what was said of the moment and what the driver shows of the cards after it."""
    index = said.index or 0
    card = cards[index] if index < len(cards) else None
    what = said.before if "memory" in said.before.lower() else OUT
    what += f" ({said.before})" if said.before and said.before != what else ""
    found = ": ".join(each for each in (what, _numbers(said, card)) if each)
    smaller = less(parameters)
    if said.at_own_limit:
        return Verdict(f"{found}; {OWN_LIMIT}", f"{RAISE_LIMIT}, or {smaller}")
    others = _others(said, card)
    earlier = _earlier(before[index] if index < len(before) else None, said)
    if earlier is not None and (others is None or not others.bytes):
        return Verdict(f"{found}; {earlier}", f"run again while nothing else is on it, or {OTHER_CARD}")
    if others is None:
        return Verdict(f"{found}; {NOT_KNOWN}", ASK + smaller)
    if others.bytes and others.bytes >= _lacking(said, card):
        return Verdict(f"{found}; {held(others)}", make_room(others))
    if others.bytes:
        return Verdict(f"{found}; {held(others)}, which is less than it lacked", smaller)
    return Verdict(f"{found}; it is the command's own, nobody else holds much of it", smaller)


def on(card: CardMemory) -> Optional[Others]:
    """Return what is held of a card that the command is not on; None where the driver does not tell."""
    if card.used_bytes is None or card.total_bytes is None:
        return None
    return _counted(card.holders or (), card.used_bytes, card.total_bytes)


def held(others: Others) -> str:
    """'pid 17 (python train.py) holds 12 GiB of it and somebody outside of this container 1 GiB'."""
    parts = [f"{_named(each)} holds {amount(each.used_bytes or 0)} of it" for each in others.holders[:SHOWN]]
    rest = others.holders[SHOWN:]
    if rest:
        parts.append(f"{len(rest)} more hold {amount(sum(each.used_bytes or 0 for each in rest))}")
    if others.unseen_bytes:
        inside = gpus.in_pid_namespace()
        who = "somebody outside of this container holds" if inside else "processes that the driver does not name hold"
        parts.append(f"{who} {amount(others.unseen_bytes)} of it")
    return ", ".join(parts)


def make_room(others: Others) -> str:
    """Say what to do about them."""
    several = len(others.holders) + bool(others.unseen_bytes) > 1
    which = "what else is on it" if not others.holders else "those processes" if several else "that process"
    return f"end {which} or {OTHER_CARD}"


def less(parameters: Mapping[str, Scalar]) -> str:
    """Say what to lower, by the name of the variant's parameter where one is of batches."""
    batches = [name for name in parameters if "batch" in name.lower()]
    which = "smaller batches, for example" if not batches else f"a lower {batches[0]} than {parameters[batches[0]]}"
    return f"let the variant need less of the card: {which}"


def check(card: CardMemory, needs: Mapping[str, int]) -> Optional[Check]:
    """Return what keeps jobs from a card, or may: others hold much of it, or one needs more than is there.

    `needs`: bytes by name of what needs them. None: all is well, or the driver does not tell.
    """
    others = on(card)
    if others is None or card.free_bytes is None or card.total_bytes is None:
        return None
    neediest = max(needs, key=lambda name: needs[name], default=None)
    need = 0 if neediest is None else needs[neediest]
    is_much = 0 < MUCH_SHARE * card.total_bytes <= others.bytes
    if need <= card.free_bytes and not is_much:
        return None
    needed = f"{amount(need)} for {neediest}" if need > card.free_bytes else "a card of which nobody else holds much"
    found = f"{amount(card.free_bytes)} of {amount(card.total_bytes)} free"
    helps = others.bytes >= max(1, need - card.free_bytes)
    advice = make_room(others) if helps else less({})
    who = f"; {held(others)}" if others.bytes else ""
    status = "failed" if need > card.free_bytes else "warning"
    return Check(f"GPU memory of {card.title}", status, needed, found + who, advice)


def _numbers(said: Said, card: Optional[CardMemory]) -> str:
    needed = "" if said.needed_bytes is None else f"{amount(said.needed_bytes)} more needed"
    if said.free_bytes is not None and said.total_bytes is not None:
        there = f"{amount(said.free_bytes)} of {amount(said.total_bytes)} free"
    elif card is not None and card.free_bytes is not None and card.total_bytes is not None:
        there = f"{amount(card.free_bytes)} of {amount(card.total_bytes)} free once it had ended"
    else:
        there = ""
    return ", ".join(each for each in (needed, there) if each)


def _lacking(said: Said, card: Optional[CardMemory]) -> float:
    """Return how much would have been enough to go on, by what was said; else what counts as much of a card."""
    needed, free = said.needed_bytes, said.free_bytes
    if needed is None:
        return MUCH_SHARE * (said.total_bytes or (None if card is None else card.total_bytes) or 0)
    return needed - free if free is not None and free < needed else needed


def _others(said: Said, card: Optional[CardMemory]) -> Optional[Others]:
    """Return who else was on the card at that moment; without names, or where it was not said, who is there now."""
    then, now = _said_others(said), None if card is None else on(card)
    if then is None or (now is not None and now.bytes and not then.holders and (then.bytes or said.ours_bytes is None)):
        return now
    names = {each.pid: each.name for each in (card.holders if card is not None else None) or ()}
    return then._replace(holders=tuple(each._replace(name=names.get(each.pid)) for each in then.holders))


def _earlier(state: Optional[GpuState], said: Said) -> Optional[str]:
    """Say what was in use of the card when the command began, where nothing tells of the moment in which it died."""
    if (
        state is None
        or state.memory_used_bytes is None
        or state.memory_free_bytes is None
        or said.free_bytes is not None
    ):
        return None
    used, total = state.memory_used_bytes, state.memory_used_bytes + state.memory_free_bytes
    if used < max(MUCH_SHARE * total, _of_driver(total)):
        return None
    who = f" ({'; '.join(state.other_processes)})" if state.other_processes else ""
    return f"when it began {amount(used)} of {amount(total)} were in use{who}, and nobody is there any more"


def _said_others(said: Said) -> Optional[Others]:
    total, free, ours = said.total_bytes, said.free_bytes, said.ours_bytes
    if total is None or free is None or (ours is None and said.kept_bytes is None):
        return None
    named = dict(said.others)
    if ours is None:
        kept = said.kept_bytes or 0
        # In a container this process has another number than the driver's: it is the one that holds what torch has.
        alike = [pid for pid, used in named.items() if used >= kept]
        mine = min(alike, key=lambda pid: named[pid] - kept) if alike else None
        ours = kept + _of_driver(total) if mine is None else named.pop(mine)
    others = [Holder(pid, None, used) for pid, used in named.items()]
    return _counted(others, total - free - ours, total)


def _counted(holders: Sequence[Holder], used_bytes: int, total_bytes: int) -> Others:
    known = [each for each in holders if each.used_bytes]
    unseen = used_bytes - sum(each.used_bytes or 0 for each in known)
    largest = tuple(sorted(known, key=lambda each: -(each.used_bytes or 0)))
    return Others(largest, unseen if unseen > _of_driver(total_bytes) else 0)


def _of_driver(total_bytes: int) -> int:
    """Return what the driver and a CUDA context keep of a card at most: an idle H200 has 0.6 GiB in use."""
    return max(2**30, total_bytes // 100)


def _named(holder: Holder) -> str:
    """Return who it is; a number of the machine's says nothing of a process in here."""
    if gpus.in_pid_namespace():
        return f"pid {holder.pid} of the machine" + (f" ({holder.name})" if holder.name else "")
    return holders.named(holder.pid, holder.name)
