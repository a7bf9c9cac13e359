"""A terminal as cockpit: keys one by one, pictures as coloured half-blocks; works over ssh."""

import os
import select
import sys
import termios
import textwrap
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import numpy as np
from jaxtyping import UInt8

from vjepa_gym.experiments.keyboard import ENTER, ESCAPE, HELP, Status
from vjepa_gym.images import resize

OTHER = "other"
"""A key that is neither a character of ASCII nor one of those with a name."""
ESCAPE_DELAY = 0.1
"""The arrow keys begin like escape; it was escape if nothing follows for so long [s]."""
PANEL_WIDTH = 36
"""Columns for words, beside the picture."""
SMALLEST_PICTURE = 16
"""A picture of fewer pixels a side shows nothing [px]."""
ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
"""A screen of our own without a cursor, and back to what was there before."""
TO_TOP, CLEAR_LINE, CLEAR_REST, PLAIN = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[0m"


@contextmanager
def one_by_one(descriptor: int) -> Iterator[None]:
    """Have a terminal hand over each key at once and unseen; nothing if it is no terminal.

    Ctrl-C still interrupts. On leaving, whatever the reason, the terminal is as before, and keys
    that nobody read are dropped, so that no shell takes them for a command.
    """
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


@contextmanager
def own_screen(output: TextIO) -> Iterator[None]:
    """Draw on a screen apart, so that what the terminal showed before is there again afterwards."""
    try:
        output.write(ENTER_SCREEN)
        output.flush()
        yield
    finally:
        output.write(LEAVE_SCREEN)
        output.flush()


def read_keys(descriptor: int) -> Iterator[str]:
    """Yield keys as they are pressed, in lower case, until there will be no more.

    A key is an ASCII character, `ENTER`, `ESCAPE`, or `OTHER` for whatever else there may be.
    """
    while byte := os.read(descriptor, 1):
        if byte == b"\x1b":
            yield _after_escape(descriptor)
        elif byte in b"\r\n":
            yield ENTER
        else:
            yield byte.decode().lower() if byte.isascii() and byte >= b" " else OTHER


def waiting(descriptor: int, seconds: float = 0.0) -> bool:
    """Return whether there is something to read, or will be within some time."""
    return bool(select.select([descriptor], [], [], seconds)[0])


def _after_escape(descriptor: int) -> str:
    """Read the rest of an arrow or function key, if it is one."""
    introducer = os.read(descriptor, 1) if waiting(descriptor, ESCAPE_DELAY) else b""
    if introducer in (b"", b"\x1b"):
        return ESCAPE
    if introducer in b"[O":
        # Parameters, then one byte that ends the sequence (ECMA-48, section 5.4).
        while waiting(descriptor, ESCAPE_DELAY):
            byte = os.read(descriptor, 1)
            if not byte or b"@" <= byte <= b"~":
                break
    return OTHER


class Cockpit:
    """Shows what is going on, and hands over the keys.

    Args:
        footer: What is to stand below.
        pictures: Whether the camera's picture is drawn too.
        keyboard: File descriptor that keys come from; standard input by default.
        output: Where to draw, if that is a terminal; standard output by default.
    """

    def __init__(
        self,
        *,
        footer: str = "",
        pictures: bool = True,
        keyboard: int | None = None,
        output: TextIO | None = None,
    ) -> None:
        self._footer, self._pictures = footer, pictures
        self._keyboard = sys.stdin.fileno() if keyboard is None else keyboard
        self._output = sys.stdout if output is None else output

    @contextmanager
    def opened(self) -> Iterator[Iterator[str]]:
        """Yield the keys; the terminal is given back on leaving."""
        with one_by_one(self._keyboard):
            if not self._output.isatty():
                yield read_keys(self._keyboard)
                return
            with own_screen(self._output):
                yield read_keys(self._keyboard)

    def show(self, status: Status) -> None:
        """Draw, unless the next key is there already or nobody would see it."""
        if not self._output.isatty() or waiting(self._keyboard):
            return
        size = os.get_terminal_size(self._output.fileno())
        # A terminal that does not say how large it is says zero.
        columns, lines = size.columns or 80, size.lines or 24
        image = status.image if self._pictures else None
        drawn = layout(status, image, columns=columns, lines=lines, footer=self._footer)
        ends = f"{PLAIN}{CLEAR_LINE}\n"
        self._output.write(TO_TOP + ends.join(drawn) + PLAIN + CLEAR_LINE + CLEAR_REST)
        self._output.flush()


def layout(
    status: Status,
    image: UInt8[np.ndarray, "height width 3"] | None,
    *,
    columns: int,
    lines: int,
    footer: str = "",
) -> list[str]:
    """Return the lines of a screen: the picture on the left, what is to be said on the right."""
    side, picture = min(columns - PANEL_WIDTH - 2, 2 * (lines - 2)) // 2 * 2, []
    if image is not None and side >= SMALLEST_PICTURE:
        picture = half_blocks(resize(image, min(side, len(image) // 2 * 2)))
    width = len(picture) * 2 + 2 if picture else 0
    words = panel(status)[: max(lines - 2, 0)]
    rows = []
    for i in range(max(len(picture), len(words))):
        left = picture[i] if i < len(picture) else " " * max(width - 2, 0)
        right = words[i] if i < len(words) else ""
        gap = "  " if picture else ""
        rows.append(f"{left}{PLAIN}{gap}{right[: max(columns - width, 0)]}")
    return [*rows, footer[:columns]] if footer else rows


def panel(status: Status) -> list[str]:
    """Return what is said beside the picture."""
    x, y, z = status.tool
    return [
        f"seed {status.seed}, {1000 * status.step:g} mm a key, {status.views} views taken",
        f"tool   x {x:.3f}  y {y:+.3f}  z {z:.3f} m",
        f"yaw {status.pose[5]:+.2f} rad, closed {status.pose[6]:.2f}",
        ", ".join(status.happened) or "free",
        textwrap.shorten(status.said, PANEL_WIDTH, placeholder="..."),
        "",
        *HELP.splitlines(),
    ]


def half_blocks(image: UInt8[np.ndarray, "height width 3"]) -> list[str]:
    """Return lines of text, each of which shows two rows of an image of even height.

    The upper half of a character is the foreground's colour, the lower one the background's.
    """
    lines = []
    for upper, lower in zip(image[::2].tolist(), image[1::2].tolist(), strict=True):
        line, last = "", None
        for colours in zip(upper, lower, strict=True):
            if colours != last:
                (r, g, b), (r2, g2, b2) = colours
                line += f"\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m"
                last = colours
            line += "▀"
        lines.append(line)
    return lines
