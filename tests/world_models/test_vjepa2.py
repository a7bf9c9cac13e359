from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import read_tensors, write_tensors
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.encoder import VisionTransformer, normalise_tokens
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2 import VJEPA2


def made(with_predictor: bool = True, image_tokens: bool = False) -> VJEPA2:
    config, generator = debug(), torch.Generator().manual_seed(0)
    config.encoder.image_tokens = image_tokens
    encoder = VisionTransformer(config.encoder)
    predictor = MaskedPredictor(config.predictor, config.encoder.width) if with_predictor else None
    model = VJEPA2(config, encoder, predictor)
    initialise(model, generator)
    return model


def frames(n: int, time: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, time, 20, 30, 3), generator=generator, dtype=torch.uint8)


def test_the_features_of_a_video_are_the_encoders_output() -> None:
    model, video = made(), frames(2, 4)
    pixels = model.preprocessing(video.flatten(0, 1)).unflatten(0, (2, 4)).transpose(1, 2)
    features = model.encode_video(video)
    assert features.shape == (2, 2 * 4 * 4, 24)
    torch.testing.assert_close(features, model.encoder(pixels))


def test_many_videos_pass_in_parts_and_are_the_same() -> None:
    model, video = made(), frames(5, 30)
    apart = torch.cat([model.encode_video(one) for one in video.split(1)])
    torch.testing.assert_close(model.encode_video(video), apart)


def test_a_single_frame_is_repeated_to_fill_a_tubelet_unless_there_is_a_stem_for_images() -> None:
    video = frames(2, 1)
    model = made()
    twice = video.expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(model.encode_video(video), model.encode_video(twice))
    model = made(image_tokens=True)
    assert model.encode_video(video).shape == (2, 16, 24)
    assert not torch.allclose(model.encode_video(video), model.encode_video(twice), atol=1e-3)


def test_latents_of_images_are_normalised_tokens_of_each_frame_twice() -> None:
    model, video = made(), frames(3, 1)
    expected = normalise_tokens(model.encode_video(video))
    torch.testing.assert_close(model.encode(video[:, 0]), expected)


def test_half_a_tubelet_and_no_video_are_refused() -> None:
    with pytest.raises(ValueError, match="whole tubelets of 2 frames"):
        made().encode_video(frames(1, 3))
    with pytest.raises(ValueError, match="no video"):
        made().encode_video(frames(1, 2)[:0])
    with pytest.raises(ValueError, match="no image"):
        made().encode(frames(1, 2)[0, :0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x / 255, r"got torch\.float32 of shape \(1, 2, 20, 30, 3\): .* multiplied"),
        (lambda x: x.numpy() / 255, r"got float64 of shape \(1, 2, 20, 30, 3\)"),
        (lambda x: x.to(torch.int64), r"got torch\.int64 of shape"),
        (lambda x: x[0], r"of shape \(2, 20, 30, 3\): a single video `x` is `x\[None\]`"),
        (lambda x: x[None], r"of shape .*: it has 6 axes instead of 5"),
        (lambda x: x.movedim(-1, 2), r"shape \(1, 2, 3, 20, 30\): colours come last"),
        (lambda x: x[..., :1], r"shape \(1, 2, 20, 30, 1\): three colours"),
    ],
)
def test_what_are_no_bytes_of_videos_is_refused(
    change: Callable[[torch.Tensor], Any], told: str
) -> None:
    with pytest.raises(ValueError, match=r"^videos must be uint8 of shape .*" + told):
        made().encode_video(change(frames(1, 2)))


def test_what_are_no_bytes_of_images_is_refused() -> None:
    model, images = made(), frames(1, 2)[0]
    with pytest.raises(ValueError, match=r"^images must be uint8 .* got torch\.float32"):
        model.encode(images.float())
    with pytest.raises(ValueError, match="videos are for `encode_video`"):
        model.encode(images[None])
    with pytest.raises(ValueError, match=r"a single image `x` is `x\[None\]`"):
        model.encode(images[0])


def test_arrays_of_numpy_are_taken_even_if_they_are_views_that_cannot_be_written() -> None:
    model, images = made(), frames(1, 2)[0]
    array = images.numpy()[:, ::-1]
    array.flags.writeable = False
    assert torch.equal(model.encode(array), model.encode(images.flip(1)))
    assert torch.equal(model.encode_video(array[None]), model.encode_video(images.flip(1)[None]))


@pytest.mark.parametrize("with_predictor", [True, False])
def test_a_model_comes_back_as_it_was_saved(tmp_path: Path, with_predictor: bool) -> None:
    model = made(with_predictor)
    model.save(str(tmp_path))
    loaded = VJEPA2.load(str(tmp_path))
    assert loaded.config == model.config
    assert (loaded.predictor is not None) == with_predictor
    assert torch.equal(loaded.encode_video(frames(1, 2)), model.encode_video(frames(1, 2)))
    assert not loaded.training
    assert not any(x.requires_grad for x in loaded.parameters())


def test_the_model_outlives_its_file(tmp_path: Path) -> None:
    made().save(tmp_path)
    loaded, file = VJEPA2.load(tmp_path), tmp_path / "model.safetensors"
    before = loaded.encode_video(frames(1, 2))
    file.write_bytes(b"\xff" * file.stat().st_size)
    assert torch.equal(loaded.encode_video(frames(1, 2)), before)


def test_a_model_in_half_precision_computes_in_single(tmp_path: Path) -> None:
    model = made()
    model.save(tmp_path, half=True)
    loaded = VJEPA2.load(tmp_path)
    assert loaded.encoder.norm.weight.dtype == torch.float32
    error = (loaded.encode_video(frames(1, 2)) - model.encode_video(frames(1, 2))).abs().max()
    assert error < 0.02


def test_what_is_missing_and_what_is_too_much_is_listed(tmp_path: Path) -> None:
    made().save(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors, _ = read_tensors(file)
    del tensors["encoder.norm.weight"], tensors["predictor.predictor_norm.bias"]
    write_tensors(file, {**tensors, "encoder.stray": torch.ones(1)})
    with pytest.raises(CheckpointError) as caught:
        VJEPA2.load(tmp_path)
    for told in (
        "missing: encoder.norm.weight",
        "missing: predictor.predictor_norm.bias",
        "unexpected: encoder.stray",
    ):
        assert told in str(caught.value)
