"""Gates: what a world model must pass on held-out episodes before anyone plans with it.

Each is one number against a control that knows nothing. They cost a minute or two, and they tell
apart what a failed plan cannot: latents that do not show the arm or the objects, a predictor that
ignores the action, one that predicts no better than that nothing changes, an energy whose minimum
lies elsewhere. They ask for nothing but images and poses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int64

from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.gate_predictions import (
    GRIPPER,
    gripper_percentile,
    prediction_ratios,
    true_action_percentile,
)
from vjepa_gym.world_models.gate_rows import GateRow, GateThresholds
from vjepa_gym.world_models.gate_table import AHEAD, Gates
from vjepa_gym.world_models.gate_transitions import Transitions, cut, drawn, usable_rows
from vjepa_gym.world_models.landscape import argmin_error, monotone_share
from vjepa_gym.world_models.probing import Objects, Seen, probe_figures

__all__ = ["PARTS", "GateConfig", "GateRow", "GateThresholds", "Gates", "Objects", "measure_gates"]

LEAST_AHEAD = 2
"""Episodes must have so many frames after one that is judged."""
FEWEST_GRIPPER_MOVES = 4
"""With fewer, nothing is said of the gripper."""
PARTS = ("probes", "predictions", "percentiles", "gripper", "landscapes")
"""What is measured, in this order."""

OnPart: TypeAlias = Callable[[int, str], None]
"""Called with how many parts are done, and with what comes next."""


@dataclass(kw_only=True)
class GateConfig:
    """How much is measured."""

    transitions: int = 256
    """Control steps judged, drawn at random from those that move far enough."""
    candidates: int = 32
    """Random actions that each true action is ranked among."""
    landscapes: int = 32
    """Of how many of these steps the energy is asked all around."""
    min_translation: float = 0.01
    """Least translation of a step that is judged [m]; shorter ones have no direction."""
    min_gripper: float = 0.1
    """Least change of closedness of a step in which the gripper moved."""
    context_frames: int = 1
    """Frames that the model is shown before it predicts, the current one included."""
    probe_episodes: int = 300
    """Known episodes that the probes are fitted on; with few they overfit thousands of features."""
    probe_share: float = 0.5
    """Part of the held-out episodes that they are fitted on where no others are known."""

    def __post_init__(self) -> None:
        counts = (self.transitions, self.candidates, self.landscapes)
        if min(*counts, self.context_frames, self.probe_episodes) < 1:
            raise ValueError(
                "transitions, candidates, landscapes, context_frames and probe_episodes must be"
                " positive"
            )
        if not 0 < self.probe_share < 1:
            raise ValueError(f"probe_share must lie between 0 and 1, got {self.probe_share}")


def measure_gates(
    world_model: WorldModel,
    frames: Frames,
    *,
    seed: int,
    config: GateConfig | None = None,
    known: Frames | None = None,
    objects: Objects | None = None,
    known_objects: Objects | None = None,
    on_part: OnPart | None = None,
) -> Gates:
    """Judge a world model on episodes that it was not trained on.

    Args:
        world_model: What is judged.
        frames: Held-out episodes, at least two.
        seed: Chooses transitions, random actions and the rows that probes are fitted on.
        config: How much is measured.
        known: Episodes that the model was trained on, two or more, for fitting the probes; the
            model never saw the positions that they read. A part of `frames` if None.
        objects: Where objects were in `frames`; None if nobody knows.
        known_objects: Where they were in `known`.
        on_part: Told how far it is: `PARTS`.

    Raises:
        DatasetError: There are too few episodes, or none in which the arm moves.
        PlanningError: The model imagines what is not finite.
    """
    config = config or GateConfig()
    tell = on_part or (lambda _done, _next: None)
    steps, rows = _draw(frames, config, seed)
    tell(0, PARTS[0])
    fitted, judged = _probe_episodes(
        Seen(frames=frames, objects=objects),
        None if known is None else Seen(frames=known, objects=known_objects),
        config,
    )
    generator = torch.Generator().manual_seed(seed)
    found, reasons = probe_figures(world_model, fitted, judged, generator)
    tell(1, PARTS[1])
    transitions, device = cut(
        world_model, frames, rows, context_frames=config.context_frames, steps=steps
    )
    found |= _predictions(world_model, transitions, device)
    tell(2, PARTS[2])
    found |= _percentiles(world_model, transitions, device, config, seed)
    tell(3, PARTS[3])
    gripper, why = _gripper(world_model, frames, config, seed)
    tell(4, PARTS[4])
    found |= gripper | _landscapes(world_model, transitions.first(config.landscapes), device)
    return Gates(
        **found,
        transitions=len(transitions),
        episodes=frames.num_episodes,
        not_measured=reasons | why | {"oracle_success": "it was not asked for"},
    )


def _draw(
    frames: Frames, config: GateConfig, seed: int
) -> tuple[int, Int64[np.ndarray, " transitions"]]:
    """Return how many steps ahead can be judged, and rows from which the arm moves on."""
    context = config.context_frames
    longest = int(np.diff(frames.offsets).max()) if frames.num_episodes else 0
    steps = max(LEAST_AHEAD, min(AHEAD, longest - context))
    rows = usable_rows(frames, context, steps)
    moved = np.linalg.norm(frames.poses[rows + 1, :3] - frames.poses[rows, :3], axis=1)
    moving = moved >= config.min_translation
    if frames.num_episodes < 2 or moving.sum() < 2:
        raise DatasetError(
            f"Gates need two or more held-out episodes of {context + LEAST_AHEAD} frames or"
            f" more, and two moves of {config.min_translation} m; found {frames.num_episodes}"
            f" episodes and {moving.sum()} such moves."
        )
    return steps, drawn(rows, moving, config.transitions, seed)


def _probe_episodes(judged: Seen, known: Seen | None, config: GateConfig) -> tuple[Seen, Seen]:
    """Return the episodes that probes are fitted on, and those that they are judged on."""
    if known is None:
        count = judged.frames.num_episodes
        share = round((1 - config.probe_share) * count)
        known, judged = judged.split(min(max(1, share), count - 1))
    return known.last(config.probe_episodes), judged.last(config.probe_episodes)


def _predictions(
    world_model: WorldModel, transitions: Transitions, device: torch.device
) -> dict[str, Any]:
    ratios, changed = prediction_ratios(world_model, transitions, device)
    shuffled, _ = prediction_ratios(world_model, transitions.shuffled(), device)
    return {
        "prediction_over_persistence": ratios,
        "prediction_over_persistence_changed": changed,
        "shuffled_over_persistence": shuffled[0],
    }


def _percentiles(
    world_model: WorldModel,
    transitions: Transitions,
    device: torch.device,
    config: GateConfig,
    seed: int,
) -> dict[str, Any]:
    given = {
        "true_action_percentile": transitions,
        "shuffled_action_percentile": transitions.shuffled(),
    }
    return {
        name: true_action_percentile(
            world_model, steps, device, candidates=config.candidates, seed=seed
        )
        for name, steps in given.items()
    }


def _gripper(
    world_model: WorldModel, frames: Frames, config: GateConfig, seed: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return how true gripper actions rank, or why that cannot be said."""
    rows = usable_rows(frames, config.context_frames, 1)
    change = np.abs(frames.poses[rows + 1, GRIPPER] - frames.poses[rows, GRIPPER])
    rows = drawn(rows, change >= config.min_gripper, config.transitions, seed)
    if len(rows) < FEWEST_GRIPPER_MOVES:
        why = f"the gripper moves by {config.min_gripper:g} in {len(rows)} steps only"
        return {"gripper_moves": len(rows)}, {"gripper_percentile": why}
    moves, device = cut(world_model, frames, rows, context_frames=config.context_frames, steps=1)
    percentile = gripper_percentile(world_model, moves, device)
    return {"gripper_percentile": percentile, "gripper_moves": len(rows)}, {}


def _landscapes(
    world_model: WorldModel, transitions: Transitions, device: torch.device
) -> dict[str, Any]:
    """Return where the energy is least, and how it falls on the way to the true action."""
    away, falls = [], []
    for part in transitions.parts(device):
        given = (part.context, part.actions[:, 0], part.following[:, 0])
        away.append(argmin_error(world_model, *given))
        falls.append(monotone_share(world_model, *given))
    return {
        "landscape_argmin_mm": 1000 * float(torch.cat(away).median()),
        "landscape_monotone": float(torch.cat(falls).mean()),
        "landscapes": len(transitions),
    }
