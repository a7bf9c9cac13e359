"""The losses against plain restatements of their definitions."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.dense_loss import context_weights, nearest_masked
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.masked_objective import MaskedObjective, visible_pixels
from vjepa_gym.world_models.masking import MaskConfig, ijepa_masks, sample_masks
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import MODELS, ModelConfig
from vjepa_gym.world_models.pretraining_config import Difference

GRID = (2, 4, 4)
KINDS = [MaskConfig(blocks=1, scale=0.3), MaskConfig(blocks=2, scale=0.2)]


def debug(*, levels: int = 1, dense: bool = False, image_tokens: bool = False) -> ModelConfig:
    model = MODELS["debug"]()
    return replace(
        model,
        encoder=replace(model.encoder, levels=levels, image_tokens=image_tokens),
        predictor=replace(model.predictor, levels=levels, dense=dense, image_tokens=image_tokens),
    )


def objective(model: ModelConfig, **options: Any) -> MaskedObjective:
    """Networks whose every weight counts, in float64."""
    generator = torch.Generator().manual_seed(0)
    networks = [
        VisionTransformer(model.encoder),
        MaskedPredictor(model.predictor, model.encoder.width),
        VisionTransformer(model.encoder),
    ]
    for network in networks:
        initialise(network, generator)
        for weight in network.parameters():
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    networks[2].requires_grad_(False)
    return MaskedObjective(*networks, **options).double()


def clips(batch: int = 3, frames: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, frames, 16, 16, generator=generator, dtype=torch.float64)


def group(video: Tensor, kinds: list[MaskConfig], **others: Any) -> dict:
    generator = torch.Generator().manual_seed(7)
    grid = (max(video.shape[2] // 2, 1), 4, 4)
    masks = [sample_masks(kind, len(video), grid, generator) for kind in kinds]
    return {
        "clips": video,
        "keep": [one.keep for one in masks],
        "masked": [one.masked for one in masks],
        **others,
    }


def normalised(tokens: Tensor) -> Tensor:
    mean = tokens.mean(-1, keepdim=True)
    variance = ((tokens - mean) ** 2).mean(-1, keepdim=True)
    return (tokens - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("each", [True, False])
def test_v_jepa_2_is_the_mean_difference_from_the_teachers_normalised_tokens(each: bool) -> None:
    one, batch = objective(debug(), mask_token_each=each), group(clips(), KINDS)
    loss, metrics = one(batch)
    targets = normalised(one.target(batch["clips"]))
    differences = []
    for index, (keep, masked) in enumerate(zip(batch["keep"], batch["masked"], strict=True)):
        token = index if each else 0
        context = one.encoder(batch["clips"], keep)
        predicted = one.predictor(context, keep, masked, grid=GRID, mask_index=token)
        total = sum(
            (predicted[b, i] - targets[b, masked[b, i]]).abs().sum()
            for b in range(len(masked))
            for i in range(masked.shape[1])
        )
        differences.append(total / predicted.numel())
    torch.testing.assert_close(loss, sum(differences) / 2, rtol=1e-12, atol=0)
    torch.testing.assert_close(metrics["latent_std"], targets.std(0).mean())
    assert set(metrics) == {"latent_std", "latent_rank"}


@pytest.mark.parametrize("by_distance", [True, False])
def test_v_jepa_21_adds_the_visible_tokens_weighted_by_their_distance(by_distance: bool) -> None:
    one = objective(debug(levels=2, dense=True, image_tokens=True), dense=True)
    batch = group(clips(), KINDS)
    batch["weights"] = [
        context_weights(keep, masked, GRID, by_distance=by_distance)
        for keep, masked in zip(batch["keep"], batch["masked"], strict=True)
    ]
    loss, metrics = one(batch, context_weight=torch.tensor(0.3))

    features, width = one.target.levels(batch["clips"]), one.encoder.config.width
    targets = torch.cat([normalised(features[..., :width]), normalised(features[..., width:])], -1)
    masked_losses, context_losses = [], []
    for index, (keep, masked) in enumerate(zip(batch["keep"], batch["masked"], strict=True)):
        context = one.encoder.levels(batch["clips"], keep)
        predicted, visible = one.predictor.dense(context, keep, masked, grid=GRID, mask_index=index)
        wanted = torch.stack([targets[b, masked[b]] for b in range(len(masked))])
        masked_losses.append((predicted - wanted).abs().mean())
        total = torch.zeros(())
        for b in range(len(keep)):
            for i, token in enumerate(keep[b].tolist()):
                difference = (visible[b, i] - targets[b, token]).abs().mean()
                nearest = min(distance(token, other) for other in masked[b].tolist())
                total = total + difference / (math.sqrt(nearest) if by_distance else 1.0)
        context_losses.append(total / keep.numel())
    masked_loss, context_loss = (torch.stack(x).mean() for x in (masked_losses, context_losses))
    expected = masked_loss + 0.3 * context_loss
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(metrics["masked_loss"], masked_loss.detach())
    torch.testing.assert_close(metrics["context_loss"], context_loss.detach(), rtol=1e-6, atol=0)


def distance(one: int, other: int) -> float:
    """Between two tokens of a grid of 4 x 4 at any time."""
    places = [(token // 16, token // 4 % 4, token % 4) for token in (one, other)]
    return math.dist(*places)


def test_images_go_through_their_own_tokens_and_count_by_their_share() -> None:
    one = objective(debug(levels=2, dense=True, image_tokens=True), dense=True)
    video = group(clips(), KINDS, share=torch.tensor(0.6))
    image = group(clips(2, frames=1), KINDS, share=torch.tensor(0.4))
    alone = [one({**part, "share": torch.tensor(1.0)})[0] for part in (video, image)]
    loss, _ = one(video, image)
    torch.testing.assert_close(loss, 0.6 * alone[0] + 0.4 * alone[1], rtol=1e-6, atol=0)
    loss.backward()
    for weight in (
        one.encoder.patch_embed_img.proj.weight,
        one.encoder.patch_embed.proj.weight,
        one.predictor.img_mod_embed,
    ):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0


def test_i_jepa_predicts_each_block_by_itself() -> None:
    kind = replace(ijepa_masks()[0], blocks=3, min_keep=1)
    one = objective(debug(), difference=Difference.smooth_l1)
    batch = group(clips(frames=2), [kind])
    loss, _ = one(batch)
    targets, keep = normalised(one.target(batch["clips"])), batch["keep"][0]
    context = one.encoder(batch["clips"], keep)
    differences = []
    for block in batch["masked"][0].unbind(1):
        predicted = one.predictor(context, keep, block, grid=(1, 4, 4))
        apart = (predicted - torch.stack([targets[b, block[b]] for b in range(3)])).abs()
        differences.append(torch.where(apart < 1, apart**2 / 2, apart - 0.5).mean())
    torch.testing.assert_close(loss, sum(differences) / 3, rtol=1e-9, atol=0)


def test_noise_takes_the_place_of_what_is_not_visible() -> None:
    one = objective(debug())
    noise = torch.randn(clips().shape, dtype=torch.float64)
    batch = group(clips(), KINDS[:1], noise=noise)
    loss, _ = one(batch)
    keep, masked = batch["keep"][0], batch["masked"][0]
    noised = noise.clone()
    for b in range(len(keep)):
        for token in keep[b].tolist():
            t, row, column = 2 * (token // 16), 4 * (token // 4 % 4), 4 * (token % 4)
            where = (
                b,
                slice(None),
                slice(t, t + 2),
                slice(row, row + 4),
                slice(column, column + 4),
            )
            noised[where] = batch["clips"][where]
    context = torch.stack(
        [tokens[at] for tokens, at in zip(one.encoder(noised), keep, strict=True)]
    )
    predicted = one.predictor(context, keep, masked, grid=GRID)
    targets = normalised(one.target(batch["clips"]))
    wanted = torch.stack([targets[b, masked[b]] for b in range(len(masked))])
    torch.testing.assert_close(loss, (predicted - wanted).abs().mean(), rtol=1e-12, atol=0)
    assert not torch.isclose(loss, one(group(clips(), KINDS[:1]))[0])


def test_pixels_are_visible_where_their_token_is() -> None:
    seen = visible_pixels(torch.tensor([[0, 5], [17, 31]]), GRID, torch.Size([4, 16, 16]))
    assert seen.shape == (2, 1, 4, 16, 16)
    assert seen.flatten(1).sum(1).tolist() == [2 * 2 * 16] * 2
    assert seen[0, 0, :2, :4, :4].all()
    assert seen[0, 0, :2, 4:8, 4:8].all()
    assert seen[1, 0, 2:, :4, 4:8].all()


def test_no_gradient_reaches_the_teacher_and_all_of_the_student_has_one() -> None:
    one = objective(debug())
    one(group(clips(), KINDS))[0].backward()
    assert all(weight.grad is None for weight in one.target.parameters())
    assert all(weight.grad is not None for weight in one.encoder.parameters())


def test_distances_are_to_the_nearest_masked_token_in_time_and_space() -> None:
    keep, masked = torch.tensor([[0, 3, 16]]), torch.tensor([[1, 26]])
    expected = [[1.0, 2.0, math.sqrt(2)]]
    torch.testing.assert_close(nearest_masked(keep, masked, GRID), torch.tensor(expected))
    weights = context_weights(keep, masked, GRID, by_distance=True)
    torch.testing.assert_close(weights, torch.tensor(expected) ** -0.5)


def test_models_that_were_taught_by_others_are_refused() -> None:
    model = debug(levels=2)
    for predictor in (
        replace(model.predictor, levels=1),
        replace(model.predictor, target_width=48),
    ):
        with pytest.raises(ValueError, match="cannot be pretrained by its own average"):
            objective(replace(model, predictor=predictor))


def test_a_dense_loss_needs_a_predictor_of_visible_tokens() -> None:
    with pytest.raises(ValueError, match=r"context_weight .* set job.model.predictor.dense=true"):
        objective(debug(), dense=True)
