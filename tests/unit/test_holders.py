"""Who holds the machine's memory or /dev/shm, by real processes that do."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages import checks, holders
from stages.units import amount

MIB = 2**20
HOG = "import sys, mmap; {}; print('ready', flush=True); sys.stdin.read()"


@contextmanager
def hog(statement: str, *words: str) -> Iterator[int]:
    """A process that holds memory until it is told to end."""
    command = [sys.executable, "-c", HOG.format(statement), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.stdin.close()


def held(sentence: str, who: str) -> float:
    """MiB that the sentence says of it."""
    [amount_of] = [part.split(" holds ")[1] for part in sentence.split(", pid ") if part.startswith(who)]
    number, unit = amount_of.split()[:2]
    return float(number) * {"MiB": 1, "GiB": 1024}[unit]


def test_a_process_that_holds_a_tenth_of_the_memory_is_named_with_what_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holders, "SHOWN", 1000)
    with hog("block = b'x' * (150 * 2**20)") as pid:
        name = f"{pid} (python -c import sys, mmap; block = b"
        assert 150 <= held(", " + holders.of_memory(1000 * MIB), name) < 250
        assert f"pid {pid}" not in holders.of_memory(4000 * MIB)
    assert f"pid {pid}" not in holders.of_memory(1000 * MIB)
    assert holders.of_memory(None) == ""


@pytest.fixture
def shm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of /dev/shm, every share of which counts: a tenth of the real one may be more than there is."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setattr(holders, "MUCH_SHARE", 10**-9)
        monkeypatch.setattr(holders, "SHOWN", 1000)
        monkeypatch.setattr(holders, "SHM", Path(folder))
        yield Path(folder)


def test_of_dev_shm_processes_are_named_and_files_that_nobody_uses(shm: Path) -> None:
    (shm / "forgotten").write_bytes(bytes(3 * MIB))
    path = shm / "batches"
    statement = f"file = open({str(path)!r}, 'w+b'); file.truncate(5 * 2**20); block = mmap.mmap(file.fileno(), 0)"
    with hog(statement + "; block.write(b'x' * (5 * 2**20)); __import__('os').unlink(file.name)") as pid:
        sentence = holders.of_shm()
    assert f"the file {shm}/forgotten holds 3 MiB of it" in sentence
    assert held(", " + sentence, f"{pid} (python -c") == 5


def test_names_that_others_gave_stay_in_their_line_and_colour_nothing(shm: Path) -> None:
    (shm / "for\x1b[31mgotten\nby them").write_bytes(bytes(3 * MIB))
    assert f"the file {shm}/forgotten by them holds 3 MiB of it" in holders.of_shm()
    with hog("name = '\x1b[2J\x07mine'") as pid:
        assert holders.described(pid)[0] == "python -c import sys, mmap; name = ' mine'; print('ready', flush=Tr"[:60]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--hf-token", "abc", "--size", "3"], "--hf-token (set) --size 3"),
        (["--db-password=abc", "--lr=3"], "--db-password=(set) --lr=3"),
        (["https://me:abc@host/"], "https://(login)@host/"),
        (["tokens", "--keys", "3"], "tokens --keys 3"),
    ],
)
def test_what_opens_something_is_not_shown(words: list[str], shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "NAME_LETTERS", 1000)
    with hog("pass", *words) as pid:
        name = holders.described(pid)[0]
    assert name is not None and name.endswith(f" {shown}") and "abc" not in name


def test_preflight_says_who_filled_dev_shm(shm: Path) -> None:
    (shm / "forgotten").write_bytes(bytes(3 * MIB))
    check = checks.shared_memory("plain", 60 * MIB, 64 * MIB, 10 * MIB, False)
    assert check.found == f"{amount(64 * MIB)}, 10 MiB of it free; the file {shm}/forgotten holds 3 MiB of it"
