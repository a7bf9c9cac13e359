"""The control loop: look, decide, move, for several robots at once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from vjepa_gym.types import Agent, Goal, Image

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
        goal_image: What was to be seen at the end.
    """

    seed: int
    success: bool
    success_once: bool
    solved_at_start: bool
    distances: Float64[np.ndarray, " observations"]
    actions: Float32[np.ndarray, "steps 7"]
    seconds: Float64[np.ndarray, " steps"]
    frames: UInt8[np.ndarray, "observations height width 3"] | None
    goal_image: Image

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures, as JSON values in metres and seconds."""
        return {
            "seed": self.seed,
            "success": self.success,
            "success_once": self.success_once,
            "solved_at_start": self.solved_at_start,
            "initial_distance": float(self.distances[0]),
            "final_distance": float(self.distances[-1]),
            "distances": self.distances.round(5).tolist(),
            "actions": self.actions.round(5).tolist(),
            "seconds": self.seconds.round(5).tolist(),
        }


def rollout(
    envs: gym.vector.VectorEnv,
    agent: Agent,
    seeds: Sequence[int],
    *,
    solved_within: float = 0.0,
    record_frames: bool = True,
    on_episode: OnEpisode | None = None,
) -> list[EpisodeRecord]:
    """Run one episode a seed, as many at a time as there are environments.

    Args:
        envs: Environments of one task, with autoreset disabled and the same time limit.
        agent: Who drives them. It is given the goal's poses only if it says `privileged`.
        seeds: One an episode.
        solved_within: An episode that starts nearer to its goal than this [m] has nothing to solve.
        record_frames: Whether to keep what was seen.
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
        for record in _run_together(envs, agent, batch, solved_within, record_frames):
            records.append(record)
            if on_episode:
                on_episode(record)
    return records


def _run_together(
    envs: gym.vector.VectorEnv,
    agent: Agent,
    seeds: Sequence[int],
    solved_within: float,
    record_frames: bool,
) -> list[EpisodeRecord]:
    # Environments left over at the end repeat the last seed; nobody looks at them.
    everyone = [*seeds, *[seeds[-1]] * (envs.num_envs - len(seeds))]
    # Every vector environment takes one seed each, though their base class does not say so.
    observation, info = envs.reset(seed=everyone)  # pyright: ignore[reportArgumentType]
    goal = _goal(info["goal"])
    agent.reset(goal if getattr(agent, "privileged", False) else goal.images_only())
    distances, frames = [info["distance"]], [observation["image"]]
    successes, actions, seconds = [], [], []
    running = True
    while running:
        began = time.perf_counter()
        action = agent.act(observation)
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
            success_once=any(bool(step[i]) for step in successes),
            solved_at_start=bool(distances[0][i] <= solved_within),
            distances=np.array([step[i] for step in distances], np.float64),
            actions=np.stack([step[i] for step in actions]).astype(np.float32),
            seconds=np.array(seconds),
            frames=np.stack([frame[i] for frame in frames]) if record_frames else None,
            goal_image=goal.images[i, -1],
        )
        for i, seed in enumerate(seeds)
    ]


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
