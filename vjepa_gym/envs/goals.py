"""Goal images: the expert does the task in a cloned state, seen by the episode's own camera."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.envs.task import Task
from vjepa_gym.sim.world import World

KEPT = 32
"""Demonstrations that are remembered: agents that are compared begin in the same states."""


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """What the expert made of an episode.

    Attributes:
        images: What is to be seen, view by view; the last is the goal.
        poses: Where the hand was then.
        steps: How many moves it took.
        solved: Whether the task was done within the time allowed; if not, views that were not
            reached show where the expert had come to.
    """

    images: UInt8[np.ndarray, "k height width 3"]
    poses: Float32[np.ndarray, "k 7"]
    steps: int
    solved: bool


class Demonstrator:
    """Has the expert show what is to be done, and takes it back; remembers the last few."""

    def __init__(self, kept: int = KEPT) -> None:
        """Remember `kept` demonstrations."""
        self._kept = kept
        self._shown: OrderedDict[bytes, Demonstration] = OrderedDict()

    def __call__(self, task: Task, world: World, variation: Mapping[str, Any]) -> Demonstration:
        """Return the demonstration from where the lab is now; nothing moves."""
        key = _key(task, world, variation)
        if key not in self._shown:
            self._shown[key] = demonstrate(task, world)
            if len(self._shown) > self._kept:
                self._shown.popitem(last=False)
        self._shown.move_to_end(key)
        return self._shown[key]


def demonstrate(task: Task, world: World) -> Demonstration:
    """Let the expert do the task in a copy of the state, looking whenever a view is reached."""
    views: list[tuple[np.ndarray, np.ndarray]] = []
    wanted, allowed, steps = len(task.steps), sum(task.steps), 0
    with world.undone():
        while True:
            views += [_look(world)] * (task.stage(world) - len(views))
            if len(views) == wanted or steps == allowed:
                break
            world.arm.move(task.expert(world))
            steps += 1
        solved = task.success(world)
        views += [_look(world)] * (wanted - len(views))
    images, poses = zip(*views, strict=True)
    return Demonstration(images=np.stack(images), poses=np.stack(poses), steps=steps, solved=solved)


def _look(world: World) -> tuple[np.ndarray, np.ndarray]:
    return world.image(), world.arm.pose


def _key(task: Task, world: World, variation: Mapping[str, Any]) -> bytes:
    """Return what a demonstration depends on, made short."""
    digest = hashlib.sha256(world.state.tobytes())
    digest.update(task.desired_goal(world).tobytes())
    digest.update(repr((type(task), task.description, task.steps)).encode())
    for name in sorted(variation):
        digest.update(name.encode() + np.asarray(variation[name]).tobytes())
    return digest.digest()
