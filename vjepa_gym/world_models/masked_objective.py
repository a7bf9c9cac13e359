"""The loss of masked pretraining, of any of the V-JEPA family."""

from typing import NotRequired, TypedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import layer_norm, smooth_l1_loss

from vjepa_gym.learning.collapse import effective_rank, feature_deviation
from vjepa_gym.learning.training import LATENT_STD
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.mask_blocks import Grid
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.pretraining_config import Difference
from vjepa_gym.world_models.stems import take_tokens

LATENT_RANK = "latent_rank"
"""The metric that says in how many directions targets vary; see `collapse.effective_rank`."""
MASKED_LOSS, CONTEXT_LOSS = "masked_loss", "context_loss"
"""The two parts of a dense loss, the second before its weight."""


class Group(TypedDict):
    """Clips of one size, with their masks.

    Attributes:
        clips: Normalised pixels.
        keep: For each kind of mask, the indices of the visible tokens.
        masked: Likewise of the masked ones; blocks predicted by themselves have an axis.
        share: Factor of the loss; 1 if it is not there.
        noise: What takes the place of pixels that are not visible; those are left out if it is not
            there.
        weights: For each kind of mask, factors of the visible tokens; 1 if they are not there.
    """

    clips: Float[Tensor, "batch 3 frames height width"]
    keep: list[Int64[Tensor, "batch kept"]]
    masked: list[Int64[Tensor, "batch *blocks masked"]]
    share: NotRequired[Float[Tensor, ""]]
    noise: NotRequired[Float[Tensor, "batch 3 frames height width"]]
    weights: NotRequired[list[Float[Tensor, "batch kept"]]]


class MaskedObjective(nn.Module):
    """How far off an encoder and a predictor are in saying what is masked.

    The targets are the tokens of a slow moving average of the encoder, normalised at each level,
    which saw everything. They have no gradient.

    Attributes:
        encoder: Sees what is visible.
        predictor: Says what is masked, and of V-JEPA 2.1 what is visible too.
        target: The moving average of the encoder.
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        predictor: MaskedPredictor,
        target: VisionTransformer,
        *,
        difference: Difference = Difference.l1,
        dense: bool = False,
        mask_token_each: bool = True,
    ) -> None:
        """Put the three together.

        Args:
            encoder: Sees what is visible.
            predictor: Of as many levels as the encoder.
            target: Of the encoder's architecture; it needs no gradient.
            difference: What is averaged between prediction and target.
            dense: Whether visible tokens are predicted as well.
            mask_token_each: Whether each kind of mask has a mask token of its own.

        Raises:
            ValueError: The predictor does not fit the encoder, or cannot do what is asked.
        """
        super().__init__()
        _check_fit(encoder, predictor, dense)
        self.encoder, self.predictor, self.target = encoder, predictor, target
        self._difference, self._dense = difference, dense
        self._mask_token_each = mask_token_each

    def forward(
        self,
        video: Group,
        image: Group | None = None,
        context_weight: Float[Tensor, ""] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of some clips, averaged over the kinds of mask, and further metrics.

        Args:
            video: Clips.
            image: Still images, if there are any.
            context_weight: Factor of the loss on visible tokens, where that is computed.
        """
        parts, targets = self._parts(video)
        losses = _scaled(parts, video)
        if image is not None:
            more = _scaled(self._parts(image)[0], image)
            losses = {name: loss + more[name] for name, loss in losses.items()}
        total = losses[MASKED_LOSS]
        metrics = {
            LATENT_STD: feature_deviation(targets),
            LATENT_RANK: effective_rank(targets.flatten(0, 1)),
        }
        if self._dense:
            strength = 1.0 if context_weight is None else context_weight
            total = total + strength * losses[CONTEXT_LOSS]
            metrics.update({name: loss.detach() for name, loss in losses.items()})
        return total, metrics

    def _parts(
        self, group: Group
    ) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "batch tokens out"]]:
        """Return the two losses of a group, averaged over its kinds of mask, and its targets."""
        clips, noise, weights = group["clips"], group.get("noise"), group.get("weights")
        with torch.no_grad():
            targets = self._normalised(self.target.levels(clips))
        sums: dict[str, list[Tensor]] = {MASKED_LOSS: []}
        for kind, (keep, masked) in enumerate(zip(group["keep"], group["masked"], strict=True)):
            predicted, visible = self._predict(clips, noise, keep, masked, kind)
            wanted = take_tokens(targets, masked.flatten(1))
            sums[MASKED_LOSS].append(self._apart(predicted, wanted).mean())
            if visible is not None:
                wanted = take_tokens(targets, keep)[:, None].expand_as(visible)
                factors = 1.0 if weights is None else weights[kind]
                each = self._apart(visible, wanted).mean((1, 3)) * factors
                sums.setdefault(CONTEXT_LOSS, []).append(each.mean())
        return {name: torch.stack(losses).mean() for name, losses in sums.items()}, targets

    def _predict(
        self,
        clips: Float[Tensor, "batch 3 frames height width"],
        noise: Float[Tensor, "batch 3 frames height width"] | None,
        keep: Int64[Tensor, "batch kept"],
        masked: Int64[Tensor, "batch *blocks masked"],
        kind: int,
    ) -> tuple[
        Float[Tensor, "batch masked_in_all out"], Float[Tensor, "batch blocks kept out"] | None
    ]:
        """Return what is said of masked tokens, blocks end to end, and of visible ones if dense.

        Blocks that are predicted by themselves share what the encoder makes of the visible tokens.
        """
        grid = self.encoder.grid(*clips.shape[2:])
        if noise is None:
            context = self.encoder.levels(clips, keep)
        else:
            seen = visible_pixels(keep, grid, clips.shape[2:])
            context = take_tokens(self.encoder.levels(torch.where(seen, clips, noise)), keep)
        blocks = masked.shape[1] if masked.ndim == 3 else 1
        given = [x.repeat_interleave(blocks, 0) for x in (context, keep)]
        given.append(masked.reshape(len(given[0]), -1))
        index = kind if self._mask_token_each else 0
        asked = {"grid": grid, "mask_index": index, "image": clips.shape[2] == 1}
        visible = None
        if self._dense:
            predicted, visible = self.predictor.dense(*given, **asked)
            visible = visible.unflatten(0, (-1, blocks))
        else:
            predicted = self.predictor(*given, **asked)
        return predicted.unflatten(0, (-1, blocks)).flatten(1, 2), visible

    def _normalised(
        self, features: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens dim"]:
        by_level = features.unflatten(-1, (self.encoder.config.levels, -1))
        return layer_norm(by_level, by_level.shape[-1:]).flatten(-2)

    def _apart(
        self, predicted: Float[Tensor, "*axes out"], target: Float[Tensor, "*axes out"]
    ) -> Float[Tensor, "*axes out"]:
        if self._difference is Difference.smooth_l1:
            return smooth_l1_loss(predicted, target, reduction="none")
        return (predicted - target).abs()


def visible_pixels(keep: Int64[Tensor, "batch kept"], grid: Grid, shape: torch.Size) -> Tensor:
    """Return whether each pixel is of a visible token.

    Args:
        keep: Indices of the visible tokens.
        grid: Times, rows and columns of the video [tokens].
        shape: Frames, height and width of the video [px].
    """
    tokens = grid[0] * grid[1] * grid[2]
    seen = torch.zeros(len(keep), tokens, dtype=torch.bool, device=keep.device)
    seen = seen.scatter(1, keep, True).unflatten(1, grid)
    for axis, (pixels, places) in enumerate(zip(shape, grid, strict=True), start=1):
        seen = seen.repeat_interleave(pixels // places, axis)
    return seen[:, None]


def _scaled(parts: dict[str, Float[Tensor, ""]], group: Group) -> dict[str, Float[Tensor, ""]]:
    share = group.get("share")
    return parts if share is None else {name: loss * share for name, loss in parts.items()}


def _check_fit(encoder: VisionTransformer, predictor: MaskedPredictor, dense: bool) -> None:
    config, width = predictor.config, encoder.config.width
    if config.levels != encoder.config.levels or config.target_width not in (0, width):
        raise ValueError(
            f"the predictor predicts {config.levels} levels of {config.target_width or width}"
            f" features and the encoder has {encoder.config.levels} of {width}: such a model was"
            " taught by another and cannot be pretrained by its own average; take another preset"
        )
    if dense and not config.dense:
        raise ValueError(
            "context_weight asks for the loss on visible tokens, which this predictor does not"
            " predict: set job.model.predictor.dense=true, or take a preset whose name ends in _21"
        )
