"""How well the hand, the gripper and the objects can be read off latents."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from vjepa_gym.learning.probes import Probe, fit_mlp, fit_ridge
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.latents import encoded

MOST_FEATURES = 32_768
"""Features of a frame that readers are given; with those of ViT-g, 360 000, none would fit into the
memory of a GPU, and the more there are, the more rows a reader needs."""
LIFTED = 0.02
"""An object this much above where it lies otherwise is off the table [m]."""
STILL = 0.02
"""A gripper whose closedness deviates less than this does not move."""
NOBODY_SAYS = "the episodes do not say where objects are"
"""Why objects are not read, for most data."""


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Where objects were in each row of some frames.

    Attributes:
        names: Of the objects.
        positions: Of each in each row [m].
    """

    names: tuple[str, ...]
    positions: Float32[np.ndarray, "rows objects 3"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Frames, and where objects were in them.

    Attributes:
        frames: Episodes.
        objects: None if nobody knows.
    """

    frames: Frames
    objects: Objects | None = None

    def split(self, held_out: int) -> tuple["Seen", "Seen"]:
        """Return all but the last `held_out` episodes, and those."""
        parts = self.frames.split(held_out)
        if self.objects is None:
            return Seen(frames=parts[0]), Seen(frames=parts[1])
        names, cut = self.objects.names, len(parts[0].poses)
        where = self.objects.positions[:cut], self.objects.positions[cut:]
        first, rest = (
            Seen(frames=frames, objects=Objects(names=names, positions=positions))
            for frames, positions in zip(parts, where, strict=True)
        )
        return first, rest

    def last(self, episodes: int) -> "Seen":
        """Return the last `episodes`, or all if there are no more."""
        return self if self.frames.num_episodes <= episodes else self.split(episodes)[1]


def probe_figures(
    world_model: WorldModel, fitted: Seen, judged: Seen, generator: torch.Generator
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what `Gates` says of probes, by name, and why some of it was not measured.

    The hand has readers of its own; whatever else there is shares two, a linear one and a small
    network.

    Args:
        world_model: Its latents are read.
        fitted: Episodes that the readers are fitted on.
        judged: Episodes that they are judged on, and have not seen.
        generator: Of the rows that are held back in fitting.
    """
    features, unseen = _features(world_model, fitted.frames), _features(world_model, judged.frames)
    known, truth = (torch.tensor(seen.frames.poses).to(unseen) for seen in (fitted, judged))
    ridge, mlp = _both(features, known[:, :3], generator)
    found = {
        "ridge_error_mm": _error_mm(ridge(unseen), truth[:, :3]),
        "mlp_error_mm": _error_mm(mlp(unseen), truth[:, :3]),
        "chance_error_mm": _error_mm(known[:, :3].mean(0), truth[:, :3]),
    }
    names = () if fitted.objects is None or judged.objects is None else fitted.objects.names
    known, truth = known[:, 6:], truth[:, 6:]
    if names:
        heights = _resting(fitted)
        known = torch.cat([known, _of_objects(fitted, heights).to(known)], 1)
        truth = torch.cat([truth, _of_objects(judged, heights).to(truth)], 1)
    said = torch.stack([read(unseen) for read in _both(features, known, generator)])
    parts = [
        _gripper(said[..., 0], known[:, 0], truth[:, 0]),
        _objects(said, known, truth, names),
        _lifted(said, known, truth, names),
    ]
    reasons: dict[str, str] = {}
    for figures, why in parts:
        found |= figures
        reasons |= why
    return found, reasons


def pooled(tokens: Float[Tensor, "rows tokens dim"]) -> Float[Tensor, "rows fewer dim"]:
    """Return tokens averaged over squares of 2 x 2, as often as needed for `MOST_FEATURES` a row.

    Only square grids with an even side are averaged; others stay as they are.
    """
    side = math.isqrt(tokens.shape[1])
    while tokens.shape[1] * tokens.shape[2] > MOST_FEATURES and side % 2 == 0:
        grid = tokens.unflatten(1, (side // 2, 2, side // 2, 2))
        tokens, side = grid.mean((2, 4)).flatten(1, 2), side // 2
    return tokens


def area_under_curve(scores: Float[Tensor, " rows"], positive: Bool[Tensor, " rows"]) -> float:
    """Return how often a positive row has a higher score than another; ties count half."""
    others = scores[~positive].sort().values
    found = scores[positive]
    below, up_to = (torch.searchsorted(others, found, right=right) for right in (False, True))
    return float((below + up_to).double().mean() / 2 / len(others))


def _features(world_model: WorldModel, frames: Frames) -> Float[Tensor, "rows features"]:
    return torch.cat([pooled(part).flatten(1) for part in encoded(world_model, frames)])


def _both(
    features: Float[Tensor, "rows features"],
    targets: Float[Tensor, "rows targets"],
    generator: torch.Generator,
) -> tuple[Probe, Probe]:
    linear = fit_ridge(features, targets, generator=generator)
    return linear, fit_mlp(features, targets, generator=generator)


def _resting(fitted: Seen) -> Float[np.ndarray, " objects"]:
    """Return the height at which each object lies most often, to a millimetre [m]."""
    assert fitted.objects is not None
    found = []
    for heights in fitted.objects.positions[..., 2].T:
        values, counts = np.unique(heights.round(3), return_counts=True)
        found.append(values[counts.argmax()])
    return np.array(found)


def _of_objects(
    seen: Seen, resting: Float[np.ndarray, " objects"]
) -> Float[Tensor, "rows targets"]:
    """Return x and y of each object [m], then whether each is off the table."""
    assert seen.objects is not None
    positions = seen.objects.positions
    lifted = positions[..., 2] > resting + LIFTED
    flat = positions[..., :2].reshape(len(positions), -1)
    return torch.from_numpy(np.concatenate([flat, lifted], 1).astype(np.float32))


def _gripper(
    said: Float[Tensor, "probes rows"],
    known: Float[Tensor, " fitted"],
    truth: Float[Tensor, " rows"],
) -> tuple[dict[str, Any], dict[str, str]]:
    if min(float(known.std()), float(truth.std())) < STILL:
        return {}, {"gripper_r2": "the gripper does not move in these episodes"}
    unexplained = (said - truth).square().mean(1) / truth.var(correction=0)
    return {"gripper_r2": 1.0 - float(unexplained.min())}, {}


def _objects(
    said: Float[Tensor, "probes rows targets"],
    known: Float[Tensor, "fitted targets"],
    truth: Float[Tensor, "rows targets"],
    names: tuple[str, ...],
) -> tuple[dict[str, Any], dict[str, str]]:
    if not names:
        return {}, {"object_error_mm": NOBODY_SAYS}
    errors = (said - truth).abs().mean(1).amin(0) * 1000
    chance = (known.mean(0) - truth).abs().mean(0) * 1000
    columns = {name: slice(2 * i + 1, 2 * i + 3) for i, name in enumerate(names)}
    return {
        "object_error_mm": {name: errors[xy].tolist() for name, xy in columns.items()},
        "object_chance_mm": {name: chance[xy].tolist() for name, xy in columns.items()},
    }, {}


def _lifted(
    said: Float[Tensor, "probes rows targets"],
    known: Float[Tensor, "fitted targets"],
    truth: Float[Tensor, "rows targets"],
    names: tuple[str, ...],
) -> tuple[dict[str, Any], dict[str, str]]:
    if not names:
        return {}, {"lifted_auc": NOBODY_SAYS}
    found = {}
    for column, name in enumerate(names, 1 + 2 * len(names)):
        seldom = [
            min(float(x.mean()), 1 - float(x.mean())) for x in (known[:, column], truth[:, column])
        ]
        if min(seldom) > 0:
            positive = truth[:, column] > 0.5
            found[name] = max(area_under_curve(read[:, column], positive) for read in said)
    if not found:
        return {}, {"lifted_auc": "no object is both on the table and off it in these episodes"}
    return {"lifted_auc": found}, {}


def _error_mm(said: Float[Tensor, "*rows axes"], truth: Float[Tensor, "rows axes"]) -> list[float]:
    return ((said - truth).abs().mean(0) * 1000).tolist()
