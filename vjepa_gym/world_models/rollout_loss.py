"""What the action-conditioned predictor is trained on: teacher forcing and a rollout.

The loss has two terms (V-JEPA 2-AC, arXiv 2506.09985, section 3): every frame of a clip predicted
from the true ones before it, and a few frames predicted one from the other, as in planning.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Latents = Float[Tensor, "batch frames tokens dim"]
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From latents, poses and actions of some frames to the latents after each; see `ACPredictor`."""


def roll_out(
    predict: Predict,
    latents: Latents,
    poses: Float[Tensor, "batch frames 7"],
    actions: Float[Tensor, "batch steps 7"],
    first: Float[Tensor, "batch tokens dim"],
    *,
    start: int,
    steps: int,
) -> Float[Tensor, "batch predicted tokens dim"]:
    """Return `steps` frames, each predicted from `start` true ones and the predictions so far.

    The second is predicted from `[z_0, first]`, not from the true `z_1`: an early public release
    fed the wrong latents here, and planned worse for it (facebookresearch/vjepa2, PR 25).

    Args:
        predict: Predicts the frame after each of those it is given.
        latents: True latents of the clip.
        poses: Measured poses.
        actions: What was done between the frames.
        first: What was predicted from the true frames alone.
        start: How many true frames are given.
        steps: How many are predicted, `first` included.
    """
    known = torch.cat([latents[:, :start], first[:, None]], 1)
    for count in range(start + 1, start + steps):
        following = predict(known, poses[:, :count], actions[:, :count])[:, -1:]
        known = torch.cat([known, following], 1)
    return known[:, start:]


def prediction_losses(
    predict: Predict,
    latents: Latents,
    poses: Float[Tensor, "batch frames 7"],
    actions: Float[Tensor, "batch steps 7"],
    *,
    start: int = 1,
    steps: int = 2,
    exponent: float = 1.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the loss of teacher forcing, every frame from the true ones, and that of a rollout.

    Both are mean powers of the absolute error over all their frames; see `roll_out`.
    """
    forced = predict(latents[:, :-1], poses[:, :-1], actions)
    first = forced[:, start - 1]
    rolled = roll_out(predict, latents, poses, actions, first, start=start, steps=steps)

    def distance(predicted: Latents, true: Latents) -> Float[Tensor, ""]:
        return ((predicted - true).abs() ** exponent).mean() / exponent

    return distance(forced, latents[:, 1:]), distance(rolled, latents[:, start : start + steps])
