"""One behaviour in one environment, written down as an `Episode`."""

from importlib.metadata import version
from typing import Any, cast

import gymnasium as gym
import numpy as np

from vjepa_gym.envs.behaviours import make_behaviour
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.sim.labs import lab_name
from vjepa_gym.sim.world import World
from vjepa_gym.types import Episode, Observation


def record_episode(env: gym.Env, behaviour: str, *, seed: int, steps: int) -> Episode:
    """Return `steps` moves of a behaviour; the same arguments give the same episode.

    Args:
        env: A tabletop environment whose episodes have at least `steps` steps
            (`gym.make(..., horizon=steps)`).
        behaviour: Who moves; see `behaviours.BEHAVIOURS`.
        seed: Everything that is drawn is a function of it.
        steps: How many moves.

    Raises:
        UnknownNameError: There is no such behaviour.
        EpisodeOverError: The environment's episodes are shorter.
    """
    tabletop = cast("TabletopEnv", env.unwrapped)
    observation, info = tabletop.reset(seed=seed, options={"goal_images": False})
    # The environment drew the episode from `seed`; what is done in it is drawn apart.
    rng = np.random.default_rng([seed, 1])
    actions = make_behaviour(behaviour, tabletop.world, tabletop.task, rng, steps)
    observations, joints = [observation], [tabletop.world.arm.joints]
    extras, moves = [_privileged(tabletop.world)], []
    for _ in range(steps):
        observation, *_, move = tabletop.step(next(actions))
        observations.append(observation)
        moves.append(move)
        joints.append(tabletop.world.arm.joints)
        extras.append(_privileged(tabletop.world))
    return Episode(
        commands=np.stack([move["command"] for move in moves]),
        poses=np.stack([seen["pose"] for seen in observations]),
        images=_videos(observations, tabletop.cameras),
        joints=np.stack(joints),
        step_seconds=np.array([move["step_seconds"] for move in moves], np.float32),
        cameras={name: tabletop.world.calibration(name) for name in tabletop.cameras},
        success=moves[-1]["is_success"],
        task=tabletop.task.description,
        policy=behaviour,
        seed=seed,
        extras={key: np.stack([row[key] for row in extras]) for key in extras[0]},
        info={
            "env": env.spec.id if env.spec else type(tabletop.task).__name__,
            "lab": lab_name(tabletop.world.lab),
            "gripper": tabletop.world.gripper,
            "tool_offset": tabletop.world.arm.gripper.tcp,
            "objects": list(tabletop.world.objects),
            "goal": info["goal"]["poses"].tolist(),
            "variation": {name: np.asarray(v).tolist() for name, v in info["variation"].items()},
            "successes": [bool(move["is_success"]) for move in moves],
            "versions": {name: version(name) for name in ("vjepa-gym", "mujoco", "robosuite")},
        },
    )


def _videos(seen: list[Observation], cameras: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the frames of each camera; the first one's are called `image` in observations."""
    keys = ("image", *cameras[1:])
    rows = cast("list[dict[str, Any]]", seen)
    return {
        camera: np.stack([row[key] for row in rows])
        for camera, key in zip(cameras, keys, strict=True)
    }


def _privileged(world: World) -> dict[str, np.ndarray]:
    """Return what no camera shows exactly: object poses and the whole state of the simulator."""
    return {
        "object_poses": np.stack([world.object_pose(name) for name in world.objects]),
        "sim_state": world.state,
    }
