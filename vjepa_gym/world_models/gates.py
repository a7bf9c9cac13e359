"""Gates: what a world model must pass on held-out episodes before anyone plans with it.

Each is one number against a control that knows nothing. They cost seconds, and they tell apart what
a failed plan cannot: latents that do not show the arm, a predictor that ignores the action, or one
that predicts no better than that nothing changes.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import Context, WorldModel
from vjepa_gym.world_models.latents import encoded
from vjepa_gym.world_models.probing import probe_errors

STEPS = 2
"""How many steps ahead predictions are judged."""
TOGETHER = 32
"""Transitions imagined at once."""


@dataclass(kw_only=True)
class GateConfig:
    """How much is measured."""

    transitions: int = 256
    """Control steps judged, drawn at random from those that move far enough."""
    candidates: int = 32
    """Random actions that each true action is ranked among."""
    min_translation: float = 0.01
    """Least translation of a step that is judged [m]; shorter ones have no direction."""
    context_frames: int = 1
    """Frames that the model is shown before it predicts, the current one included."""
    probe_episodes: int = 300
    """Known episodes that the probes are fitted on; with few they overfit thousands of features."""
    probe_share: float = 0.5
    """Part of the held-out episodes that they are fitted on where no others are known."""

    def __post_init__(self) -> None:
        counts = (self.transitions, self.candidates, self.context_frames, self.probe_episodes)
        if min(counts) < 1:
            raise ValueError(
                "transitions, candidates, context_frames and probe_episodes must be positive"
            )
        if not 0 < self.probe_share < 1:
            raise ValueError(f"probe_share must lie between 0 and 1, got {self.probe_share}")


@dataclass(kw_only=True)
class GateThresholds:
    """What counts as passed."""

    probe_error_mm: float = 5.0
    """Largest error along an axis of the better probe of the end effector [mm]."""
    true_action_percentile: float = 0.05
    """Largest share of random actions that explain the next frame better than the true one."""
    prediction_over_persistence: float = 0.5
    """Largest prediction error on tokens that change, where predicting no change has 1."""
    shuffled_action_margin: float = 0.1
    """How far from chance (0.5) the percentile of another step's action may be."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What was measured. Two numbers are one and two steps ahead; three are x, y and z.

    Attributes:
        ridge_error_mm: Mean absolute error of the end effector read linearly from latents [mm].
        mlp_error_mm: The same read by a small network [mm].
        chance_error_mm: The same when always saying the mean position [mm].
        true_action_percentile: Share of random actions of the same length that lead closer to the
            next frame's latents than the true action: 0 is best, 0.5 is chance.
        prediction_over_persistence: Prediction error over that of predicting no change.
        prediction_over_persistence_changed: The same on the quarter of tokens that change most.
        shuffled_action_percentile: The percentile of another step's action instead of the true one:
            anything but 0.5 means that the ranking itself leaks.
        shuffled_over_persistence: Prediction error given another step's actions, one step ahead.
        transitions: How many control steps were judged.
    """

    ridge_error_mm: list[float]
    mlp_error_mm: list[float]
    chance_error_mm: list[float]
    true_action_percentile: float
    prediction_over_persistence: list[float]
    prediction_over_persistence_changed: list[float]
    shuffled_action_percentile: float
    shuffled_over_persistence: float
    transitions: int

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return dataclasses.asdict(self)

    def failures(self, thresholds: GateThresholds | None = None) -> list[str]:
        """Return a sentence for each gate that is not passed, with its number and threshold."""
        limits = thresholds or GateThresholds()
        probe = max(map(min, self.ridge_error_mm, self.mlp_error_mm))
        changed = max(self.prediction_over_persistence_changed)
        leak = abs(self.shuffled_action_percentile - 0.5)
        measured = [
            ("end-effector probe error [mm]", probe, limits.probe_error_mm),
            (
                "percentile of the true action",
                self.true_action_percentile,
                limits.true_action_percentile,
            ),
            (
                "prediction over persistence on tokens that change",
                changed,
                limits.prediction_over_persistence,
            ),
            ("shuffled actions' distance from chance", leak, limits.shuffled_action_margin),
        ]
        return [
            f"{name}: {value:.3g}, at most {limit:.3g} is wanted"
            for name, value, limit in measured
            if not value <= limit
        ]


def measure_gates(
    world_model: WorldModel,
    frames: Frames,
    *,
    seed: int,
    config: GateConfig | None = None,
    known: Frames | None = None,
) -> Gates:
    """Judge a world model on episodes that it was not trained on.

    Args:
        world_model: What is judged.
        frames: Held-out episodes, at least two.
        seed: Chooses transitions, random actions and the rows that probes are fitted on.
        config: How much is measured.
        known: Episodes that the model was trained on, two or more, for fitting the probes; the
            model never saw the positions that they read. A part of `frames` if None.

    Raises:
        DatasetError: There are too few episodes, or none in which the arm moves.
    """
    config = config or GateConfig()
    generator = torch.Generator().manual_seed(seed)
    transitions = _draw_transitions(frames, config, generator)
    context, actions, following = _cut(world_model, frames, transitions, config.context_frames)
    others = actions.roll(1, 0)
    probes = probe_errors(world_model, *_probe_episodes(frames, known, config), generator)
    ratios, changed = _prediction_ratios(world_model, context, actions, following)
    shuffled, _ = _prediction_ratios(world_model, context, others, following)
    goal = following[:, 0]
    return Gates(
        **probes,
        true_action_percentile=_percentile(
            world_model, context, actions[:, 0], goal, config.candidates, generator
        ),
        prediction_over_persistence=ratios,
        prediction_over_persistence_changed=changed,
        shuffled_action_percentile=_percentile(
            world_model, context, others[:, 0], goal, config.candidates, generator
        ),
        shuffled_over_persistence=shuffled[0],
        transitions=len(transitions),
    )


def _draw_transitions(
    frames: Frames, config: GateConfig, generator: torch.Generator
) -> Int64[np.ndarray, " transitions"]:
    """Draw rows from which the arm moves on, with enough frames of the episode on either side."""
    rows = np.concatenate(
        [
            np.arange(first + config.context_frames - 1, end - STEPS)
            for first, end in zip(frames.offsets[:-1], frames.offsets[1:], strict=True)
        ]
    )
    moved = np.linalg.norm(frames.poses[rows + 1, :3] - frames.poses[rows, :3], axis=1)
    rows = rows[moved >= config.min_translation]
    if frames.num_episodes < 2 or len(rows) < 2:
        raise DatasetError(
            f"Gates need two or more held-out episodes of {config.context_frames + STEPS} frames or"
            f" more, and two moves of {config.min_translation} m; found {frames.num_episodes}"
            f" episodes and {len(rows)} such moves."
        )
    return rows[torch.randperm(len(rows), generator=generator)[: config.transitions].numpy()]


def _cut(
    world_model: WorldModel,
    frames: Frames,
    transitions: Int64[np.ndarray, " transitions"],
    context_frames: int,
) -> tuple[Context, Float[Tensor, "n steps 7"], Float[Tensor, "n steps tokens dim"]]:
    """Return what came before each transition, and the actions and latents that followed."""
    # Of a large encoder, only the latents that are needed fit on its device.
    parts, device = [], torch.device("cpu")
    for part in encoded(world_model, frames):
        device = part.device
        parts.append(part.cpu())
    latents = torch.cat(parts)
    past = transitions[:, None] + np.arange(1 - context_frames, 1)
    ahead = transitions[:, None] + np.arange(STEPS)
    done = kinematics.difference(frames.poses[past[:, :-1]], frames.poses[past[:, 1:]])
    to_do = kinematics.difference(frames.poses[ahead], frames.poses[ahead + 1])
    context = Context(
        latents=latents[torch.from_numpy(past)].to(device),
        poses=torch.from_numpy(frames.poses[past]).to(device),
        actions=torch.from_numpy(done).to(device),
    )
    following = latents[torch.from_numpy(ahead + 1)].to(device)
    return context, torch.from_numpy(to_do).to(device), following


def _probe_episodes(
    frames: Frames, known: Frames | None, config: GateConfig
) -> tuple[Frames, Frames]:
    """Return the episodes that probes are fitted on, and those that they are judged on."""
    if known is not None:
        last = min(config.probe_episodes, known.num_episodes - 1)
        return known.split(last)[1], frames
    share = round((1 - config.probe_share) * frames.num_episodes)
    return frames.split(min(max(1, share), frames.num_episodes - 1))


def _prediction_ratios(
    world_model: WorldModel,
    context: Context,
    actions: Float[Tensor, "n steps 7"],
    following: Float[Tensor, "n steps tokens dim"],
) -> tuple[list[float], list[float]]:
    """Return prediction error over persistence at each step: everywhere, and where much changes."""
    now = context.latents[:, -1:]
    wrong = torch.cat(
        [
            (world_model.imagine(part, chosen[:, None]).latents[:, 0] - after).abs().mean(-1)
            for part, chosen, after in zip(
                _parts(context), actions.split(TOGETHER), following.split(TOGETHER), strict=True
            )
        ]
    )
    change = (following - now).abs().mean(-1)
    quarter = change.topk(max(1, change.shape[-1] // 4), -1).indices
    everywhere = wrong.mean((0, 2)) / change.mean((0, 2))
    moving = wrong.gather(-1, quarter).mean((0, 2)) / change.gather(-1, quarter).mean((0, 2))
    return everywhere.tolist(), moving.tolist()


def _percentile(
    world_model: WorldModel,
    context: Context,
    actions: Float[Tensor, "n 7"],
    goal: Float[Tensor, "n tokens dim"],
    candidates: int,
    generator: torch.Generator,
) -> float:
    """Return the mean share of random actions, as long as `actions`, that come closer to `goal`."""
    shares = []
    for part, chosen, after in zip(
        _parts(context), actions.split(TOGETHER), goal.split(TOGETHER), strict=True
    ):
        others = _same_length(chosen, candidates, generator)
        tried = torch.cat([chosen[:, None], others], 1)[:, :, None]
        imagined = world_model.imagine(part, tried).latents[:, :, 0]
        energy = (imagined - after[:, None]).abs().mean((-1, -2))
        true, rest = energy[:, :1], energy[:, 1:]
        shares.append(((rest < true).float() + 0.5 * (rest == true)).mean(1))
    return float(torch.cat(shares).mean())


def _same_length(
    actions: Float[Tensor, "n 7"], candidates: int, generator: torch.Generator
) -> Float[Tensor, "n candidates 7"]:
    """Return each action with its translation turned in random directions."""
    turned = actions[:, None].repeat(1, candidates, 1)
    direction = torch.randn(*turned.shape[:2], 3, generator=generator).to(actions.device)
    length = actions[:, None, :3].norm(dim=-1, keepdim=True)
    turned[..., :3] = length * torch.nn.functional.normalize(direction, dim=-1)
    return turned


def _parts(context: Context) -> list[Context]:
    pieces = zip(
        context.latents.split(TOGETHER),
        context.poses.split(TOGETHER),
        context.actions.split(TOGETHER),
        strict=True,
    )
    return [Context(latents=z, poses=p, actions=a) for z, p, a in pieces]
