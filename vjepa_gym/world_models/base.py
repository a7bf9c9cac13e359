"""What a world model is to the agents that plan with it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Context:
    """What `n` robots have seen and done, newest last.

    Attributes:
        latents: Encoded views.
        poses: Measured poses at those views (see `vjepa_gym.types`).
        actions: What was done between them.
        extrinsics: Pose of the camera at those views (m, then extrinsic xyz rad), if it is known.
    """

    latents: Float[Tensor, "n past tokens dim"]
    poses: Float[Tensor, "n past 7"]
    actions: Float[Tensor, "n past_minus_one 7"]
    extrinsics: Float[Tensor, "n past 6"] | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """What `n` robots are to make true now.

    Attributes:
        latents: The encoded view.
        poses: The poses that belong to it, only where an energy asks for them.
        steps: How many control steps are left for it.
    """

    latents: Float[Tensor, "n tokens dim"]
    poses: Float[Tensor, "n 7"] | None = None
    steps: Int64[Tensor, " n"] | None = None


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """Futures that a world model predicts from a context.

    Attributes:
        context: Where they begin.
        actions: What is supposed to be done.
        latents: The view predicted after each action.
        poses: The pose after each action, integrated analytically.
    """

    context: Context
    actions: Float[Tensor, "n samples horizon 7"]
    latents: Float[Tensor, "n samples horizon tokens dim"]
    poses: Float[Tensor, "n samples horizon 7"]


@runtime_checkable
class WorldModel(Protocol):
    """Predicts, in latent space, what the camera would show after a sequence of actions."""

    def encode(self, images: UInt8[Tensor, "n height width 3"]) -> Float[Tensor, "n tokens dim"]:
        """Return the latents of single images, cropped and scaled to the model's own size."""
        ...

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return what would be seen after each of the actions; split inside to fit in memory."""
        ...
