"""The action-conditioned predictor of V-JEPA 2-AC (arXiv 2506.09985, section 3).

Each control step brings the tokens [action, state, patches]; every token sees all tokens of its own
step and of those before. What comes out at the patches is the next frame's latents.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vjepa_gym.learning.layers import NORM_EPSILON, Block, Memory, Rope
from vjepa_gym.world_models.encoder import normalise_tokens
from vjepa_gym.world_models.poses import ANGLES, wrap_angle
from vjepa_gym.world_models.presets import ACPredictorConfig

CONDITIONS = 2
"""Tokens of a step that are no patches: its action and its state."""
STATE_FLOOR = (0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.1)
"""Least deviation of a pose that is divided by [m, rad, closedness]: what never varied in training
would otherwise be blown up by noise."""
ACTION_FLOOR = (0.005, 0.005, 0.005, 0.02, 0.02, 0.02, 0.05)
"""The same of an action [m, rad, closedness]."""


class ACPredictor(nn.Module):
    """Predicts the latents of the next frame from those so far, the poses and the actions.

    One thing is not in the paper: poses and actions are shifted and scaled, angles being wrapped
    around their mean before. A gripper that points down has a roll of +-pi, whose sign flips from
    frame to frame. With the initial values, which the released weights keep, nothing is changed.

    Attributes:
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
        self.predictor_embed = nn.Linear(encoder_width, config.width)
        self.action_encoder = nn.Linear(7, config.width)
        self.state_encoder = nn.Linear(7, config.width)
        self.predictor_blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.predictor_proj = nn.Linear(config.width, encoder_width)
        self.register_buffer("state_mean", torch.zeros(7))
        self.register_buffer("state_scale", torch.ones(7))
        self.register_buffer("action_scale", torch.ones(7))

    def forward(
        self,
        latents: Float[Tensor, "batch frames tokens dim"],
        poses: Float[Tensor, "batch frames 7"],
        actions: Float[Tensor, "batch frames 7"],
        memories: list[Memory] | None = None,
        first: int = 0,
    ) -> Float[Tensor, "batch frames tokens dim"]:
        """Return the latents predicted to follow each frame, every token normalised.

        Args:
            latents: Normalised tokens of each frame, by row, then column, of a square grid.
            poses: Measured pose at each frame.
            actions: What is done after each frame.
            memories: One for each block: frames seen in earlier calls, to which these are added.
                Then either nothing has been seen yet or there is a single new frame.
            first: How many frames those are.
        """
        frames, tokens = latents.shape[1:3]
        x = self._embed(latents, poses, actions)
        rope = self._rope(first, frames, tokens, x.device)
        mask = None if frames == 1 else _causal_mask(frames, CONDITIONS + tokens, x.device)
        for block, memory in zip(
            self.predictor_blocks, memories or [None] * self.config.depth, strict=True
        ):
            x = block(x, rope, mask, memory)
        patches = x.unflatten(1, (frames, -1))[:, :, CONDITIONS:]
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
    ) -> Float[Tensor, "batch sequence width"]:
        action = self.action_encoder(actions / self.action_scale)
        state = self.state_encoder(_relative(poses, self.state_mean) / self.state_scale)
        patches = self.predictor_embed(latents)
        return torch.cat([action[:, :, None], state[:, :, None], patches], 2).flatten(1, 2)

    def _rope(self, first: int, frames: int, tokens: int, device: torch.device) -> Rope:
        """Return the positions of all tokens: those without a place in the image have time only."""
        side = math.isqrt(tokens)
        if side * side != tokens:
            raise ValueError(f"a frame has a square grid of tokens, got {tokens} tokens")
        # A grid of another size than trained with covers the same positions.
        ticks = torch.arange(side, device=device) * (self.config.grid_size / side)
        places = nn.functional.pad(torch.cartesian_prod(ticks, ticks), (0, 0, CONDITIONS, 0))
        times = torch.arange(first, first + frames, device=device, dtype=places.dtype)
        positions = torch.cat(
            [times.repeat_interleave(len(places))[:, None], places.repeat(frames, 1)], 1
        )
        return Rope.at(positions, self.config.width // self.config.heads, self.config.rope)


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
