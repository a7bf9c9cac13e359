"""Masked pretraining as a plain loop around the modules of transformers: what ours is beside.

The recipe is the published one, and both sides do the same work: the same masks, two contexts, one
pass of the target, AdamW in its fused form, and the moving average in one call.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import l1_loss, layer_norm

from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.world_models.presets import ModelConfig

NARROWEST = 12
"""Features of a head of which each axis has two pairs; transformers breaks with a single one."""
MaskPair = tuple[Int64[Tensor, "batch _kept"], Int64[Tensor, "batch _masked"]]
"""Visible and masked tokens under one kind of mask; other kinds have other numbers of them."""


def import_vjepa2() -> Any:
    """Return transformers' module of V-JEPA 2.

    Raises:
        VJEPAGymError: transformers is not installed.
    """
    try:
        from transformers.models.vjepa2 import modeling_vjepa2
    except ImportError as error:
        raise VJEPAGymError(
            "`benchmark training` compares with transformers, which is not installed: "
            "pip install 'vjepa-gym[dev]', or transformers alone."
        ) from error
    return modeling_vjepa2


def make_model(model: ModelConfig, *, frames: int, image_size: int) -> Any:
    """Return transformers' model of these sizes, with attention by `scaled_dot_product_attention`.

    Raises:
        VJEPAGymError: transformers is not installed.
        ValueError: It cannot compute with heads as narrow as these.
    """
    vjepa2 = import_vjepa2()
    encoder, predictor = model.encoder, model.predictor
    narrowest = min(encoder.head_width, predictor.width // predictor.heads)
    if narrowest < NARROWEST:
        raise ValueError(
            f"transformers needs heads of at least {NARROWEST} features for its rotary positions,"
            f" and this model has {narrowest}: take a larger one."
        )
    config = vjepa2.VJEPA2Config(
        patch_size=encoder.patch_size,
        tubelet_size=encoder.tubelet_size,
        crop_size=image_size,
        frames_per_clip=frames,
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.heads,
        mlp_ratio=encoder.mlp_ratio,
        pred_hidden_size=predictor.width,
        pred_num_hidden_layers=predictor.depth,
        pred_num_attention_heads=predictor.heads,
        pred_mlp_ratio=predictor.mlp_ratio,
        pred_num_mask_tokens=predictor.mask_tokens,
        attn_implementation="sdpa",
    )
    return vjepa2.VJEPA2Model(config).train()


class PlainLoop(nn.Module):
    """The loss of the published recipe, written around transformers' modules.

    Masked tokens are dropped after the patch embedding and before the first layer, as in the
    published code; positions are passed to the layers, which make their own rotary tables.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.target = type(model.encoder)(model.config).requires_grad_(False)
        self.target.load_state_dict(model.encoder.state_dict())

    def forward(
        self, video: Float[Tensor, "batch frames 3 height width"], masks: list[MaskPair]
    ) -> Float[Tensor, ""]:
        """Return the loss, averaged over the kinds of mask."""
        targets = self.targets(video)
        losses = []
        for kind, (keep, masked) in enumerate(masks):
            predicted = self.predict(self.encode(video, keep), keep, masked, kind)
            losses.append(l1_loss(predicted, _take(targets, masked)))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def targets(
        self, video: Float[Tensor, "batch frames 3 height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return what is predicted: the normalised tokens of the moving average."""
        tokens = self.target(video).last_hidden_state
        return layer_norm(tokens, tokens.shape[-1:])

    def encode(
        self, video: Float[Tensor, "batch frames 3 height width"], keep: Int64[Tensor, "batch kept"]
    ) -> Float[Tensor, "batch kept dim"]:
        """Return the tokens of what is visible."""
        encoder = self.model.encoder
        x = _take(encoder.embeddings(video), keep)
        for layer in encoder.layer:
            x = layer(x, position_mask=keep)[0]
        return encoder.layernorm(x)

    def predict(
        self,
        context: Float[Tensor, "batch kept dim"],
        keep: Int64[Tensor, "batch kept"],
        masked: Int64[Tensor, "batch masked"],
        kind: int,
    ) -> Float[Tensor, "batch masked dim"]:
        """Return what the predictor says of masked tokens, sorted by position on the way."""
        predictor = self.model.predictor
        x, positions = predictor.embeddings(context, [keep], [masked], kind)
        order = torch.argsort(positions, dim=1)
        x, positions, _ = predictor.sort_tokens(x, positions, order)
        for layer in predictor.layer:
            x = layer(x, positions)[0]
        x = predictor.unsort_tokens(predictor.layernorm(x), order)
        return predictor.proj(x[:, keep.shape[1] :])


class EncodesEverything(PlainLoop):
    """The same with transformers' own forward pass, which encodes every token for the context.

    Attributes:
        once: Whether both kinds of mask share one pass. A call of transformers takes masks of one
            size, so that without further ado there is one a kind.
    """

    def __init__(self, model: Any, *, once: bool) -> None:
        super().__init__(model)
        self.once = once
        self._whole: Tensor | None = None

    def forward(
        self, video: Float[Tensor, "batch frames 3 height width"], masks: list[MaskPair]
    ) -> Float[Tensor, ""]:
        """Return the loss, averaged over the kinds of mask."""
        self._whole = self.model.encoder(video).last_hidden_state if self.once else None
        return super().forward(video, masks)

    def encode(
        self, video: Float[Tensor, "batch frames 3 height width"], keep: Int64[Tensor, "batch kept"]
    ) -> Float[Tensor, "batch kept dim"]:
        """Return the tokens of what is visible, after encoding what is not as well."""
        whole = self._whole
        if whole is None:
            whole = self.model.encoder(video).last_hidden_state
        return _take(whole, keep)


def _take(
    tokens: Float[Tensor, "batch tokens dim"], places: Int64[Tensor, "batch taken"]
) -> Float[Tensor, "batch taken dim"]:
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
