"""One behaviour in one environment, written down as an `Episode`."""

from importlib.metadata import version
from typing import cast

import gymnasium as gym
import numpy as np

from vjepa_gym.envs.behaviours import make_behaviour
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.sim.world import OBJECTS, World
from vjepa_gym.types import Episode


def record_episode(env: gym.Env, behaviour: str, *, seed: int, steps: int) -> Episode:
    """Return `steps` moves of a behaviour; the same arguments give the same episode.

    Raises:
        UnknownNameError: There is no such behaviour.
    """
    tabletop = cast("TabletopEnv", env.unwrapped)
    world = tabletop.world
    observation, info = tabletop.reset(seed=seed, options={"goal_images": False})
    # The environment drew the episode from `seed`; what is done in it is drawn apart.
    rng = np.random.default_rng([seed, 1])
    actions = make_behaviour(behaviour, world, rng, info["goal"]["poses"][-1])
    images, poses, joints = [observation["image"]], [observation["pose"]], [world.arm.joints]
    extras = [_privileged(world)]
    commands, seconds = [], []
    for _ in range(steps):
        move = world.arm.move(next(actions))
        commands.append(move.command)
        seconds.append(move.seconds)
        images.append(world.image())
        poses.append(world.arm.pose)
        joints.append(world.arm.joints)
        extras.append(_privileged(world))
    return Episode(
        commands=np.stack(commands),
        poses=np.stack(poses),
        images={"left": np.stack(images)},
        joints=np.stack(joints),
        step_seconds=np.array(seconds, np.float32),
        cameras={"left": world.calibration("left")},
        success=tabletop.task.success(world),
        task=tabletop.task.description,
        policy=behaviour,
        seed=seed,
        extras={key: np.stack([row[key] for row in extras]) for key in extras[0]},
        info={
            "env": env.spec.id if env.spec else type(tabletop.task).__name__,
            "objects": list(OBJECTS),
            "goal": info["goal"]["poses"].tolist(),
            "versions": {name: version(name) for name in ("vjepa-gym", "mujoco", "robosuite")},
        },
    )


def _privileged(world: World) -> dict[str, np.ndarray]:
    """Return what no camera shows exactly: object poses and the whole state of the simulator."""
    return {
        "object_poses": np.stack([world.object_pose(name) for name in OBJECTS]),
        "sim_state": world.state,
    }
