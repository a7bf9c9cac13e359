"""Labs that the tests of tasks share, and what happens in them."""

from functools import cache

import numpy as np

from vjepa_gym.sim.world import World


@cache
def lab(name="train", gripper="panda", distractors=0):
    return World(image_size=16, lab=name, gripper=gripper, distractors=distractors)


def hand(world, **axes):
    """Move the hand, open or close it."""
    names = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
    world.arm.move(np.array([axes.get(name, 0.0) for name in names], np.float32))


def follow(task, world, steps=None):
    """Let the expert act for as long as is allowed; return its stages and progress."""
    stages, progress = [task.stage(world)], [task.progress(world)]
    for _ in range(sum(task.steps) if steps is None else steps):
        world.arm.move(task.expert(world))
        stages.append(task.stage(world))
        progress.append(task.progress(world))
    return stages, progress


def solved_by_holding_still(task, world, seeds=20):
    """Return how many episodes are solved by a hand that does not move."""
    solved = 0
    for seed in range(seeds):
        task.begin(world, np.random.default_rng(seed))
        assert not task.success(world)
        hand(world)
        solved += task.success(world)
    return solved
