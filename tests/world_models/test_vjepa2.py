from pathlib import Path

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


@pytest.mark.parametrize("with_predictor", [True, False])
def test_a_model_comes_back_as_it_was_saved(tmp_path: Path, with_predictor: bool) -> None:
    model = made(with_predictor)
    model.save(tmp_path)
    loaded = VJEPA2.load(tmp_path)
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
