"""Latents are computed once, belong to one encoder and one data set, and are never half there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.latents import cached_latents, encoded


class Brightness(nn.Module):
    """Encodes an image by its pixels, and counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)
        self.count = 0

    def encode(self, images: Tensor) -> Tensor:
        self.count += len(images)
        return self.gain * images.flatten(1, 2).float()

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        raise NotImplementedError


def some_frames(rows: int = 70) -> Frames:
    images = np.random.default_rng(0).integers(0, 256, (rows, 2, 2, 3), np.uint8)
    return Frames(images=images, poses=np.zeros((rows, 7), np.float32), offsets=np.array([0, rows]))


def test_frames_are_encoded_in_order() -> None:
    frames = some_frames()
    latents = torch.cat(list(encoded(Brightness(), frames)))
    assert torch.equal(latents, torch.from_numpy(frames.images).flatten(1, 2).float())


def test_latents_are_computed_once(tmp_path: Path) -> None:
    model, frames = Brightness(), some_frames()
    first = cached_latents(model, [model], frames, tmp_path / "run")
    again = cached_latents(model, [model], frames, tmp_path / "run")
    assert model.count == 70
    assert first.dtype == np.float16
    np.testing.assert_array_equal(first, frames.images.reshape(70, 4, 3))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("what", ["encoder", "images", "poses"])
def test_another_encoder_or_data_set_has_its_own(tmp_path: Path, what: str) -> None:
    model, frames = Brightness(), some_frames()
    cached_latents(model, [model], frames, tmp_path)
    if what == "encoder":
        model.gain.data += 1
    else:
        getattr(frames, what)[-1] += 1
    latents = cached_latents(model, [model], frames, tmp_path)
    assert model.count == 140
    np.testing.assert_array_equal(
        latents[-1], model.encode(torch.from_numpy(frames.images[-1:]))[0]
    )
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_run_left_is_not_taken_for_latents(tmp_path: Path) -> None:
    class Killed(Brightness):
        def encode(self, images: Tensor) -> Tensor:
            if self.count:
                raise KeyboardInterrupt
            return super().encode(images)

    frames, killed, whole = some_frames(), Killed(), Brightness()
    with pytest.raises(KeyboardInterrupt):
        cached_latents(killed, [killed], frames, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    latents = cached_latents(whole, [whole], frames, tmp_path)
    np.testing.assert_array_equal(latents, frames.images.reshape(70, 4, 3))
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]
