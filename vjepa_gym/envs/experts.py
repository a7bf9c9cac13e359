"""What the experts of the tasks are made of: moves that are pure functions of the present state.

Nothing is remembered from one move to the next, so that an expert goes on from wherever it finds
the lab: after a push, after a fall, after somebody else's move.
"""

import numpy as np
from jaxtyping import Float

from vjepa_gym.kinematics import difference
from vjepa_gym.sim.objects import Box, Can, Cup
from vjepa_gym.sim.solids import TURN
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import ACTION_LIMIT, MAX_GRIPPER
from vjepa_gym.types import Action, Pose

CLOSED = MAX_GRIPPER
"""How far the hand is closed on an object: one step's worth, which opens in one step again."""
ROOM = 0.012
"""How much wider than the object the hand must be open before it goes down on it [m]."""
SLACK = np.array([0.015, 0.012])
"""How far from where it should the hand may grip an object, sideways and up or down [m]."""
EDGE = 0.025
"""Gripped farther than this from where it should, an object is at the edge of the pads [m]."""
ABOVE = 0.03
"""The tool centre waits this far above the top of what it is about to grip [m]: the finger tips,
which reach 1 cm below it, are then clear."""
TURNED = 0.25
"""How exactly the hand is turned before it goes down on an object [rad]: one move's worth."""
CLEARANCE = 0.06
"""How high the bottom of an object is carried above the table [m]."""
SIDEWAYS = 0.015
"""Farther than this from its goal, seen from above, an object is carried; nearer, lowered [m]."""
LIES = np.cos(np.pi / 4)
"""Height of an object's own axis over its length: below this it has fallen over."""
RETREAT = 0.075
"""How far the hand goes up from where it let go [m]: one move."""


def toward(world: World, pose: Pose) -> Action:
    """Return the move towards a pose of the flange: straight, and as far as one action goes."""
    action = difference(world.arm.pose, pose)
    for part in (slice(0, 3), slice(3, 6)):
        action[part] /= max(1.0, float(np.max(np.abs(action[part]) / ACTION_LIMIT[part])))
    # Measured closedness stops at what is held: the commanded one is what a hand goes on from.
    action[6] = pose[6] - world.arm.closedness
    return np.clip(action, -ACTION_LIMIT, ACTION_LIMIT)


def holds(world: World, name: str) -> bool:
    """Return whether the hand has an object, and well enough unless it is in the air already."""
    if world.arm.closedness == 0.0 or not world.grasped(name):
        return False
    above = world.object_pose(name)[2] - world.objects[name].height / 2
    return bool(above > 0.01 or np.linalg.norm(way_to_grip(world, name)[:2]) < EDGE)


def pick(world: World, name: str) -> Action:
    """Return the next move of an open hand that goes above an object, down on it, and closes."""
    goal, arm, shape = grip_pose(world, name), world.arm, world.objects[name]
    if arm.closedness > 0.0 and world.grasped(name):
        return _shift(world, np.zeros(3), -arm.closedness)
    offset = way_to_grip(world, name)
    turn = np.abs(difference(arm.pose, goal)[3:6]).max()
    room = arm.gripper.width(arm.closedness) - shape.grip_width
    aside, up = float(np.linalg.norm(offset[:2])), abs(float(offset[2]))
    if aside < SLACK[0] and up < SLACK[1] and turn < TURNED / 2:
        return _close(world)
    # Along the way of the fingers there is only as much room as they are open.
    way = np.array([-np.sin(goal[5] + TURN), np.cos(goal[5] + TURN)])
    aligned = aside < SLACK[0] and abs(way @ offset[:2]) < 0.4 * room
    if aligned and turn < TURNED and room > ROOM:
        return toward(world, goal)
    # Never sideways through the object: up first.
    above = goal.copy()
    above[2] += max(0.0, shape.height - shape.grip_height) + ABOVE
    if above[2] - arm.pose[2] > SLACK[1] and not aligned:
        above[:2] = arm.pose[:2]
    return toward(world, above)


def carry(world: World, name: str, goal: Float[np.ndarray, "3"]) -> Action:
    """Return the next move of a hand that brings an object's centre to a place [m] and holds it.

    It is lifted off the table first, carried, and lowered last.
    """
    position = world.object_pose(name)[:3]
    offset = np.asarray(goal, np.float64) - position
    if np.linalg.norm(offset[:2]) > SIDEWAYS:
        carried = world.objects[name].height / 2 + CLEARANCE
        offset[2] = max(goal[2], carried) - position[2]
        if position[2] < carried - 0.02:
            offset[:2] = 0.0
    return _shift(world, offset)


def let_go(world: World, name: str) -> Action:
    """Return the next move of a hand that opens around an object, then goes up, then waits."""
    if world.arm.closedness > 0.0:
        return _shift(world, np.zeros(3), -world.arm.closedness)
    up = grip_pose(world, name)[2] + RETREAT - world.arm.pose[2]
    return _shift(world, np.array([0.0, 0.0, max(0.0, up)]))


def grip_pose(world: World, name: str) -> Pose:
    """Return the pose of the flange, hand open, at which the hand closes on an object."""
    position, shape = world.object_pose(name)[:3], world.objects[name]
    up = _axes(world, name)[:, 2]
    # What has fallen over is gripped at its middle.
    higher = (shape.grip_height - shape.height / 2) * (up[2] > LIES)
    return world.arm.flange_at(position + higher * up, yaw=_hand_yaw(world, name))


def way_to_grip(world: World, name: str) -> Float[np.ndarray, "3"]:
    """Return the way from the tool centre to where it would grip an object [m]."""
    arm = world.arm
    return (arm.tool_centre(grip_pose(world, name)) - arm.tool).astype(np.float64)


def _close(world: World) -> Action:
    closedness = world.arm.closedness
    # A thin thing needs more than the first step; a hand that closed on nothing opens again.
    further = CLOSED if closedness < CLOSED else 1.0
    return _shift(world, np.zeros(3), further - closedness if closedness < 1.0 else -MAX_GRIPPER)


def _shift(world: World, offset: np.ndarray, closing: float = 0.0) -> Action:
    """Return the move by `offset` [m] that keeps the hand pointing down, turned as it is."""
    arm = world.arm
    goal = arm.flange_at(arm.tool + offset, yaw=float(arm.pose[5]))
    goal[6] = arm.closedness + closing
    return toward(world, goal)


def _hand_yaw(world: World, name: str) -> float:
    """Return how the hand is turned that grips an object, the nearest to how it is now [rad]."""
    axes, shape, now = _axes(world, name), world.objects[name], float(world.arm.pose[5])
    if axes[2, 2] < LIES:
        # Fingers on both sides of the axis along which it lies.
        yaw, symmetry = np.arctan2(axes[1, 2], axes[0, 2]) - TURN, np.pi
    elif isinstance(shape, Can) or (isinstance(shape, Cup) and not shape.handle):
        return 0.0
    else:
        square = isinstance(shape, Box) and np.isclose(shape.size[0], shape.size[1])
        yaw, symmetry = np.arctan2(axes[1, 0], axes[0, 0]), np.pi / 2 if square else np.pi
    return float(yaw + symmetry * np.round((now - yaw) / symmetry))


def _axes(world: World, name: str) -> Float[np.ndarray, "3 3"]:
    """Return an object's axes as columns."""
    return world.data.body(name).xmat.reshape(3, 3)
