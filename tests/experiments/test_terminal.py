import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from vjepa_gym.experiments import terminal
from vjepa_gym.experiments.keyboard import ENTER, ESCAPE, Status
from vjepa_gym.experiments.terminal import Cockpit, half_blocks, layout, one_by_one, read_keys

STATUS = Status(
    image=np.zeros((64, 64, 3), np.uint8),
    pose=np.array([0.5, 0.0, 0.3, 3.14, 0.0, 0.25, 0.5], np.float32),
    tool=np.array([0.5, -0.012, 0.2]),
    seed=3,
    step=0.03,
    views=2,
    happened=("clipped", "contact"),
    said="View 2 taken.",
)


@pytest.fixture
def tty():
    """Both ends of a terminal."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def plain(text):
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text)


def keys_of(typed: bytes) -> list[str]:
    reading, writing = os.pipe()
    os.write(writing, typed)
    os.close(writing)
    keys = list(read_keys(reading))
    os.close(reading)
    return keys


# Keys.


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"wG+", ["w", "g", "+"]),
        (b"\r\n", [ENTER, ENTER]),
        (b"\x1b", [ESCAPE]),
        (b"\x1b\x1b", [ESCAPE]),
        (b"\x1b[Aw", ["other", "w"]),
        (b"\x1b[1;5Cw", ["other", "w"]),
        (b"\x1bOPw", ["other", "w"]),
        (b"\x1bxw", ["other", "w"]),
        (b"\x1b[3", ["other"]),
        ("ä\t".encode(), ["other", "other", "other"]),
    ],
)
def test_keys_are_told_apart(typed, keys):
    assert keys_of(typed) == keys


def test_escape_is_known_though_nothing_follows(tty):
    master, slave = tty
    with one_by_one(slave):
        os.write(master, b"\x1b")
        assert next(read_keys(slave)) == ESCAPE


def test_keys_come_one_by_one_and_unseen_and_unread_ones_are_dropped(tty):
    master, slave = tty
    before = termios.tcgetattr(slave)
    with one_by_one(slave):
        os.write(master, b"wwrm -rf\n")
        assert next(read_keys(slave)) == "w"
    assert termios.tcgetattr(slave) == before
    assert not terminal.waiting(slave)
    assert not terminal.waiting(master)


def test_a_pipe_is_left_alone():
    reading, writing = os.pipe()
    with one_by_one(reading):
        os.write(writing, b"q")
        assert next(read_keys(reading)) == "q"
    os.close(reading)
    os.close(writing)


# Pictures.


def test_a_picture_is_half_as_many_lines():
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, :, 0], image[1, :, 1] = 200, 100
    first, second = half_blocks(image)
    assert first == "\x1b[38;2;200;0;0;48;2;0;100;0m" + "▀" * 6
    assert second == "\x1b[38;2;0;0;0;48;2;0;0;0m" + "▀" * 6


def test_picture_and_words_stand_side_by_side():
    rows = [plain(row) for row in layout(STATUS, STATUS.image, columns=80, lines=24, footer="end")]
    assert len(rows) <= 24
    assert max(map(len, rows)) <= 80
    assert rows[0].startswith("▀" * 42 + "  seed 3, 30 mm a key, 2 views taken")
    assert "x 0.500  y -0.012  z 0.200 m" in rows[1]
    assert "yaw +0.25 rad, closed 0.50" in rows[2]
    assert rows[3].endswith("clipped, contact")
    assert rows[4].endswith("View 2 taken.")
    assert rows[-1] == "end"
    assert any("enter saves, escape leaves" in row for row in rows)


@pytest.mark.parametrize(("columns", "lines"), [(20, 5), (50, 24), (200, 60), (1, 1)])
def test_any_terminal_is_large_enough(columns, lines):
    rows = [
        plain(row) for row in layout(STATUS, STATUS.image, columns=columns, lines=lines, footer="a")
    ]
    assert len(rows) <= max(lines, 1)
    assert max(map(len, rows), default=0) <= columns
    assert any("▀" in row for row in rows) == (columns > 60)


def test_without_pictures_there_are_words():
    rows = layout(STATUS, None, columns=80, lines=24)
    assert plain(rows[0]).startswith("seed 3")


# The cockpit.


def test_where_there_is_no_terminal_nothing_is_drawn(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"w")
    with (tmp_path / "output").open("w") as output:
        cockpit = Cockpit(keyboard=reading, output=output)
        with cockpit.opened() as keys:
            cockpit.show(STATUS)
            assert next(keys) == "w"
    assert (tmp_path / "output").read_bytes() == b""
    os.close(reading)
    os.close(writing)


def test_nothing_is_drawn_while_more_keys_wait(tty):
    master, slave = tty
    with open(slave, "w", closefd=False) as output:
        cockpit = Cockpit(keyboard=slave, output=output)
        with cockpit.opened():
            os.read(master, 1000)
            os.write(master, b"w")
            assert terminal.waiting(slave, 5.0)
            cockpit.show(STATUS)
            assert not terminal.waiting(master)


CHILD = """
import fcntl, signal, sys, termios
# What was begun in the background inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is for us
sys.path.insert(0, {here!r})
from test_terminal import STATUS
from vjepa_gym.experiments.terminal import Cockpit
cockpit = Cockpit(footer="ready")
with cockpit.opened() as keys:
    cockpit.show(STATUS)
    for key in keys:
        if key == "escape":
            break
        if key == "x":
            raise OSError("no more")
"""


def read_until(master: int, marker: bytes) -> bytes:
    """Return what a terminal shows until `marker` is among it."""
    shown, deadline = b"", time.monotonic() + 120
    while marker not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([master], [], [], 1.0)[0]:
            shown += os.read(master, 65536)
    return shown


@pytest.mark.parametrize(
    ("key", "status"), [(b"\x1b", 0), (b"\x03", -signal.SIGINT), (b"x", 1)], ids=["esc", "^C", "x"]
)
def test_however_it_ends_the_terminal_is_as_before(tty, key, status):
    master, slave = tty
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    before = termios.tcgetattr(slave)
    code = CHILD.format(here=str(Path(__file__).parent))
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    shown = read_until(master, b"ready")
    assert terminal.ENTER_SCREEN.encode() in shown
    assert "▀".encode() in shown
    assert termios.tcgetattr(slave) != before
    os.write(master, b"w" + key)
    read_until(master, terminal.LEAVE_SCREEN.encode())
    child.communicate(timeout=60)
    assert child.returncode == status
    assert termios.tcgetattr(slave) == before
