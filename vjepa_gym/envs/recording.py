"""One behaviour in one environment, written down as an `Episode`."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, cast

import gymnasium as gym
import numpy as np

from vjepa_gym.envs.behaviours import make_behaviour
from vjepa_gym.envs.factors import factors
from vjepa_gym.envs.rows import ClockedRows, SettledRows
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.sim import assets
from vjepa_gym.sim.labs import lab_name
from vjepa_gym.types import Episode

TRACE = {
    "successes": "is_success",
    "distances": "distance",
    "contacts": "contact",
    "clipped": "clipped",
    "joint_limits": "joint_limit",
    "bumped": "bumped",
}
"""What an episode tells of each of its moves, and what an environment calls it."""


def record_episode(
    env: gym.Env, behaviour: str, *, seed: int, steps: int, record_hz: float | None = None
) -> Episode:
    """Return `steps` moves of a behaviour; the same arguments give the same episode.

    What happens does not depend on `record_hz`, but for that the arm then stays until the clock's
    next tick after the last move. Success is that at the end of the last move.

    Args:
        env: A tabletop environment whose episodes have at least `steps` steps
            (`gym.make(..., horizon=steps)`).
        behaviour: Who moves; see `behaviours.BEHAVIOURS`.
        seed: Everything that is drawn is a function of it.
        steps: How many moves.
        record_hz: Rows a second, within the moves, of the simulation's time; None for a row
            whenever a move has settled. The command of such a row leads from the pose measured
            there to the one that the arm is told to have at the next, errors of `actuation_noise`
            included.

    Raises:
        UnknownNameError: There is no such behaviour.
        EpisodeOverError: The environment's episodes are shorter.
        ValueError: The physics has no such rate.
    """
    tabletop = cast("TabletopEnv", env.unwrapped)
    observation, begun = tabletop.reset(seed=seed, options={"goal_images": False})
    # The environment drew the episode from `seed`; what is done in it is drawn apart.
    rng = np.random.default_rng([seed, 1])
    actions = make_behaviour(behaviour, tabletop.world, tabletop.task, rng, steps)
    if record_hz is None:
        rows = SettledRows(tabletop, observation)
    else:
        rows = ClockedRows(tabletop, observation, record_hz)
    rows.follow(actions, steps)
    return Episode(
        commands=rows.commands,
        poses=rows.column("pose"),
        images={name: rows.column(name) for name in tabletop.cameras},
        joints=rows.column("joints"),
        step_seconds=rows.step_seconds,
        cameras=rows.cameras(),
        success=rows.moves[-1]["is_success"],
        task=tabletop.task.description,
        policy=behaviour,
        seed=seed,
        extras={name: rows.column(name) for name in ("object_poses", "sim_state")},
        info=_where(tabletop, begun) | _what_happened(rows),
        record_hz=record_hz,
    )


def _where(env: TabletopEnv, begun: Mapping[str, Any]) -> dict[str, Any]:
    """Return as JSON values where an episode was recorded, and what differed in it."""
    world, variation = env.world, begun["variation"]
    named = {name: factor.names for name, factor in factors(world.lab).items() if factor.names}
    return {
        "env": env.spec.id if env.spec else type(env.task).__name__,
        "lab": lab_name(world.lab),
        "gripper": world.gripper,
        "controller": env.controller,
        "tool_offset": world.arm.gripper.tcp,
        "objects": list(world.objects),
        "goal": begun["goal"]["poses"].tolist(),
        "variation": {name: np.asarray(value).tolist() for name, value in variation.items()},
        "variation_names": {
            name: names[int(variation[name])] for name, names in named.items() if name in variation
        },
        "versions": {
            "vjepa-gym": version("vjepa-gym"),
            "mujoco": version("mujoco"),
            "robosuite": assets.version(),
        },
    }


def _what_happened(rows: SettledRows) -> dict[str, Any]:
    """Return as JSON values what became of each move."""
    return {
        **{
            name: [np.asarray(move[key]).item() for move in rows.moves]
            for name, key in TRACE.items()
        },
        "move_rows": rows.move_rows,
        "move_commands": [move["command"].tolist() for move in rows.moves],
        "move_seconds": [float(move["step_seconds"]) for move in rows.moves],
    }
