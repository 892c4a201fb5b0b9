"""What the processes of a command hold in memory together, looked at again and again.

Each page counts once: in equal shares to all that map it (PSS), as loader workers do that were forked. A cgroup's own
peak, where a container has one, is another thing: files of data that the kernel keeps cached are in it, and a cell
outside of a container has no cgroup of its own, so that the two could not be compared.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import os
import time
from typing import Optional, Set

from stages.workload import processes

MOST_SHARE = 0.001  # of a CPU: the kernel walks through all page tables, so a look at much memory comes less often


class Together:
    """Used for one command. `others`: children of this process that are none of its."""

    def __init__(self, others: Set[int]) -> None:
        self.peak_bytes: Optional[int] = None  # None: never more than one was seen, or the kernel does not tell
        self._others = others
        self._due = 0.0

    def look(self) -> None:
        """Look, where it is time to."""
        if time.monotonic() < self._due:
            return
        used = time.process_time()
        roots = [pid for pid in processes.children(os.getpid()) if pid not in self._others]
        found = [pid for root in roots for pid in processes.family(root)]
        if len(found) > 1:
            held = sum(processes.memory_bytes(pid) for pid in found)
            self.peak_bytes = max(held, self.peak_bytes or 0) or None
        self._due = time.monotonic() + (time.process_time() - used) / MOST_SHARE
