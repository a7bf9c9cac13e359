"""The actions that a planner infers from two views, and the matrix that leads from true ones to it.

The study of camera sensitivity of V-JEPA 2 (arXiv 2506.09985, section 11.4): were the matrix the
unit matrix, the model would read off moves along the table as they are; with a camera elsewhere it
comes close to a rotation.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Planner
from vjepa_gym.errors import EvaluationError
from vjepa_gym.world_models.base import Context, WorldModel

PLANNED_TOGETHER = 8
"""Moves whose actions are inferred at once, which bounds memory."""


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """How inferred displacements along the table differ from true ones.

    Attributes:
        matrix: `W`, for which `W true` is nearest to what was inferred, by least squares.
        error: Mean absolute difference of inferred and true ones, over both axes [m].
        remaining: The same of inferred ones and `W true` [m].
        way: How far the moves went, on average [m].
    """

    matrix: Float64[np.ndarray, "2 2"]
    error: float
    remaining: float
    way: float

    @property
    def condition(self) -> float:
        """Condition number of `W`: 1 for a pure rotation, maybe scaled."""
        return float(np.linalg.cond(self.matrix))

    @property
    def rotation(self) -> float:
        """Angle of the rotation nearest to `W`, counter-clockwise [rad].

        It is that by which the camera was carried, as `RotationEstimate.angle`: one that was
        carried clockwise sees moves as the old one would see them turned counter-clockwise.
        """
        w = self.matrix
        return math.atan2(w[1, 0] - w[0, 1], w[0, 0] + w[1, 1])


def compare_actions(
    inferred: Float[np.ndarray, "moves 7"], poses: Float[np.ndarray, "rows 7"]
) -> Inferred:
    """Return how inferred actions differ from those that led from each pose to the next.

    Raises:
        EvaluationError: All moves go along one line, which leaves `W` open.
    """
    found = inferred[:, :2].astype(np.float64)
    true = kinematics.displacements(poses)[:, :2].astype(np.float64)
    solution, _, rank, _ = np.linalg.lstsq(true, found, rcond=1e-3)
    if rank < 2:
        raise EvaluationError("The study needs moves in two directions along the table at least.")
    return Inferred(
        matrix=solution.T,
        error=float(np.abs(found - true).mean()),
        remaining=float(np.abs(found - true @ solution).mean()),
        way=float(np.linalg.norm(true, axis=1).mean()),
    )


@torch.no_grad()
def infer_actions(
    world_model: WorldModel,
    planner: Planner,
    latents: Float[Tensor, "rows tokens dim"],
    poses: Float32[np.ndarray, "rows 7"],
) -> Float32[np.ndarray, "moves 7"]:
    """Return the one action after which each row should look like the next, as the planner sees it.

    Args:
        world_model: What to imagine with.
        planner: Of horizon 1.
        latents: Of what was seen, on the model's device.
        poses: Measured then.

    Raises:
        ValueError: The planner's horizon is another.
        PlanningError: What is predicted is not finite.
    """
    if planner.horizon != 1:
        raise ValueError(f"the planner must have a horizon of 1, got {planner.horizon}")
    measured = torch.from_numpy(poses).to(latents.device, latents.dtype)
    found = []
    for first in range(0, len(latents) - 1, PLANNED_TOGETHER):
        now = torch.arange(first, min(first + PLANNED_TOGETHER, len(latents) - 1))
        context = Context(
            latents=latents[now, None],
            poses=measured[now, None],
            actions=measured.new_zeros(len(now), 0, 7),
        )
        found.append(_infer(world_model, planner, context, latents[now + 1]))
    return np.concatenate(found)


def _infer(
    world_model: WorldModel,
    planner: Planner,
    context: Context,
    after: Float[Tensor, "n tokens dim"],
) -> Float32[np.ndarray, "n 7"]:
    def cost(actions: Float[Tensor, "n samples horizon 7"]) -> Float[Tensor, "n samples"]:
        imagined = world_model.imagine(context, actions).latents
        return (imagined[:, :, -1] - after[:, None]).abs().mean((-2, -1))

    # Every move meets the same random numbers, whichever others it is planned with.
    planner.reset()
    actions = planner.plan(cost, len(after)).actions[:, 0]
    return actions.cpu().numpy().astype(np.float32)
