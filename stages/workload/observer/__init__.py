"""Sees into a PyTorch training from outside, without a change to it: when it waited, stepped, validated.

    hook/       first on the command's PYTHONPATH: notes what torch does, in files of JSON lines
    lines       those files, read
    runs        which pass of a loader was training, and its steps
    stragglers  which of several ranks waits the longest
    device      their times by the clock of a GPU, of marks in its queue, and its split
    read        all of it as the contract's spans, and in words what could not be seen

Of a command: PYTHONPATH begins with the folder hook, FACEOFF_OBSERVE is a path without its end, both absolute. The
files <it>.<rank>.<pid>.jsonl change about once a second while a training goes on: a heartbeat.

The hook runs inside the job (Python 3.6, standard library, any torch from 1.2 on) and imports nothing of faceoff.
"""

from pathlib import Path

VARIABLE = "FACEOFF_OBSERVE"
HOOK = Path(__file__).absolute().parent / "hook"
