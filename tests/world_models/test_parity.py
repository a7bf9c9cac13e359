"""Encoder and predictor give what `transformers` gives for the same random weights."""

import pytest
import torch
from torch import Tensor, nn
from transformers import IJepaConfig, IJepaModel, VJEPA2Config, VJEPA2Model

from vjepa_gym.world_models.encoder import EncoderConfig, VisionTransformer, take_tokens
from vjepa_gym.world_models.predictor import MaskedPredictor, PredictorConfig
from vjepa_gym.world_models.presets import MODELS

SIZES = {"l": (1024, 16, 4.0), "h": (1280, 16, 4.0), "g": (1408, 22, 48 / 11)}
FRAMES = 4


def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Give every weight another value, gains and biases too, so that none can be mistaken."""
    for name, weight in module.named_parameters():
        gain = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        nn.init.uniform_(weight, gain - 0.05, gain + 0.05, generator=generator)


def build(
    encoder: EncoderConfig, predictor: PredictorConfig, dtype: torch.dtype
) -> tuple[VisionTransformer, MaskedPredictor]:
    """Return both with random weights, made without drawing others first."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        modules = VisionTransformer(encoder), MaskedPredictor(predictor, encoder.width)
    for module in modules:
        module.to(dtype).to_empty(device="cpu").requires_grad_(False)
        fill(module, generator)
    return modules


VIDEO_NAMES = {
    "blocks.": "layer.",
    "predictor_blocks.": "layer.",
    "patch_embed.": "embeddings.patch_embeddings.",
    "predictor_embed.": "embeddings.predictor_embeddings.",
    "predictor_norm.": "layernorm.",
    "norm.": "layernorm.",
    "predictor_proj.": "proj.",
    ".attn.": ".attention.",
}
IMAGE_NAMES = {
    "blocks.": "encoder.layer.",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "norm.": "layernorm.",
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.proj.": ".attention.output.dense.",
    ".attn.": ".attention.attention.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}


def renamed(module: nn.Module, names: dict[str, str], prefix: str = "") -> dict[str, Tensor]:
    """Return a module's weights by the names of `transformers`, in the same memory."""
    weights = {}
    for name, weight in module.state_dict().items():
        if name.startswith("mask_tokens."):
            continue
        for ours, published in names.items():
            if ours in name and (ours[0] == "." or name.startswith(ours)):
                name = name.replace(ours, published, 1)
        if ".qkv." not in name:
            weights[prefix + name] = weight
            continue
        for part, piece in zip(("query", "key", "value"), weight.chunk(3), strict=True):
            weights[prefix + name.replace("qkv", part)] = piece
    return weights


def theirs(
    encoder: VisionTransformer, predictor: MaskedPredictor, image_size: int, frames: int
) -> VJEPA2Model:
    """Return `transformers`' model of the same sizes, sharing our weights."""
    sizes, small = encoder.config, predictor.config
    config = VJEPA2Config(
        crop_size=image_size,
        frames_per_clip=frames,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        mlp_ratio=sizes.mlp_ratio,
        pred_hidden_size=small.width,
        pred_num_hidden_layers=small.depth,
        pred_num_attention_heads=small.heads,
        pred_num_mask_tokens=small.mask_tokens,
    )
    with torch.device("meta"):
        model = VJEPA2Model(config)
    weights = renamed(encoder, VIDEO_NAMES, "encoder.")
    weights |= renamed(predictor, VIDEO_NAMES, "predictor.")
    weights["predictor.embeddings.mask_tokens"] = torch.stack(list(predictor.mask_tokens))
    model.load_state_dict(weights, assign=True)
    return model.eval()


def clip(image_size: int, frames: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        batch, 3, frames, image_size, image_size, generator=generator, dtype=torch.float64
    )


def drawn(tokens: int, batch: int) -> Tensor:
    """Return all tokens of each sample in some order."""
    generator = torch.Generator().manual_seed(2)
    return torch.stack([torch.randperm(tokens, generator=generator) for _ in range(batch)])


@pytest.mark.parametrize("size", SIZES)
def test_encoder_and_masked_predictor_equal_those_of_transformers(size: str) -> None:
    width, heads, mlp_ratio = SIZES[size]
    encoder, predictor = build(
        EncoderConfig(width=width, depth=2, heads=heads, mlp_ratio=mlp_ratio),
        PredictorConfig(depth=2),
        torch.float64,
    )
    for image_size, batch in [(64, 2), (96, 1)]:
        video = clip(image_size, FRAMES, batch)
        grid = encoder.grid(FRAMES, image_size, image_size)
        order = drawn(grid[0] * grid[1] * grid[2], batch)
        keep, masked = order[:, :20], order[:, 20:31]
        with torch.no_grad():
            expected = theirs(encoder, predictor, image_size, FRAMES)(
                video.transpose(1, 2), context_mask=[keep], target_mask=[masked]
            )
        latents = encoder(video)
        assert latents.std() > 0.3
        torch.testing.assert_close(latents, expected.last_hidden_state, atol=1e-9, rtol=0)
        predicted = predictor(take_tokens(latents, keep), keep, masked, grid=grid, mask_index=1)
        assert predicted.std() > 0.1
        torch.testing.assert_close(
            predicted, expected.predictor_output.last_hidden_state, atol=1e-9, rtol=0
        )


@pytest.mark.slow
def test_a_whole_vit_l_in_single_precision_is_that_of_transformers() -> None:
    encoder, predictor = build(
        EncoderConfig(), PredictorConfig(depth=1, mask_tokens=1), torch.float32
    )
    video = clip(64, FRAMES).float()
    latents = encoder(video)
    with torch.no_grad():
        expected = theirs(encoder, predictor, 64, FRAMES)(
            video.transpose(1, 2), skip_predictor=True
        )
    assert latents.std() > 0.3
    difference = (latents - expected.last_hidden_state).abs().max().item()
    assert 0 < difference < 3e-5


@pytest.mark.parametrize("name", ["vit_l", "vit_h", "vit_g", "vit_g_384"])
def test_presets_have_as_many_weights_as_those_of_transformers(name: str) -> None:
    model = MODELS[name]()
    sizes = model.encoder
    with torch.device("meta"):
        ours = [VisionTransformer(sizes), MaskedPredictor(model.predictor, sizes.width)]
        published = VJEPA2Model(
            VJEPA2Config(
                hidden_size=sizes.width,
                num_hidden_layers=sizes.depth,
                num_attention_heads=sizes.heads,
                mlp_ratio=sizes.mlp_ratio,
            )
        )
    counts = [
        sum(x.numel() for x in module.parameters())
        for module in (*ours, published.encoder, published.predictor)
    ]
    assert counts[:2] == counts[2:]


def test_an_image_encoder_is_that_of_transformers_at_any_size() -> None:
    sizes = EncoderConfig(
        **{**vars(MODELS["ijepa_h"]().encoder), "width": 96, "depth": 2, "heads": 4}
    )
    encoder, _ = build(sizes, PredictorConfig(depth=1), torch.float64)
    published = IJepaModel(
        IJepaConfig(
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=384,
            image_size=224,
            patch_size=14,
            layer_norm_eps=1e-6,
        )
    )
    named = renamed(encoder, IMAGE_NAMES)
    # Their images have no axis of time.
    named["embeddings.patch_embeddings.projection.weight"] = encoder.patch_embed.proj.weight[
        :, :, 0
    ]
    named["embeddings.position_embeddings"] = published_table(96, 16)[None]
    published.double().load_state_dict(named)
    for height, width in [(224, 224), (112, 168)]:
        image = clip(224, 1)[..., :height, :width]
        with torch.no_grad():
            expected = published.eval()(image[:, :, 0], interpolate_pos_encoding=True)
        torch.testing.assert_close(encoder(image), expected.last_hidden_state, atol=1e-9, rtol=0)


def published_table(width: int, side: int) -> Tensor:
    """I-JEPA's table word by word: columns, then rows; of each, sines and then cosines."""
    table = torch.zeros(side * side, width, dtype=torch.float64)
    quarter = width // 4
    for row in range(side):
        for column in range(side):
            for half, place in enumerate([column, row]):
                angles = place / 10_000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
                at = half * width // 2
                table[row * side + column, at : at + quarter] = angles.sin()
                table[row * side + column, at + quarter : at + 2 * quarter] = angles.cos()
    return table.float().double()
