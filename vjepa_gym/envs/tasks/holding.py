"""What is true of an object and the hand: held, standing, still; judged by trying it out."""

import numpy as np
from jaxtyping import Float, Float32

from vjepa_gym.envs.experts import way_to_grip
from vjepa_gym.sim.world import World

TEST_LIFT, FOLLOWS = 0.03, 0.02
"""A grasp is tested by lifting the hand; the object has to come along at least this far [m]."""
HOLDING = 0.5
"""How long things are left alone before they are judged [s]: two control steps."""
GRIPPING = 0.05
"""How long fingers are given to press on what was put between them [s]."""
UPRIGHT = np.radians(20.0)
"""What is tilted more than this does not stand [rad]; a cup tips over at 35 degrees."""
ON_TABLE = 0.01
"""What stands on the table has its bottom this near to it [m], and not on something else."""
STILL = 0.01
"""What moves slower than this is at rest [m/s]."""


def nearness(distance: float) -> float:
    """Return 1 at no distance and less the farther, 0.76 at 5 cm and 0.24 at 20 cm."""
    return float(1.0 - np.tanh(5.0 * distance))


def centre(world: World, name: str) -> Float32[np.ndarray, "3"]:
    """Return where an object's centre is [m]."""
    return world.object_pose(name)[:3].astype(np.float32)


def to_grip(world: World, name: str) -> float:
    """Return how far the tool centre is from where it would grip an object [m]."""
    return float(np.linalg.norm(way_to_grip(world, name)))


def follows_a_lift(world: World, name: str) -> bool:
    """Return whether an object that both fingers touch comes along when the hand is lifted."""
    if not world.grasped(name):
        return False
    with world.undone():
        before = world.object_pose(name)[2]
        world.arm.move(np.array([0, 0, TEST_LIFT, 0, 0, 0, 0], np.float32))
        return world.grasped(name) and bool(world.object_pose(name)[2] - before >= FOLLOWS)


def stays_in_hand(world: World, name: str) -> bool:
    """Return whether an object that both fingers touch is still there, and as high, in a while."""
    if not world.grasped(name):
        return False
    with world.undone():
        before = world.object_pose(name)[2]
        world.settle(HOLDING)
        sunk = before - world.object_pose(name)[2]
        return world.grasped(name) and bool(sunk < TEST_LIFT - FOLLOWS)


def stands(world: World, name: str) -> bool:
    """Return whether an object stands upright on the table at this moment."""
    bottom = world.object_pose(name)[2] - world.objects[name].height / 2
    return bool(world.tilt(name) < UPRIGHT and abs(bottom) < ON_TABLE)


def lowest(world: World, name: str) -> float:
    """Return about how high the lowest point of an object is above the table [m]."""
    shape, tilt = world.objects[name], world.tilt(name)
    reach = shape.height * abs(np.cos(tilt)) + shape.grip_width * np.sin(tilt)
    return float(world.object_pose(name)[2] - reach / 2)


def put_into_hand(world: World, name: str, tool: Float[np.ndarray, "3"]) -> None:
    """Place the arm with an object in its closed hand, the tool centre at `tool` [m].

    Raises:
        WorkspaceError: The arm cannot be there.
    """
    shape = world.objects[name]
    world.arm.place(world.arm.flange_at(tool))
    world.put(name, tool + below_tool(world, name), yaw=0.0)
    world.arm.grip(shape.grip_width)
    world.settle(GRIPPING)


def below_tool(world: World, name: str) -> Float[np.ndarray, "3"]:
    """Return where an upright object's centre is, seen from the tool centre that grips it [m]."""
    shape = world.objects[name]
    return np.array([0.0, 0.0, shape.height / 2 - shape.grip_height])


def held_closedness(world: World, name: str) -> float:
    """Return what the closedness of a hand measures that holds an object."""
    return world.arm.gripper.closedness_at(world.objects[name].grip_width)
