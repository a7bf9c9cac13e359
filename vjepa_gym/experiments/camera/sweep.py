"""The camera is carried round: at each place, the study, the estimate, and episodes."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from vjepa_gym.agents.action_space import Gripper
from vjepa_gym.agents.camera_rotation import RotationEstimate, rotation_from_moves
from vjepa_gym.agents.planners import make_planner
from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.camera.inferred import Inferred, compare_actions, infer_actions
from vjepa_gym.experiments.camera.moves import random_moves
from vjepa_gym.experiments.camera.result import CORRECTED, PLAIN, Position, Sweep
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.rollout import EpisodeRecord, rollout
from vjepa_gym.experiments.settings import EnvConfig, PlanningConfig

OnPart = Callable[[int, str], None]
"""Called with how many parts are done, and what is done now."""


def parts(job: EvaluateConfig) -> int:
    """Return how many parts a sweep has: a study, the estimates, and episodes."""
    camera = job.camera
    return len(camera.studied) * (1 + camera.trials) + 2 * len(camera.driven) * job.episodes


def run_sweep(
    job: EvaluateConfig,
    *,
    env: EnvConfig,
    agent: Any,
    factory: Factory,
    configuration: Mapping[str, Any],
    on_part: OnPart | None = None,
) -> Sweep:
    """Measure all that `job.camera` asks for.

    Args:
        job: How much is measured.
        env: Where.
        agent: The settings of the agent.
        factory: Makes it, and has its world model.
        configuration: What the run was told, for the page.
        on_part: Called after each part; see `parts`.

    Raises:
        EvaluationError: The sweep makes no sense with these settings.
        VariationError: The camera cannot stand at one of the places.
    """
    camera = job.camera
    _check(job, env, agent, factory)
    longest = max(camera.steps - 1, camera.moves)
    alone = {**env.keywords(), "horizon": longest, "goal_images": False}
    with (
        closing(gym.make(env.id, disable_env_checker=True, **alone)) as mover,
        closing(environments(env, job.num_envs, processes=job.processes)) as envs,
    ):
        _check_places(mover, [camera.trained_azimuth + offset for offset in camera.studied])
        measuring = _Measuring(job, agent, factory, mover, envs, on_part)
        positions = [measuring.position(offset) for offset in camera.studied]
    return Sweep(
        title=f"{env.id}: the camera carried round",
        positions=positions,
        facts=factory.facts(agent),
        configuration=configuration,
    )


def _check(job: EvaluateConfig, env: EnvConfig, agent: Any, factory: Factory) -> None:
    """Refuse what makes no sense, before anything is loaded."""
    if not isinstance(agent, PlanningConfig) or factory.config.dynamics != "learned":
        raise EvaluationError(
            "A sweep of the camera is about plans with a learned world model: use agent=planning "
            "with world_model.dynamics=learned."
        )
    if agent.camera_turn:
        raise EvaluationError(
            "A sweep of the camera corrects plans itself: leave agent.camera_turn at 0."
        )
    if env.variation.camera_azimuth is not None:
        raise EvaluationError(
            "A sweep of the camera says where it stands: leave env.variation.camera_azimuth alone, "
            "and give job.camera.trained_azimuth if the model was trained elsewhere."
        )
    if job.goal:
        raise EvaluationError("A goal file shows one camera's view: a sweep makes goals anew.")


def _check_places(env: gym.Env[Any, Any], azimuths: list[float]) -> None:
    space = getattr(env.unwrapped, "variation_space", None)
    if not isinstance(space, gym.spaces.Dict) or "camera_azimuth" not in space.spaces:
        raise EvaluationError("Only the tabletop environments have a camera to be carried round.")
    possible = space.spaces["camera_azimuth"]
    assert isinstance(possible, gym.spaces.Box)
    low, high = float(possible.low), float(possible.high)
    for azimuth in azimuths:
        if not low <= azimuth <= high:
            raise EvaluationError(
                f"The camera's azimuth can be from {low:g} to {high:g} degrees, got {azimuth:g}: "
                "choose smaller job.camera.offsets."
            )


@dataclass
class _Measuring:
    job: EvaluateConfig
    agent: PlanningConfig
    factory: Factory
    mover: gym.Env[Any, Any]
    envs: gym.vector.VectorEnv
    told: OnPart | None
    done: int = 0

    def position(self, offset: float) -> Position:
        """Return what is measured with the camera at one place."""
        camera = self.job.camera
        azimuth = camera.trained_azimuth + offset
        inferred = self._infer(azimuth)
        self._count(f"{offset:+g} deg: inferred")
        estimates = []
        for trial in range(camera.trials):
            estimates.append(self._estimate(azimuth, trial))
            self._count(f"{offset:+g} deg: estimated {np.degrees(estimates[-1].angle):+.1f}")
        driven = offset in camera.driven
        return Position(
            offset=offset,
            azimuth=azimuth,
            inferred=inferred,
            estimates=tuple(estimates),
            evaluation=self._drive(azimuth, estimates[0]) if driven else None,
        )

    def _count(self, now: str) -> None:
        self.done += 1
        if self.told:
            self.told(self.done, now)

    def _infer(self, azimuth: float) -> Inferred:
        camera, model = self.job.camera, self.factory.model
        seed = camera.moves_seed - 1
        moves = random_moves(self.mover, azimuth, camera.steps - 1, seed=seed)
        config = replace(self.agent.planner, horizon=1, gripper=Gripper.still)
        planner = make_planner(config, seed=self.agent.seed, device=model.device)
        latents = model.encode(torch.from_numpy(moves.images))
        return compare_actions(infer_actions(model, planner, latents, moves.poses), moves.poses)

    def _estimate(self, azimuth: float, trial: int) -> RotationEstimate:
        camera = self.job.camera
        seed = camera.moves_seed + trial
        moves = random_moves(self.mover, azimuth, camera.moves, seed=seed)
        return rotation_from_moves(self.factory.model, moves.images, moves.poses)

    def _drive(self, azimuth: float, estimate: RotationEstimate) -> Evaluation:
        """Run episodes without and with the correction, on the same seeds."""
        turns = {PLAIN: 0.0, CORRECTED: float(np.degrees(estimate.angle))}
        first, near = self.job.first_seed, self.job.near_distance
        records = {}
        for name, turn in turns.items():
            records[name] = rollout(
                self.envs,
                self.factory.agent(replace(self.agent, camera_turn=turn), self.envs),
                range(first, first + self.job.episodes),
                record_frames=False,
                options={"variation": {"camera_azimuth": azimuth}},
                on_episode=partial(self._record, f"{azimuth:g} deg, {name}"),
            )
        return Evaluation(
            title=f"camera at {azimuth:g} degrees",
            records=records,
            near_distance=near,
            thresholds=(near,),
            facts={},
            configuration={},
        )

    def _record(self, now: str, record: EpisodeRecord) -> None:
        del record
        self._count(now)
