"""Recovering the robot's own doings from latents: a term that makes small encoders see the hand.

Masked prediction alone leaves what is small and rarely moves out of the latents of small models.
This term asks for it: where the hand is in a view, and what was done between two views of an
episode, far apart or near, is to be told from their latents. It needs poses, as robots record them,
and nothing else; it is a variant of this project, not part of V-JEPA 2. What it does not bring
about stands in docs/results.md.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa_gym.world_models.encoder import VisionTransformer, encode_frames
from vjepa_gym.world_models.heads.inverse import InverseDynamics, InverseDynamicsConfig
from vjepa_gym.world_models.heads.inverse_task import (
    InverseObjective,
    inverse_sizes,
    pose_error,
)

POSE_ERROR, ACTION_LOSS = "pose_error", "action_loss"
"""The two metrics of the term: of the hand's place, in units of how much it varies, and the loss of
the inverse dynamics."""


@dataclass(kw_only=True)
class RecoveryConfig:
    """What is to be recovered from how many views."""

    weight: float = 0.0
    """What the term counts beside masked prediction; 0 leaves it out. Data must have poses."""
    alone: float = 0.0
    """Share of the steps, at the beginning, in which nothing is masked: they take half the time,
    and latents come to tell the hand's pose sooner without masks (docs/results.md)."""
    warp: float = 0.0
    """Most by which views are scaled, as a fraction, those of an episode alike; they are moved and
    turned by half of it (`warping.draw_warps`), as if the camera stood elsewhere."""
    episodes: int = 16
    """Episodes that views are drawn from in each step."""
    views: int = 8
    """Views of each; every one is encoded once."""
    pairs: int = 16
    """Pairs of the views of each between which actions are told, near ones more often."""
    head: InverseDynamicsConfig = field(default_factory=inverse_sizes)
    """Sizes of what tells them; it is dropped after the training."""

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        if not 0 <= self.alone < 1:
            raise ValueError(f"alone must be at least 0 and less than 1, got {self.alone}")
        if not 0 <= self.warp < 1:
            raise ValueError(f"warp must be at least 0 and less than 1, got {self.warp}")
        if self.episodes < 1 or self.views < 2 or not 1 <= self.pairs <= self.most_pairs:
            raise ValueError(
                "episodes must be positive, views at least 2, and pairs from 1 to as many as there"
                f" are, {self.most_pairs}; got {self.episodes}, {self.views} and {self.pairs}"
            )
        if not self.head.reader_width:
            raise ValueError("head.reader_width must be positive: the hand's pose is to be read")

    @property
    def most_pairs(self) -> int:
        """How many pairs the views of an episode have."""
        return self.views * (self.views - 1) // 2


class RecoveryObjective(nn.Module):
    """How far off poses and actions are that are told from an encoder's latents.

    Attributes:
        encoder: Its latents are looked at.
        head: Tells poses and actions.
    """

    def __init__(self, encoder: VisionTransformer, head: InverseDynamics) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self._actions = InverseObjective(head)

    def forward(
        self,
        images: Float[Tensor, "batch views 3 height width"],
        poses: Float[Tensor, "batch views 7"],
        first: Int64[Tensor, "batch pairs"],
        second: Int64[Tensor, "batch pairs"],
        steps: Int64[Tensor, "batch pairs"],
        actions: Float[Tensor, "batch pairs horizon 7"],
        key_poses: Float[Tensor, "batch pairs 7"],
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss, and what it is made of.

        Args:
            images: Views of episodes, normalised.
            poses: At these views.
            first: Which view of its episode a pair begins with.
            second: Which later one it ends with.
            steps: How much later; 0 where it is not told.
            actions: What was done after the first; nothing once the second was reached.
            key_poses: Where the hand next opened or closed, or else was in the second.
        """
        latents = encode_frames(self.encoder, images.flatten(0, 1))
        # Millimetres are lost in bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            latents = latents.float().unflatten(0, images.shape[:2])
            ends = [_chosen(latents, which).flatten(0, 1) for which in (first, second)]
            there = [_chosen(poses, which).flatten(0, 1) for which in (first, second)]
            done, keys = actions.flatten(0, 1), key_poses.flatten(0, 1)
            told, parts = self._actions(*ends, there[0], steps.flatten(), done, there[1], keys)
            read = self.head.read(latents.flatten(0, 1))
            wrong = pose_error(self.head, read, poses.flatten(0, 1))
        metrics = {POSE_ERROR: wrong[:, :3].mean().detach(), ACTION_LOSS: told.detach()}
        metrics |= {
            name: parts[name] for name in ("displacement", "gripper", "key") if name in parts
        }
        metrics["closed"] = wrong[:, 6].mean().detach()
        return wrong.mean() + told, metrics


def _chosen(
    views: Float[Tensor, "batch views *features"], which: Int64[Tensor, "batch pairs"]
) -> Float[Tensor, "batch pairs *features"]:
    rows = torch.arange(len(views), device=views.device)[:, None]
    return views[rows, which]
