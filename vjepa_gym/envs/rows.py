"""What is kept of each moment of an episode, and which moments those are."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import numpy as np
from jaxtyping import Float32

from vjepa_gym import kinematics
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.sim.cameras import MOVING
from vjepa_gym.types import Action, Observation


class SettledRows:
    """A row at the beginning, and one whenever a move has settled.

    Attributes:
        moves: What `info` said of each move.
    """

    def __init__(self, env: TabletopEnv, observation: Observation) -> None:
        """Begin with what was seen when the episode did."""
        self.moves: list[dict[str, Any]] = []
        self._env = env
        self._seen: list[dict[str, Any]] = []
        self._add(observation)

    def follow(self, actions: Iterator[Action], steps: int) -> None:
        """Do as many of the actions and keep what comes of them.

        Raises:
            EpisodeOverError: The environment's episodes are shorter.
        """
        for action in islice(actions, steps):
            observation, *_, move = self._env.step(action)
            self.moves.append(move)
            self._add(observation)

    @property
    def commands(self) -> Float32[np.ndarray, "steps 7"]:
        """The displacement that was asked for from each row to the next."""
        return np.stack([move["command"] for move in self.moves])

    @property
    def step_seconds(self) -> Float32[np.ndarray, "steps"]:
        """The time from each row to the next [s]."""
        return np.array([move["step_seconds"] for move in self.moves], np.float32)

    @property
    def move_rows(self) -> list[int]:
        """The row of each move's end."""
        return list(range(1, len(self._seen)))

    def column(self, name: str) -> np.ndarray:
        """Return one thing of every row: `pose`, `joints`, a camera's picture, an extra."""
        return np.stack([row[name] for row in self._seen])

    def cameras(self) -> dict[str, dict[str, np.ndarray]]:
        """Return what each camera measures; the poses of those that move, row by row."""
        measured = {name: self._env.world.calibration(name) for name in self._env.cameras}
        for name in set(MOVING).intersection(measured):
            measured[name]["extrinsics"] = self.column(f"{name}_extrinsics")
        return measured

    def _add(self, observation: Observation) -> None:
        world, cameras = self._env.world, self._env.cameras
        seen = cast("dict[str, Any]", observation)
        pictures = dict(zip(cameras, ("image", *cameras[1:]), strict=True))
        self._seen.append(
            {
                "pose": seen["pose"],
                "joints": world.arm.joints,
                "object_poses": np.stack([world.object_pose(name) for name in world.objects]),
                "sim_state": world.state,
                **{name: seen[key] for name, key in pictures.items()},
                **{
                    f"{name}_extrinsics": world.calibration(name)["extrinsics"]
                    for name in MOVING
                    if name in cameras
                },
            }
        )


class ClockedRows(SettledRows):
    """A row whenever a clock ticks in the simulation, within moves and between them.

    The ticks are at the steps of the physics nearest to whole multiples of the clock's period. The
    last is the first one at or after the end of the last move; until then the arm stays.
    """

    def __init__(self, env: TabletopEnv, observation: Observation, hz: float) -> None:
        """Begin with what was seen when the episode did; the clock ticks `hz` times a second.

        Raises:
            ValueError: The physics has fewer steps a second, or the clock would never tick.
        """
        self._timestep = env.world.model.opt.timestep
        if not 0.0 < hz <= 1.0 / self._timestep:
            raise ValueError(
                f"record_hz must be above 0 and at most {1.0 / self._timestep:g} rows a second, "
                f"one a step of the physics; got {hz:g}."
            )
        self._period = 1.0 / (hz * self._timestep)
        self._step, self._ticks, self._ends = 0, [0], []
        super().__init__(env, observation)

    def follow(self, actions: Iterator[Action], steps: int) -> None:
        """Do as many of the actions and keep what is seen on the way.

        Raises:
            EpisodeOverError: The environment's episodes are shorter.
        """
        world = self._env.world
        with world.watched(self._watch):
            for action in islice(actions, steps):
                *_, move = self._env.advance(action)
                self.moves.append(move)
                self._ends.append(self._step)
            if self._ticks[-1] < self._step:
                world.settle((self._next - self._step) * self._timestep)

    @property
    def commands(self) -> Float32[np.ndarray, "steps 7"]:
        """How far the arm was told to be at each row from where it was at the one before."""
        return kinematics.difference(self.column("pose")[:-1], self.column("set_point")[1:])

    @property
    def step_seconds(self) -> Float32[np.ndarray, "steps"]:
        """The time from each row to the next [s]."""
        return (np.diff(self._ticks) * self._timestep).astype(np.float32)

    @property
    def move_rows(self) -> list[int]:
        """The row nearest to each move's end, a push that came after it included."""
        away = np.abs(np.array(self._ticks)[:, None] - np.array(self._ends))
        return away.argmin(axis=0).tolist()

    @property
    def _next(self) -> int:
        """The step of the physics at which the clock ticks next."""
        return round(len(self._ticks) * self._period)

    def _watch(self) -> None:
        self._step += 1
        if self._step == self._next:
            self._ticks.append(self._step)
            with self._env.world.caught_up():
                self._add(self._env.observe())

    def _add(self, observation: Observation) -> None:
        super()._add(observation)
        self._seen[-1]["set_point"] = self._env.world.arm.set_point
