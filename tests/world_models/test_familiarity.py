"""Views like those of the training are near; another place, other colours and noise are not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError, DatasetError, PlanningError
from vjepa_gym.learning.checkpoints import read_tensors, write_tensors
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.familiarity import (
    FITTED,
    GRID,
    MOST_DIRECTIONS,
    Familiarity,
    fingerprint,
)
from vjepa_gym.world_models.presets import debug

SIDE = 8


class Looks:
    """Tokens of a view are the colours of its patches of two by two pixels, and their squares."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        patches = images.float().unflatten(2, (SIDE // 2, 2)).unflatten(1, (SIDE // 2, 2))
        colours = patches.mean((2, 4)).flatten(1, 2) / 255
        return torch.cat([colours, colours**2], -1)

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        raise NotImplementedError


def views(count: int, *, seed: int = 0, shift: int = 0, wall: int = 60) -> np.ndarray:
    """A bright square somewhere in the upper left of a wall with a stripe, and a little noise."""
    rng = np.random.default_rng(seed)
    images = np.full((count, SIDE, SIDE, 3), wall, float)
    images[:, :, 5] = 120
    for image in images:
        top, left = rng.integers(0, 3, 2)
        image[top : top + 2, left : left + 2] = 220
    images = np.roll(images, shift, 2) + rng.normal(0, 4, images.shape)
    return images.clip(0, 255).astype(np.uint8)


def frames(images: np.ndarray, episodes: int = 4) -> Frames:
    offsets = np.linspace(0, len(images), episodes + 1).astype(np.int64)
    return Frames(images=images, poses=np.zeros((len(images), 7), np.float32), offsets=offsets)


def fitted(count: int = 600, world_model: Looks | None = None) -> Familiarity:
    known, others = frames(views(count)), frames(views(count, seed=1))
    draw = torch.Generator().manual_seed(0)
    return Familiarity.fit(world_model or Looks(), known, others, draw)


def distance(images: np.ndarray) -> Tensor:
    return fitted().distance(Looks().encode(torch.from_numpy(images)))


def test_one_is_what_nearly_all_views_of_other_episodes_stay_below() -> None:
    found = distance(views(1000, seed=2))
    assert found.shape == (1000,)
    assert 0.97 <= float((found < 1).float().mean()) < 1
    assert 0.4 < found.median() < 0.9


def test_other_views_are_far() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (20, SIDE, SIDE, 3)).astype(np.uint8)
    unlike = {
        "another wall": views(20, seed=3, wall=90),
        # The mean over all tokens does not tell these.
        "the same, seen from elsewhere": views(20, seed=3, shift=4),
        "upside down": np.flip(views(20, seed=3), 1),
        "noise": noise,
        "black": np.zeros((20, SIDE, SIDE, 3), np.uint8),
    }
    for what, images in unlike.items():
        assert distance(np.ascontiguousarray(images)).min() > 1.2, what


def test_the_further_the_further() -> None:
    walls = [float(distance(views(20, seed=3, wall=wall)).median()) for wall in (60, 70, 80, 100)]
    assert walls == sorted(walls)


def test_many_views_are_drawn_from_and_few_will_do() -> None:
    world_model = Looks()
    fitted(3000, world_model)
    assert FITTED < world_model.encoded <= 2 * FITTED
    few = fitted(40)
    assert few.directions.shape == (5, 6 * GRID**2)
    assert fitted().directions.shape[0] <= min(MOST_DIRECTIONS, 6 * GRID**2 // 2)
    unlike = few.distance(Looks().encode(torch.from_numpy(views(9, seed=3, wall=120))))
    assert unlike.isfinite().all()
    assert unlike.min() > 2


def test_it_is_a_function_of_the_seed() -> None:
    known, others = frames(views(300)), frames(views(300, seed=1))
    first, again = (
        Familiarity.fit(Looks(), known, others, torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(first.directions, again.directions)
    assert torch.equal(first.limit, again.limit)


def test_grids_with_an_odd_side_are_averaged_too() -> None:
    draw = torch.Generator().manual_seed(0)
    familiarity = fitted()
    assert familiarity.distance(torch.randn(3, 9, 6, generator=draw)).shape == (3,)
    with pytest.raises(ValueError, match="square of patches, got 8"):
        familiarity.distance(torch.randn(3, 8, 6, generator=draw))


def test_too_little_to_know_is_an_error() -> None:
    draw = torch.Generator().manual_seed(0)
    with pytest.raises(DatasetError, match=r"takes 8 views.* found 3"):
        Familiarity.fit(Looks(), frames(views(20)), frames(views(3)), draw)
    alike = np.full((20, SIDE, SIDE, 3), 7, np.uint8)
    with pytest.raises(DatasetError, match="look alike"):
        Familiarity.fit(Looks(), frames(alike), frames(alike), draw)


def test_latents_that_are_not_finite_are_refused() -> None:
    latents = Looks().encode(torch.from_numpy(views(3)))
    latents[1, 0, 0] = torch.nan
    with pytest.raises(PlanningError, match="1 of 3 views are not finite"):
        fitted().distance(latents)


def test_latents_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens of 6 features, got 5"):
        fitted().distance(torch.zeros(2, 16, 5))


@pytest.fixture
def encoder() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(debug().encoder)


def test_it_is_the_same_from_a_file(tmp_path: Path, encoder: nn.Module) -> None:
    familiarity, path = fitted(), tmp_path / "familiarity.safetensors"
    familiarity.save(path, encoder)
    again = Familiarity.load(path, encoder)
    assert again is not None
    latents = Looks().encode(torch.from_numpy(views(30, seed=5)))
    assert torch.equal(again.distance(latents), familiarity.distance(latents))


def test_it_is_small_for_models_that_are_trained_on_a_cpu(
    tmp_path: Path, encoder: nn.Module
) -> None:
    features = 256 * GRID**2
    Familiarity(
        mean=torch.zeros(features),
        directions=torch.zeros(MOST_DIRECTIONS, features),
        deviations=torch.ones(MOST_DIRECTIONS),
        scales=torch.ones(2),
        limit=torch.tensor(1.0),
    ).save(tmp_path / "it", encoder)
    assert (tmp_path / "it").stat().st_size < 150_000


def test_it_belongs_to_one_encoder(tmp_path: Path, encoder: nn.Module) -> None:
    path = tmp_path / "familiarity.safetensors"
    fitted().save(path, encoder)
    rounded = VisionTransformer(debug().encoder)
    rounded.load_state_dict({name: x.half().float() for name, x in encoder.state_dict().items()})
    assert fingerprint(rounded) == fingerprint(encoder)
    assert Familiarity.load(path, rounded) is not None
    with torch.no_grad():
        next(x for x in rounded.parameters() if x.ndim == 1).add_(0.1)
    assert Familiarity.load(path, rounded) is None


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path, encoder: nn.Module) -> None:
    path = tmp_path / "familiarity.safetensors"
    fitted().save(path, encoder)
    tensors, _ = read_tensors(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        Familiarity.load(path, encoder)
    del tensors["limit"]
    write_tensors(path, tensors)
    with pytest.raises(CheckpointError, match=r"expected .*limit.* Delete it"):
        Familiarity.load(path, encoder)
