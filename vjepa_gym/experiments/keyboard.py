"""Driving the simulated arm key by key, taking views on the way; where keys come from is no matter.

The terminal is in `terminal`; a test, or a script, hands in any iterable of keys.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vjepa_gym.goal_file import TOLERANCE
from vjepa_gym.spaces import MAX_ROTATION, MAX_TRANSLATION, WORKSPACE_HIGH, WORKSPACE_LOW
from vjepa_gym.types import Image, Pose

ENTER, ESCAPE = "enter", "escape"
"""Keys that are no character."""
MOVES = {
    "w": (0, 1),
    "s": (0, -1),
    "a": (1, 1),
    "d": (1, -1),
    "q": (2, 1),
    "e": (2, -1),
    "j": (5, 1),
    "l": (5, -1),
    "c": (6, 1),
    "o": (6, -1),
}
"""Which axis of an action a key is for, and which way it goes."""
STEP_SIZES = (0.005, 0.01, 0.02, 0.03, 0.05, MAX_TRANSLATION)
"""What `+` and `-` choose from [m]; turns shrink with them."""
CLOSING = 0.5
"""What one key opens or closes."""
HELP = """\
w s   forward, back (x)
a d   left, right (y)
q e   up, down (z)
j l   turn left, right
c o   close, open by half
+ -   longer, shorter moves
g     take this view
u     take the last key back
n     another seed
enter saves, escape leaves"""


@runtime_checkable
class Drivable(Protocol):
    """What of `envs.tabletop.TabletopEnv` is needed here."""

    world: Any

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        ...


@dataclass(frozen=True, kw_only=True)
class View:
    """What the camera saw, and where the hand was."""

    image: Image
    pose: Pose


@dataclass(frozen=True, kw_only=True)
class Status:
    """What who presses the keys is shown.

    Attributes:
        image: What the camera sees.
        pose: Measured pose of the flange.
        tool: Where the tool centre is [m].
        seed: Of the lab.
        step: How far one key moves [m].
        views: How many views were taken.
        happened: What was special about the last move: `clipped` by the workspace, `joint limit`,
            `contact` with something that is not between the fingers.
        said: What became of the last key.
    """

    image: Image
    pose: Pose
    tool: Float[np.ndarray, "3"]
    seed: int
    step: float
    views: int
    happened: tuple[str, ...]
    said: str


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What came of it.

    Attributes:
        views: At least one; the last is the goal.
        seed: Of the lab that they show.
        tool_offset: From the flange along its z axis to the tool centre [m].
    """

    views: tuple[View, ...]
    seed: int
    tool_offset: float


def drive(
    env: Drivable,
    keys: Iterable[str],
    *,
    seed: int = 0,
    step: float = 0.03,
    camera: str = "left",
    on_status: Callable[[Status], None] | None = None,
) -> Driven | None:
    """Do what the keys say until one of them saves or leaves.

    Args:
        env: An unwrapped tabletop environment; it is reset.
        keys: Characters, `ENTER` and `ESCAPE`; `HELP` says what each does.
        seed: Of the first lab.
        step: How far one key moves at first [m].
        camera: Which camera takes the views.
        on_status: Called at the beginning and after each key.

    Returns:
        The views taken, or the one at the end if none was; None if `ESCAPE` came first, or the
        keys ended.
    """
    with closing(_Driver(env, seed, step, camera)) as driver:
        if on_status:
            on_status(driver.status())
        for key in keys:
            if key == ESCAPE:
                return None
            driver.press(key)
            if key == ENTER and driver.views:
                return driver.driven()
            if on_status:
                on_status(driver.status())
    return None


class _Driver:
    """The arm, how it came to where it is, and the views taken."""

    def __init__(self, env: Drivable, seed: int, step: float, camera: str) -> None:
        self._env, self._step, self._camera = env, step, camera
        self.views: list[View] = []
        self._back: list[Callable[[], object]] = []
        self._begin(seed)

    @property
    def _world(self) -> Any:
        # Never kept: a reset may open another scene.
        return self._env.world

    def press(self, key: str) -> None:
        """Do what a key says."""
        self._happened = ()
        match key:
            case _ if key in MOVES:
                self._move(*MOVES[key])
            case "+" | "=":
                self._resize(min((s for s in STEP_SIZES if s > self._step), default=self._step))
            case "-" | "_":
                self._resize(max((s for s in STEP_SIZES if s < self._step), default=self._step))
            case "g":
                self._take()
            case _ if key == ENTER:
                # Of a drive without views the end is the goal.
                if not self.views:
                    self._take()
            case "u":
                self._said = "Taken back." if self._back else "Nothing to take back."
                if self._back:
                    self._back.pop()()
            case "n":
                self._begin(self._seed + 1)
            case _:
                self._said = "That key means nothing."

    def status(self) -> Status:
        """Return what there is to be seen."""
        return Status(
            image=self._world.image(self._camera),
            pose=self._world.arm.pose,
            tool=np.asarray(self._world.arm.tool, np.float64),
            seed=self._seed,
            step=self._step,
            views=len(self.views),
            happened=self._happened,
            said=self._said,
        )

    def driven(self) -> Driven:
        """Return what came of it."""
        return Driven(
            views=tuple(self.views),
            seed=self._seed,
            tool_offset=float(self._world.arm.gripper.tcp),
        )

    def close(self) -> None:
        """Put the lab back as it was at the beginning, and forget the views."""
        while self._back:
            self._back.pop()()

    def _begin(self, seed: int) -> None:
        self.close()
        self._env.reset(seed=seed, options={"goal_images": False})
        self._seed = seed
        self._happened: tuple[str, ...] = ()
        self._said = f"The lab of seed {seed}."

    def _move(self, axis: int, sign: int) -> None:
        turn = self._step * MAX_ROTATION / MAX_TRANSLATION
        action = np.zeros(7, np.float32)
        action[axis] = sign * (CLOSING if axis == 6 else turn if axis > 2 else self._step)
        before = ExitStack()
        before.enter_context(self._world.undone())
        self._back.append(before.close)
        move = self._world.arm.move(action)
        flags = ("clipped", "joint_limit", "contact")
        self._happened = tuple(flag.replace("_", " ") for flag in flags if getattr(move, flag))
        self._said = ""

    def _take(self) -> None:
        tool = self._world.arm.tool
        if not np.all((tool >= WORKSPACE_LOW - TOLERANCE) & (tool <= WORKSPACE_HIGH + TOLERANCE)):
            self._said = "No goal: outside of the workspace."
            return
        self.views.append(View(image=self._world.image(self._camera), pose=self._world.arm.pose))
        self._back.append(self.views.pop)
        self._said = f"View {len(self.views)} taken."

    def _resize(self, step: float) -> None:
        self._step = step
        self._said = f"One key moves {1000 * step:g} mm."
