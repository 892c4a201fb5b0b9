"""Long work tells how far it is: on a terminal in one line, in a log in few."""

import sys

import pytest

from stages import watched
from stages.watched import WATCHED, Telling, time_left


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(watched, "time", found)
    return found


def told_for(seconds, clock):
    """Work that tells how far it is ten times a second."""
    with Telling() as tell:
        for _ in range(10 * seconds):
            clock.now += 0.1
            tell(lambda: f"at {clock.now:.0f}")


def test_a_log_has_ever_fewer_lines(clock, capsys):
    told_for(3600, clock)
    said = capsys.readouterr().out.splitlines()
    assert said[:5] == ["at 10", "at 20", "at 40", "at 80", "at 160"] and len(said) < 20


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_line_is_written_over_where_somebody_watches(clock, capsys, monkeypatch, is_terminal):
    """Also through the pipe of what shows it."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    if not is_terminal:
        monkeypatch.setenv(WATCHED, "1")
    monkeypatch.setenv("COLUMNS", "5")
    told_for(1, clock)
    four = "".join(f"\x1b[2Kat {second}\r" for second in "0011")
    assert capsys.readouterr().out == four + ("\x1b[2K\r" if is_terminal else "")


def test_what_takes_long_is_told_at_once_where_somebody_watches(clock, capsys, monkeypatch):
    for watched_by in ({WATCHED: "1"}, {}):
        for name in watched_by:
            monkeypatch.setenv(name, "1")
        with Telling() as tell:
            tell(lambda: "looking")
            tell(lambda: "installing", at_once=True)
        monkeypatch.delenv(WATCHED, raising=False)
    assert capsys.readouterr().out == "\x1b[2Klooking\r\x1b[2Kinstalling\r"


@pytest.mark.parametrize(
    ("done", "total", "left"),
    [(0, 10, ""), (5, None, ""), (5, 10, ", 30 s left"), (1, 101, ", 50 min left")],
)
def test_what_is_left_at_this_pace(done, total, left):
    assert time_left(done, total, 30.0) == left
