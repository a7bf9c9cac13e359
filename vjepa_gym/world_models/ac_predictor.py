"""The action-conditioned predictor of V-JEPA 2-AC (arXiv 2506.09985, section 3).

Each control step brings the tokens [action, state, patches], or [action, state, extrinsics,
patches]; every token sees all tokens of its own step and of those before. What comes out at the
patches is the next frame's latents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vjepa_gym.learning.layers import (
    NORM_EPSILON,
    Block,
    Memory,
    Rope,
    RopeForm,
    check_heads,
    run_blocks,
)
from vjepa_gym.world_models.encoder import normalise_tokens
from vjepa_gym.world_models.poses import ANGLES, wrap_angle

CONDITIONS = 2
"""Tokens of a step that are no patches, its action and its state; `ACPredictor.conditions` counts
the camera's extrinsics too where they are used."""
STATE_FLOOR = (0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.1)
"""Least deviation of a pose that is divided by [m, rad, closedness]: what never varied in training
would otherwise be blown up by noise."""
ACTION_FLOOR = (0.005, 0.005, 0.005, 0.02, 0.02, 0.02, 0.05)
"""The same of an action [m, rad, closedness]."""


@dataclass(kw_only=True)
class ACPredictorConfig:
    """Sizes of the action-conditioned predictor; the defaults are the published ones (300 M)."""

    width: int = 1024
    """Features of a token."""
    depth: int = 24
    """Transformer blocks."""
    heads: int = 16
    """Attention heads; each has an even number of features, at least 6."""
    mlp_ratio: float = 4.0
    """Hidden features of an MLP over `width`."""
    context_frames: int = 7
    """Most control steps that it looks back on, the current one included: one less than the frames
    of the clips that it is trained on."""
    grid_size: int = 16
    """Rows and columns of tokens that positions are stated for; other grids are scaled to it."""
    rope: RopeForm = RopeForm.released
    """Layout of the rotary tables."""
    use_extrinsics: bool = False
    """Whether each step has a token of the camera's pose too."""

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)
        if self.context_frames < 1:
            raise ValueError(f"context_frames must be positive, got {self.context_frames}")


class ACPredictor(nn.Module):
    """Predicts the latents of the next frame from those so far, the poses and the actions.

    One thing is not in the paper: poses and actions are shifted and scaled, angles being wrapped
    around their mean before. A gripper that points down has a roll of +-pi, whose sign flips from
    frame to frame. With the initial values, which the released weights keep, nothing is changed.

    Attributes:
        config: Sizes of everything.
        checkpointing: Whether blocks are computed again in the backward pass, which saves memory.
        state_mean: Pose that is subtracted.
        state_scale: What the rest is divided by.
        action_scale: What an action is divided by.
    """

    state_mean: Float[Tensor, "7"]
    state_scale: Float[Tensor, "7"]
    action_scale: Float[Tensor, "7"]

    def __init__(self, config: ACPredictorConfig, encoder_width: int) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.predictor_embed = nn.Linear(encoder_width, config.width)
        self.action_encoder = nn.Linear(7, config.width)
        self.state_encoder = nn.Linear(7, config.width)
        if config.use_extrinsics:
            self.extrinsics_encoder = nn.Linear(6, config.width)
        self.predictor_blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.predictor_proj = nn.Linear(config.width, encoder_width)
        self.register_buffer("state_mean", torch.zeros(7))
        self.register_buffer("state_scale", torch.ones(7))
        self.register_buffer("action_scale", torch.ones(7))

    @property
    def conditions(self) -> int:
        """How many tokens of a step are no patches."""
        return CONDITIONS + self.config.use_extrinsics

    def forward(
        self,
        latents: Float[Tensor, "batch frames tokens dim"],
        poses: Float[Tensor, "batch frames 7"],
        actions: Float[Tensor, "batch frames 7"],
        memories: Sequence[Memory] | None = None,
        first: int = 0,
        *,
        extrinsics: Float[Tensor, "batch frames 6"] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> Float[Tensor, "batch frames tokens dim"]:
        """Return the latents predicted to follow each frame, every token normalised.

        Args:
            latents: Normalised tokens of each frame, by row, then column.
            poses: Measured pose at each frame.
            actions: What is done after each frame.
            memories: One for each block: frames seen in earlier calls, to which these are added.
                Then either nothing has been seen yet or there is a single new frame.
            first: How many frames those are.
            extrinsics: Pose of the camera at each frame (m, then extrinsic xyz rad); given exactly
                if the configuration says `use_extrinsics`.
            grid: Rows and columns of a frame's tokens; a square if None.
        """
        frames, tokens = latents.shape[1:3]
        x = self._embed(latents, poses, actions, extrinsics)
        rope = self._rope(first, frames, _whole(grid, tokens), latents)
        mask = None if frames == 1 else _causal_mask(frames, self.conditions + tokens, x.device)
        x = run_blocks(self.predictor_blocks, x, rope, mask, memories, self.checkpointing)
        patches = x.unflatten(1, (frames, -1))[:, :, self.conditions :]
        return normalise_tokens(self.predictor_proj(self.predictor_norm(patches)))

    @torch.no_grad()
    def fit_normalisation(
        self, poses: Float[Tensor, "frames 7"], actions: Float[Tensor, "moves 7"]
    ) -> None:
        """Scale poses and actions by their spread in these data from now on."""
        mean = poses.mean(0)
        angles = poses[:, ANGLES]
        mean[ANGLES] = torch.atan2(angles.sin().mean(0), angles.cos().mean(0))
        self.state_mean.copy_(mean)
        spread = _relative(poses, self.state_mean).square().mean(0).sqrt()
        self.state_scale.copy_(spread.maximum(spread.new_tensor(STATE_FLOOR)))
        reach = actions.square().mean(0).sqrt()
        self.action_scale.copy_(reach.maximum(reach.new_tensor(ACTION_FLOOR)))

    def _embed(
        self,
        latents: Float[Tensor, "batch frames tokens dim"],
        poses: Float[Tensor, "batch frames 7"],
        actions: Float[Tensor, "batch frames 7"],
        extrinsics: Float[Tensor, "batch frames 6"] | None,
    ) -> Float[Tensor, "batch sequence width"]:
        if (extrinsics is not None) != self.config.use_extrinsics:
            wanted = "needs" if self.config.use_extrinsics else "was made without"
            raise ValueError(f"this predictor {wanted} the camera's extrinsics")
        # Scaled as they come, then given the latents' precision: half of it is coarse for poses.
        action, state = actions / self.action_scale, _relative(poses, self.state_mean)
        steps = [
            self.action_encoder(action.to(latents.dtype))[:, :, None],
            self.state_encoder((state / self.state_scale).to(latents.dtype))[:, :, None],
        ]
        if extrinsics is not None:
            steps.append(self.extrinsics_encoder(extrinsics.to(latents.dtype))[:, :, None])
        return torch.cat([*steps, self.predictor_embed(latents)], 2).flatten(1, 2)

    def _rope(
        self, first: int, frames: int, grid: tuple[int, int], like: Float[Tensor, "..."]
    ) -> Rope:
        """Return the positions of all tokens: those without a place in the image have time only."""
        device, dtype = like.device, torch.promote_types(like.dtype, torch.float32)
        # A grid of another size than trained with covers the same positions.
        rows, columns = (
            torch.arange(n, dtype=dtype, device=device) * (self.config.grid_size / n) for n in grid
        )
        places = torch.cartesian_prod(rows, columns)
        places = nn.functional.pad(places, (0, 0, self.conditions, 0))
        times = torch.arange(first, first + frames, dtype=dtype, device=device)
        positions = torch.cat(
            [times.repeat_interleave(len(places))[:, None], places.repeat(frames, 1)], 1
        )
        return Rope.at(positions, self.config.width // self.config.heads, self.config.rope)


def _whole(grid: tuple[int, int] | None, tokens: int) -> tuple[int, int]:
    """Return the rows and columns of a frame of so many tokens; of a square if `grid` is None."""
    rows, columns = grid or (math.isqrt(tokens), math.isqrt(tokens))
    if rows * columns != tokens:
        wanted = "a square grid of tokens (or say `grid`)"
        if grid is not None:
            wanted = f"a grid of {rows} x {columns} tokens"
        raise ValueError(f"a frame has {wanted}, got {tokens} tokens")
    return rows, columns


def _relative(poses: Float[Tensor, "*n 7"], mean: Float[Tensor, "7"]) -> Float[Tensor, "*n 7"]:
    """Return how far poses are from `mean`, angles the short way round."""
    offset = poses - mean
    angles = wrap_angle(offset[..., ANGLES])
    return torch.cat([offset[..., :3], angles, offset[..., 6:]], -1)


def _causal_mask(
    frames: int, tokens: int, device: torch.device
) -> Bool[Tensor, "sequence sequence"]:
    """Return whether a token (row) may look at another (column): not at those of later frames."""
    times = torch.arange(frames, device=device).repeat_interleave(tokens)
    return times[:, None] >= times
