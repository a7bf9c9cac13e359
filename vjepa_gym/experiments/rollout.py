"""The control loop: look, decide, move, for several robots at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from vjepa_gym.types import Agent, Goal

OnEpisode = Callable[["EpisodeRecord"], None]
"""Called as soon as an episode is over."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """What an agent did in one episode.

    Attributes:
        seed: Start and goal are a function of it.
        success: Whether the task's own predicate held at the end.
        success_once: Whether it ever did.
        solved_at_start: Whether there was nothing to do; such episodes count for nobody.
        distances: How far from done the task was at each observation [m].
        actions: What the agent asked for.
        seconds: Time that each decision took [s]; robots that decide together share it.
        frames: What was seen, if it was recorded.
        goal_images: What was to be seen, view by view.
        goal_steps: Control steps allowed for each view.
        rejected: Starts that the environment's expert could not solve, drawn before this one.
        variation: What differed from the lab as it is.
    """

    seed: int
    success: bool
    success_once: bool
    solved_at_start: bool
    distances: Float64[np.ndarray, " observations"]
    actions: Float32[np.ndarray, "steps 7"]
    seconds: Float64[np.ndarray, " steps"]
    frames: UInt8[np.ndarray, "observations height width 3"] | None
    goal_images: UInt8[np.ndarray, "k height width 3"]
    goal_steps: tuple[int, ...]
    rejected: int = 0
    variation: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures, as JSON values in metres and seconds."""
        return {
            "seed": self.seed,
            "success": self.success,
            "success_once": self.success_once,
            "solved_at_start": self.solved_at_start,
            "rejected": self.rejected,
            "variation": {name: np.round(v, 5).tolist() for name, v in self.variation.items()},
            "initial_distance": _or_none(self.distances[0]),
            "final_distance": _or_none(self.distances[-1]),
            "distances": [_or_none(distance) for distance in self.distances.round(5)],
            "actions": self.actions.round(5).tolist(),
            "seconds": self.seconds.round(5).tolist(),
        }


def rollout(
    envs: gym.vector.VectorEnv,
    agent: Agent,
    seeds: Sequence[int],
    *,
    record_frames: bool = True,
    options: dict[str, Any] | None = None,
    on_episode: OnEpisode | None = None,
) -> list[EpisodeRecord]:
    """Run one episode a seed, as many at a time as there are environments.

    Args:
        envs: Environments of one task, with autoreset disabled and the same time limit.
        agent: Who drives them. It is given the goal's poses, and `info["expert_action"]` if there
            is one, only if it says `privileged`.
        seeds: One an episode.
        record_frames: Whether to keep what was seen.
        options: Given to every reset.
        on_episode: Called with each record, in the order of the seeds.

    Returns:
        One record a seed, in the same order.

    Raises:
        ValueError: Autoreset is not disabled, or some environments end before others.
    """
    mode = envs.metadata.get("autoreset_mode")
    if mode != gym.vector.AutoresetMode.DISABLED:
        raise ValueError(
            f"A rollout restarts its environments itself: make them with "
            f"vector_kwargs={{'autoreset_mode': AutoresetMode.DISABLED}}, got {mode}."
        )
    records: list[EpisodeRecord] = []
    for first in range(0, len(seeds), envs.num_envs):
        batch = seeds[first : first + envs.num_envs]
        for record in _run_together(envs, agent, batch, record_frames, options):
            records.append(record)
            if on_episode:
                on_episode(record)
    return records


def _run_together(
    envs: gym.vector.VectorEnv,
    agent: Agent,
    seeds: Sequence[int],
    record_frames: bool,
    options: dict[str, Any] | None,
) -> list[EpisodeRecord]:
    # Environments left over at the end repeat the last seed; nobody looks at them.
    everyone = [*seeds, *[seeds[-1]] * (envs.num_envs - len(seeds))]
    # Every vector environment takes one seed each, though their base class does not say so.
    observation, info = envs.reset(seed=everyone, options=options)  # pyright: ignore[reportArgumentType]
    start, goal = info, _goal(info["goal"])
    privileged = getattr(agent, "privileged", False)
    agent.reset(goal if privileged else goal.images_only())
    distances, frames = [info["distance"]], [observation["image"]]
    nothing = np.zeros(envs.num_envs, np.int64)
    successes, actions, seconds = [info.get("is_success", nothing)], [], []
    running = True
    while running:
        told = observation | _expert(info) if privileged else observation
        began = time.perf_counter()
        action = agent.act(told)
        seconds.append((time.perf_counter() - began) / envs.num_envs)
        observation, _, terminated, truncated, info = envs.step(action)
        actions.append(action)
        distances.append(info["distance"])
        successes.append(info["is_success"])
        if record_frames:
            frames.append(observation["image"])
        running = _all_running(terminated | truncated)
    return [
        EpisodeRecord(
            seed=seed,
            success=bool(successes[-1][i]),
            success_once=any(bool(step[i]) for step in successes[1:]),
            solved_at_start=bool(successes[0][i]),
            distances=np.array([step[i] for step in distances], np.float64),
            actions=np.stack([step[i] for step in actions]).astype(np.float32),
            seconds=np.array(seconds),
            frames=np.stack([frame[i] for frame in frames]) if record_frames else None,
            goal_images=goal.images[i],
            goal_steps=goal.steps,
            rejected=int(start.get("rejected", nothing)[i]),
            variation=_of_one(start.get("variation", {}), i),
        )
        for i, seed in enumerate(seeds)
    ]


def _or_none(distance: float) -> float | None:
    """Return a distance, None if it is not known: JSON has no word for that."""
    return None if np.isnan(distance) else float(distance)


def _expert(info: dict[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in ("expert_action",) if name in info}


def _of_one(variation: dict[str, Any], i: int) -> dict[str, Any]:
    """Return the variation of one environment; Gymnasium adds masks that say who said what."""
    return {name: values[i] for name, values in variation.items() if not name.startswith("_")}


def _goal(info: dict[str, Any]) -> Goal:
    steps = tuple(int(count) for count in info["steps"][0])
    return Goal(images=info["images"], poses=info.get("poses"), steps=steps)


def _all_running(done: np.ndarray) -> bool:
    if done.any() and not done.all():
        raise ValueError(
            f"Environments that run together must end together, but only {np.flatnonzero(done)} of "
            f"{len(done)} are done; give them the same time limit, and let none terminate early."
        )
    return not done.any()
