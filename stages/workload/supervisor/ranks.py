"""Starts a training as several processes with torch's launcher, and tells which of them died first, and of what.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import contextlib
import importlib.util
import json
import shutil
import socket
import time
from pathlib import Path
from signal import Signals
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from stages.contract import printable
from stages.errors import TRY_LATER, FaceoffError
from stages.records import Task
from stages.workload import rank
from stages.workload.probes import files, limits
from stages.workload.supervisor.command import Ended

RANK = Path(rank.__file__).absolute()
LOOPBACK = "127.0.0.1"  # a container without a network has no other, and may not know its own name
THREADS, INTERFACE = "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME"
PATIENCE_SECONDS = 10.0  # with a launcher, once a rank has died: torch 1.2's waits for the first one, whatever happens
# What a rank says that has lost another: as gloo, NCCL and torch's store put it.
OF_PEERS = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "remote process exited",
    "ncclremoteerror",
    "nccl communicator was aborted",
    "connection refused",
    "timed out waiting",
)


class Note(NamedTuple):
    """How a rank ended, as stages/workload/rank.py notes it."""

    rank: int
    code: int
    asked: bool  # the launcher told it to end
    ended: float  # by the machine's own clock
    words: str  # its last on stderr

    @property
    def blames_peers(self) -> bool:
        """Whether it died of another's death."""
        return any(each in self.words.lower() for each in OF_PEERS)


class Ranks:
    """What is started in place of a command. Of one process: the command as it is."""

    def __init__(
        self, command: Sequence[str], environment: Dict[str, str], count: int, folder: Optional[Path], port: int = 0
    ) -> None:
        self.command, self.environment = tuple(command), environment
        self._count, self._folder = count, folder
        self._failed_at = None  # type: Optional[float]
        if folder is not None:
            self.command = launched(command, count, folder, port)
            share = max(1, int(limits.look(files.ROOT).usable_cpus // count))
            plain = {THREADS: str(share), INTERFACE: "lo"}  # torch's launcher would give each a single thread
            self.environment = {**plain, **environment, rank.FOLDER: str(folder)}

    def look(self) -> bool:
        """Return whether the launcher is to be ended: a rank died a while ago, and it still waits for others."""
        if self._failed_at is None and any(note.code for note in self._notes()):
            self._failed_at = time.monotonic()
        return self._failed_at is not None and time.monotonic() - self._failed_at > PATIENCE_SECONDS

    def judged(self, ended: Ended, error: Optional[str]) -> Ended:
        """Return how the command ended, with the words of the rank that died first.

        `error`: what the first rank says of its own failure.
        """
        if ended.code == 0 or self._folder is None:
            return ended
        notes = self._notes()
        first = _first(notes)
        if first is None:
            lost = sorted({*range(self._count)} - {note.rank for note in notes})
            words = f"rank {lost[0]} of {self._count} was killed, with all that it ran" if notes and lost else None
            return ended._replace(words=words)
        if first.code == TRY_LATER:
            return ended._replace(code=TRY_LATER)
        said = error if first.rank == 0 else self._error_of(first.rank)
        # Not the launcher's own end: it is its ranks', or it was killed for waiting.
        return ended._replace(code=max(1, first.code), words=_sentence(first, self._count, said or first.words))

    def _notes(self) -> List[Note]:
        if self._folder is None:
            return []
        return [Note(**_read(path)) for path in sorted(self._folder.iterdir()) if path.name.isdigit()]

    def _error_of(self, number: int) -> Optional[str]:
        """Return the `error` that a rank other than the first has told, in its own file of events."""
        found = None
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in (self._folder / f"events.{number}.jsonl").read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    found = event.get("error", found) if isinstance(event, dict) else found
        return found if isinstance(found, str) else None


@contextlib.contextmanager
def ranks(task: Task, command: Sequence[str], environment: Dict[str, str]) -> Iterator[Ranks]:
    """Return what is to be run for the command, as many processes as the task says; what they note is removed."""
    if task.ranks == 1:
        yield Ranks(command, environment, 1, None)
        return
    folder = task.cell.ranks_dir.absolute()
    shutil.rmtree(str(folder), ignore_errors=True)  # of a supervisor that was killed
    folder.mkdir(parents=True)
    try:
        with held_port() as port:
            yield Ranks(command, environment, task.ranks, folder, port)
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def launched(command: Sequence[str], count: int, folder: Path, port: int) -> Tuple[str, ...]:
    """Return the command that starts so many of it with the launcher that this Python's torch has."""
    module, options = _launcher(count, folder)
    where = [f"--nproc_per_node={count}", f"--master_addr={LOOPBACK}", f"--master_port={port}"]
    return ("python", "-m", module, *options, *where, str(RANK), *command[1:])


def _launcher(count: int, logs: Path) -> Tuple[str, List[str]]:
    """Return torch's launcher and its options. torch is not imported: its memory would be this process's."""
    spec = importlib.util.find_spec("torch")
    folder = Path(spec.origin).parent / "distributed" if spec is not None and spec.origin else None
    if folder is not None and (folder / "run.py").exists():  # since 1.9
        its = [f"--log_dir={logs}", "--nnodes=1", "--node_rank=0", "--max_restarts=0"]  # else it leaves logs in /tmp
        return "torch.distributed.run", its
    if folder is not None and (folder / "launch.py").exists():
        return "torch.distributed.launch", ["--use_env"]
    found = "no torch" if folder is None else f"a torch without either in {folder}"
    raise FaceoffError(
        f"gpus is {count}: processes are started by torch.distributed.run or torch.distributed.launch, found {found}: "
        "choose an image with torch 1.1 or newer, or write {gpus} into `train`, which then starts them itself"
    )


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Return a port that nobody else is given meanwhile, and that the launcher may listen at.

    Bound and never listened at, it is out of the kernel's choice for others; who sets SO_REUSEADDR, as torch does, may
    bind it too.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, 0))
        yield holder.getsockname()[1]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _first(notes: Sequence[Note]) -> Optional[Note]:
    """Return the rank that is the cause: of those that were not told to end and do not blame another, the first."""
    failed = [note for note in notes if note.code and not note.asked]
    own = [note for note in failed if not note.blames_peers]
    return min(own or failed, key=lambda note: note.ended, default=None)


def _sentence(note: Note, count: int, said: str) -> str:
    if note.code < 0:
        killer = Signals(-note.code).name if -note.code in set(Signals) else f"signal {-note.code}"
        return f"rank {note.rank} of {count} was killed by {killer}; its own words are above"
    said = printable(said)
    end = f": {said}" if said else "; its own words are above"
    return f"rank {note.rank} of {count} ended with exit code {note.code}{end}"
