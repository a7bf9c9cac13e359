"""How far a camera was carried round, found from a few moves that the robot made before it.

The moves need not be good for anything. Of all angles, the one is looked for under which a world
model that knows the camera of its training explains best what the moves changed in the view. That
such a camera makes inferred actions wrong by little more than a rotation, which random moves could
calibrate away, V-JEPA 2 says (arXiv 2506.09985, section 11.4) and leaves to others.

Two things make eight moves enough. With the shipped model and a camera at 15 degrees, the plain
error of predicted views gives angles that are wrong by 20 degrees on average:

- The *change* of the view is compared. Predictions of a model that has never seen these
  surroundings are wrong everywhere, and likewise wrong of a hand that holds still (14 degrees).
- Any two views that one move could join count, not only those that one did join (4 to 8 degrees).

A model that was trained with cameras at many places may itself see where the camera stands; what is
found is the rotation that it does not see, which is the one to be corrected.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.agents.turned import PIVOT, TurnedWorldModel
from vjepa_gym.errors import PlanningError
from vjepa_gym.spaces import ACTION_LIMIT
from vjepa_gym.world_models.base import Context, WorldModel

ANGLES = tuple(math.radians(degrees) for degrees in range(-60, 61, 5))
"""Angles that are tried unless told otherwise [rad]."""
LEAST_WAY = 0.01
"""Views that are nearer to each other along the table [m] say nothing about its direction."""
SLACK = 1.1
"""How many times the limit of an action two views may be apart: moves are not exact."""
IMAGINED_TOGETHER = 64
"""Pairs of views that are compared at once, which bounds memory."""


@dataclass(frozen=True, kw_only=True)
class RotationEstimate:
    """How far the camera seems to stand from that of the training.

    Attributes:
        angle: Azimuth of the camera less that of the training's, as far as the model does not see
            it itself; counted as the angle of `TurnedWorldModel`, which it is for [rad].
        angles: Those that were tried [rad].
        errors: How unlike the change that is predicted under each is to the one that was seen: one
            less the cosine of the angle between them, averaged over all pairs of views.
        spread: Standard error of `angle`, by the jackknife over the views [rad]; infinite if there
            are too few, or if the best angle is at an end of those that were tried: then nothing is
            known but that the camera stands at least as far off.
    """

    angle: float
    angles: Float64[np.ndarray, " angles"]
    errors: Float64[np.ndarray, " angles"]
    spread: float


def rotation_from_moves(
    world_model: WorldModel,
    images: UInt8[np.ndarray, "views height width 3"],
    poses: Float32[np.ndarray, "rows 7"],
    *,
    angles: Sequence[float] = ANGLES,
    refine: bool = True,
    pivot: tuple[float, float] = PIVOT,
) -> RotationEstimate:
    """Return how far the camera was carried round, from what it saw of some moves.

    It is for simulation and hardware alike: let the arm make eight moves of some centimetres in any
    directions along the table, and keep an image and the measured pose before and after each.

    Args:
        world_model: Knows the camera of its training.
        images: What was seen before the first move and after each.
        poses: The poses measured then, in the base frame.
        angles: Those that are tried, growing [rad].
        refine: Whether to look between them.
        pivot: Where the camera looks, seen from above [m].

    Raises:
        ValueError: There are not as many images as poses, none of the views are one move along the
            table apart, or the angles make no sense.
        PlanningError: What is predicted is not finite.
    """
    _check(len(images), poses, angles)
    latents = world_model.encode(torch.from_numpy(np.ascontiguousarray(images)))
    return estimate_rotation(world_model, latents, poses, angles=angles, refine=refine, pivot=pivot)


@torch.no_grad()
def estimate_rotation(
    world_model: WorldModel,
    latents: Float[Tensor, "rows tokens dim"],
    poses: Float32[np.ndarray, "rows 7"],
    *,
    angles: Sequence[float] = ANGLES,
    refine: bool = True,
    pivot: tuple[float, float] = PIVOT,
) -> RotationEstimate:
    """Return how far the camera was carried round, from latents of what it saw.

    Args:
        world_model: Knows the camera of its training.
        latents: Of what was seen before the first move and after each, on the model's device.
        poses: As in `rotation_from_moves`, likewise the others.
        angles: Those that are tried, growing [rad].
        refine: Whether to look between them: at the vertex of the parabola through the best angle
            and its neighbours.
        pivot: Where the camera looks, seen from above [m].

    Raises:
        ValueError: As in `rotation_from_moves`.
        PlanningError: What is predicted is not finite.
    """
    pairs = _check(len(latents), poses, angles)
    errors = np.stack(
        [
            _unlike(TurnedWorldModel(world_model, float(angle), pivot), latents, poses, pairs)
            for angle in angles
        ]
    )
    if not np.isfinite(errors).all():
        raise PlanningError("What the world model predicts after the moves is not finite.")
    tried, mean = np.array(angles, np.float64), errors.mean(1)
    return RotationEstimate(
        angle=_least(tried, mean, refine),
        angles=tried,
        errors=mean,
        spread=_jackknife(tried, errors, pairs, refine),
    )


def _check(
    rows: int, poses: Float32[np.ndarray, "rows 7"], angles: Sequence[float]
) -> Int64[np.ndarray, "pairs 2"]:
    """Return which views could be joined by one move."""
    if rows != len(poses):
        raise ValueError(f"Each view needs a pose; got {rows} views and {len(poses)} poses.")
    if len(angles) < 3 or not (np.diff(angles) > 0).all():
        raise ValueError(f"angles must be at least three and grow, got {list(angles)}")
    starts, ends = (index.ravel() for index in np.indices((rows, rows)))
    moves = kinematics.difference(poses[starts], poses[ends])
    near = (np.abs(moves) <= SLACK * ACTION_LIMIT).all(1)
    far = np.linalg.norm(moves[:, :2], axis=1) >= LEAST_WAY
    pairs = np.stack([starts, ends], 1)[near & far]
    if not len(pairs):
        raise ValueError(
            f"No two of the {rows} views are one move apart, from {LEAST_WAY * 100:g} to "
            f"{ACTION_LIMIT[0] * 100:g} cm along the table: make some moves of 3 to 7 cm."
        )
    return pairs.astype(np.int64)


def _unlike(
    world_model: TurnedWorldModel,
    latents: Float[Tensor, "rows tokens dim"],
    poses: Float32[np.ndarray, "rows 7"],
    pairs: Int64[np.ndarray, "pairs 2"],
) -> Float64[np.ndarray, " pairs"]:
    """Return how unlike the predicted change of the view is to the one that was seen."""
    found = []
    for first in range(0, len(pairs), IMAGINED_TOGETHER):
        start, end = pairs[first : first + IMAGINED_TOGETHER].T
        now, after = latents[torch.from_numpy(start)], latents[torch.from_numpy(end)]
        pose = torch.from_numpy(poses[start]).to(latents)
        done = torch.from_numpy(kinematics.difference(poses[start], poses[end])).to(latents)
        context = Context(
            latents=now[:, None], poses=pose[:, None], actions=pose.new_zeros(len(pose), 0, 7)
        )
        # Move, or hold still: what the model is wrong about anyway falls out of the difference.
        either = torch.stack([done, torch.zeros_like(done)], 1)[:, :, None]
        imagined = world_model.imagine(context, either).latents[:, :, 0]
        predicted = (imagined[:, 0] - imagined[:, 1]).flatten(1).double()
        likeness = torch.cosine_similarity(predicted, (after - now).flatten(1).double())
        found.append(1 - likeness)
    return torch.cat(found).cpu().numpy()


def _least(
    angles: Float64[np.ndarray, " angles"], errors: Float64[np.ndarray, " angles"], refine: bool
) -> float:
    """Return where the errors are least, between the angles if they are to be refined."""
    best = int(errors.argmin())
    if not refine or best in (0, len(angles) - 1):
        return float(angles[best])
    near = slice(best - 1, best + 2)
    curve, slope, _ = np.polyfit(angles[near] - angles[best], errors[near], 2)
    return float(angles[best] - slope / (2 * curve)) if curve > 0 else float(angles[best])


def _jackknife(
    angles: Float64[np.ndarray, " angles"],
    errors: Float64[np.ndarray, "angles pairs"],
    pairs: Int64[np.ndarray, "pairs 2"],
    refine: bool,
) -> float:
    """Return the standard error of the best angle, from leaving out one view after the other."""
    views = np.unique(pairs)
    kept = [(pairs != view).all(1) for view in views]
    at_end = int(errors.mean(1).argmin()) in (0, len(angles) - 1)
    if at_end or not all(some.any() for some in kept):
        return math.inf
    without = [_least(angles, errors[:, some].mean(1), refine) for some in kept]
    return float(np.std(without) * math.sqrt(len(views) - 1))
