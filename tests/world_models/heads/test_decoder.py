"""A decoder: what it draws before and after training, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_gym.images import resize
from vjepa_gym.learning.tasks import Plan, Task, step_generator
from vjepa_gym.learning.training import fit
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.decoder import Decoder, DecoderConfig
from vjepa_gym.world_models.heads.decoder_task import (
    DecoderTask,
    decoder_training,
    edge_error,
    weighted_error,
)
from vjepa_gym.world_models.heads.registry import HEADS, HeadData
from vjepa_gym.world_models.preprocessing import Framing
from vjepa_gym.world_models.presets import MODELS, ModelConfig, debug

ROWS, SIZE, TOKENS, DIM = 40, 16, 16, 24


def small(**sizes: int) -> DecoderConfig:
    return DecoderConfig(**{"width": 24, "heads": 2, "depth": 1, "least_channels": 8} | sizes)


def decoder_of(config: DecoderConfig | None = None, seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    return Decoder(config or small(), debug())


def views(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.nn.functional.layer_norm(torch.randn(n, TOKENS, DIM, generator=generator), (DIM,))


def data(size: int = SIZE) -> HeadData:
    """Return frames of a white square on grey, and latents that say where it is."""
    images = np.full((ROWS, size, size, 3), 90, np.uint8)
    latents = np.zeros((ROWS, TOKENS, DIM), np.float16)
    generator = np.random.default_rng(0)
    for row, (top, left) in enumerate(generator.integers(0, 4, (ROWS, 2))):
        patch = size // 4
        images[row, patch * top : patch * (top + 1), patch * left : patch * (left + 1)] = 250
        latents[row, 4 * top + left] = 1
    poses = np.zeros((ROWS, 7), np.float32)
    offsets = np.array([0, 15, ROWS])
    return HeadData(latents=latents, frames=Frames(images=images, poses=poses, offsets=offsets))


def brightest(images: np.ndarray) -> np.ndarray:
    """Return which patch of each image is the brightest."""
    return images.mean(-1).reshape(-1, 4, 4, 4, 4).mean((2, 4)).reshape(-1, 16).argmax(1)


def task_of(made: HeadData | None = None, batch_size: int = 6) -> DecoderTask:
    return DecoderTask(made or data(), decoder_of(), TrainingConfig(batch_size=batch_size))


def test_the_size_of_a_picture_is_that_of_the_model():
    assert decoder_of()(views(3)).shape == (3, 3, SIZE, SIZE)
    images = decoder_of().images(views(70))
    assert images.shape == (70, SIZE, SIZE, 3)
    assert images.dtype == torch.uint8


@pytest.mark.parametrize("name", ["tiny", "small", "vit_g", "ijepa_h"])
def test_it_is_small_whatever_the_encoder(name: str):
    model = MODELS[name]()
    decoder = Decoder(DecoderConfig(), model)
    assert sum(x.numel() for x in decoder.parameters()) <= 1_000_000
    side = model.encoder.grid_size
    if name in ("tiny", "ijepa_h"):  # the latter has patches of 14 px
        latents = torch.zeros(1, side**2, model.encoder.width)
        assert decoder(latents).shape[2:] == (model.encoder.image_size,) * 2


def test_of_the_shipped_model_it_takes_two_megabytes_at_most():
    decoder = Decoder(DecoderConfig(), MODELS["tiny"]())
    assert sum(2 * x.numel() for x in decoder.state_dict().values()) <= 2e6


def test_untrained_it_draws_the_mean_image():
    task, wanted = task_of(), data().frames.images.mean(0) / 255
    drawn = task.modules["decoder"](views(2)).detach()
    for one in drawn:
        np.testing.assert_allclose(one.permute(1, 2, 0).numpy(), wanted, atol=1e-5)


def test_it_refuses_latents_of_another_model():
    with pytest.raises(ValueError, match="draws 16 tokens of 24 features, got 9 of 24"):
        decoder_of()(torch.zeros(1, 9, DIM))
    with pytest.raises(ValueError, match="of another world model"):
        decoder_of().images(torch.zeros(1, TOKENS, DIM + 1))


@pytest.mark.parametrize("sizes", [{"depth": -1}, {"least_channels": 0}, {"width": 25}])
def test_impossible_sizes_are_refused(sizes: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(sizes))):
        small(**sizes)


def test_colours_beyond_black_and_white_are_cut():
    decoder = decoder_of()
    decoder.mean_image.fill_(1.5)
    assert (decoder.images(views(1)) == 255).all()
    decoder.mean_image.fill_(-0.5)
    assert (decoder.images(views(1)) == 0).all()


def test_it_is_a_task_of_the_loop():
    task = task_of()
    plan = task.plan(1, 9, step_generator(0, 1))
    assert isinstance(task, Task)
    assert isinstance(plan, Plan)
    assert plan.size == 6
    assert task.describe(plan, slice(2, 3)) == [f"frame {plan.rows[2]}"]
    again = task.plan(1, 9, step_generator(0, 1))
    np.testing.assert_array_equal(plan.rows, again.rows)
    whole, part = task.load(plan, slice(None)), task.load(plan, slice(2, 5))
    for name in ("latents", "images"):
        assert torch.equal(part[name], whole[name][2:5])
    np.testing.assert_array_equal(whole["images"], data().frames.images[plan.rows])


def test_its_loss_is_a_mean_over_samples():
    task = task_of()
    plan = task.plan(1, 9, step_generator(0, 1))
    whole = task.objective(**task.load(plan, slice(None)))[0]
    parts = [task.objective(**task.load(plan, slice(row, row + 1)))[0] for row in range(6)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_it_learns_where_things_are(tmp_path: Path):
    task = task_of(batch_size=16)
    training = TrainingConfig(
        steps=60, batch_size=16, learning_rate=1e-2, checkpoint_every=60, prefetch=0
    )
    told = []
    fit(task, training, folder=tmp_path, seed=0, on_step=lambda *step: told.append(step[2]))
    assert told[-1]["error"] < 0.2 * told[0]["error"]
    assert told[0]["error"] == pytest.approx(told[0]["mean_image_error"], rel=0.1)
    made = data()
    images = task.modules["decoder"].images(torch.from_numpy(made.latents).float()).numpy()
    np.testing.assert_array_equal(brightest(images), brightest(made.frames.images))


def test_frames_of_another_size_are_scaled_as_the_encoder_scales_them():
    task, larger = task_of(), task_of(data(2 * SIZE))
    torch.testing.assert_close(
        task.modules["decoder"].mean_image, larger.modules["decoder"].mean_image
    )
    images = data(2 * SIZE).frames.images[:3]
    seen = larger.modules["decoder"].framing(torch.from_numpy(images))
    np.testing.assert_allclose(
        255 * seen.permute(0, 2, 3, 1).numpy(), resize(images, SIZE), atol=0.51
    )


def test_it_draws_what_the_encoder_is_shown_of_an_image():
    model: ModelConfig = debug()
    model = replace(model, preprocessing=replace(model.preprocessing, framing=Framing.inner))
    decoder = Decoder(small(), model)
    images = torch.zeros(1, 70, 70, 3, dtype=torch.uint8)
    images[:, 3:-3, 3:-3] = 255  # the edge that is left out
    assert decoder.framing(images).min() > 0.9


def test_what_differs_from_the_mean_image_counts_more():
    mean = torch.full((3, 4, 4), 0.5)
    wanted = mean.repeat(1, 1, 1, 1)
    wanted[..., 0, 0] = 1.0
    there, elsewhere = wanted.clone(), wanted.clone()
    there[..., 0, 0] -= 0.1
    elsewhere[..., 3, 3] -= 0.1
    assert weighted_error(there, wanted, mean) > 5 * weighted_error(elsewhere, wanted, mean)
    # Of an image that is the mean image all pixels count alike.
    same = weighted_error(mean[None] + 0.1, mean[None], mean)
    assert same.item() == pytest.approx(0.1, abs=1e-6)


def test_blurred_edges_are_an_error_that_a_shift_of_all_colours_is_not():
    wanted = torch.zeros(1, 3, 4, 4)
    wanted[..., 2:] = 1.0
    assert edge_error(wanted + 0.3, wanted).item() == pytest.approx(0.0, abs=1e-6)
    assert edge_error(torch.full_like(wanted, 0.5), wanted).item() == pytest.approx(1 / 3)


def test_as_many_latents_as_frames_are_needed():
    made = data()
    with pytest.raises(ValueError, match="got 39 latents of 40 frames"):
        DecoderTask(replace(made, latents=made.latents[:-1]), decoder_of(), TrainingConfig())


def test_it_is_a_head_by_name():
    kind = HEADS["decoder"]
    assert (kind.config, kind.module, kind.task) == (DecoderConfig, Decoder, DecoderTask)
    assert kind.training() == decoder_training()


@pytest.mark.gpu
def test_on_a_gpu_it_draws_the_same():
    decoder = decoder_of()
    for x in decoder.enlarge[-1].parameters():
        torch.nn.init.normal_(x, std=0.05)
    there = decoder_of().cuda()
    there.load_state_dict(decoder.state_dict())
    found = there.images(views(5)).cpu().int()
    assert (found - decoder.images(views(5)).int()).abs().max() <= 1
