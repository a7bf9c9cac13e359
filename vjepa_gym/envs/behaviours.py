"""How data is made: behaviours that see the simulator's state and choose metric displacements.

A world model has to see what actions do, not only what succeeds: a part of the data is scripted,
a part is disturbed, a part plays with the objects, a part is random (compare OGBench's `noisy` and
`play` data, arXiv 2410.20092).
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeAlias

import numpy as np

from vjepa_gym.envs.placement import REGION_HIGH, REGION_LOW, flange_at
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.kinematics import difference
from vjepa_gym.sim.arm import tool_centre
from vjepa_gym.sim.world import OBJECTS, World
from vjepa_gym.spaces import MAX_GRIPPER, MAX_ROTATION, MAX_TRANSLATION
from vjepa_gym.types import Action, Pose

Behaviour: TypeAlias = Iterator[Action]
"""Yields one action after another; the lab is looked at anew for each."""

ROAM_LOW = REGION_LOW - [0.03, 0.05, 0.07]
ROAM_HIGH = REGION_HIGH + [0.04, 0.05, 0.03]
"""Where the tool centre wanders [m]: a little beyond where it is asked to reach."""
ARRIVED = 0.015
"""A waypoint nearer than this is reached [m]."""


def scripted(world: World, rng: np.random.Generator, goal: Pose) -> Behaviour:
    """Go to the goal, then from one random place to the next, straight and as fast as allowed."""
    waypoints = chain([tool_centre(goal)], _anywhere(rng))
    return _follow(world, waypoints)


def noisy(world: World, rng: np.random.Generator, goal: Pose) -> Behaviour:
    """Do as `scripted`, disturbed by correlated noise; now and then open or close the hand."""
    scale = rng.uniform(0.01, 0.04)
    noise = _ornstein_uhlenbeck(rng, scale)
    for action, disturbance in zip(scripted(world, rng, goal), noise, strict=False):
        action[:3] = np.clip(action[:3] + disturbance, -MAX_TRANSLATION, MAX_TRANSLATION)
        action[6] = _toggle(world, rng, chance=0.05)
        yield action


def play(world: World, rng: np.random.Generator, goal: Pose) -> Behaviour:
    """Visit the objects: close on them, carry them, let go; often clumsily."""
    del goal
    while True:
        name = OBJECTS[rng.integers(len(OBJECTS))]
        miss = rng.normal(0.0, 0.008, 3)
        place = world.object_pose(name)[:3] + [0.0, 0.0, 0.01] + miss
        above = place + [0.0, 0.0, rng.uniform(0.09, 0.13)]
        yield from _hand(world, 0.0)
        yield from _visit(world, above)
        yield from _visit(world, place)
        yield from _hand(world, 1.0)
        yield from _visit(world, above)
        away = rng.uniform(REGION_LOW, REGION_HIGH)
        yield from _visit(world, away)
        if rng.random() < 0.5:
            yield from _visit(world, np.append(away[:2], place[2] + 0.01))
        yield from _hand(world, 0.0)
        yield from _visit(world, rng.uniform(REGION_LOW, REGION_HIGH))


def random(world: World, rng: np.random.Generator, goal: Pose) -> Behaviour:
    """Drift smoothly at a pace of its own, turn a little, open and close the hand."""
    del goal
    scale = np.exp(rng.uniform(np.log(0.01), np.log(0.06)))
    turns = rng.random() < 0.3
    for drift in _ornstein_uhlenbeck(rng, scale, memory=0.6):
        tool = tool_centre(world.arm.pose)
        outward = ((tool + drift < ROAM_LOW) & (drift < 0)) | (
            (tool + drift > ROAM_HIGH) & (drift > 0)
        )
        action = np.zeros(7, np.float32)
        action[:3] = np.clip(np.where(outward, -drift, drift), -MAX_TRANSLATION, MAX_TRANSLATION)
        if turns:
            back = -0.3 * world.arm.pose[5]
            action[5] = np.clip(rng.normal(back, 0.08), -MAX_ROTATION, MAX_ROTATION)
        action[6] = _toggle(world, rng, chance=0.08)
        yield action


BEHAVIOURS: dict[str, Callable[[World, np.random.Generator, Pose], Behaviour]] = {
    "scripted": scripted,
    "noisy": noisy,
    "play": play,
    "random": random,
}


def make_behaviour(name: str, world: World, rng: np.random.Generator, goal: Pose) -> Behaviour:
    """Return the behaviour of that name for an episode that has just begun.

    Raises:
        UnknownNameError: There is no such behaviour.
    """
    if name not in BEHAVIOURS:
        raise UnknownNameError("behaviour", name, BEHAVIOURS)
    return BEHAVIOURS[name](world, rng, goal)


def _anywhere(rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield rng.uniform(ROAM_LOW, ROAM_HIGH)


def _follow(world: World, waypoints: Iterator[np.ndarray]) -> Behaviour:
    for waypoint in waypoints:
        yield from _visit(world, waypoint)


def _visit(world: World, place: np.ndarray, patience: int = 8) -> Behaviour:
    """Go straight to a place [m] with the tool centre.

    The hand is turned down again if something had tilted it. Gives up after `patience` moves, since
    something may be in the way.
    """
    for _ in range(patience):
        action = difference(world.arm.pose, flange_at(place))
        if np.linalg.norm(place - tool_centre(world.arm.pose)) < ARRIVED:
            return
        action[:3] *= min(1.0, MAX_TRANSLATION / np.abs(action[:3]).max())
        action[3:6] = np.clip(action[3:6], -MAX_ROTATION, MAX_ROTATION)
        action[6] = 0.0
        yield action


def _hand(world: World, closedness: float) -> Behaviour:
    """Open (0) or close (1) the hand in two steps."""
    for _ in range(2):
        action = np.zeros(7, np.float32)
        action[6] = np.clip(closedness - world.arm.closedness, -MAX_GRIPPER, MAX_GRIPPER)
        yield action


def _toggle(world: World, rng: np.random.Generator, chance: float) -> float:
    """Return a change of closedness: mostly none, sometimes towards the other end."""
    if rng.random() >= chance:
        return 0.0
    return MAX_GRIPPER if world.arm.closedness < 0.5 else -MAX_GRIPPER


def _ornstein_uhlenbeck(
    rng: np.random.Generator, scale: float, memory: float = 0.8
) -> Iterator[np.ndarray]:
    """Yield correlated noise in three dimensions with standard deviation `scale`."""
    value = rng.normal(0.0, scale, 3)
    while True:
        yield value
        value = memory * value + np.sqrt(1 - memory**2) * rng.normal(0.0, scale, 3)
