"""The real frames whose latents are nearest: exact, in parts, on whatever is given."""

import numpy as np
import pytest
import torch

from vjepa_gym.world_models.nearest import NearestFrames, Norm

ROWS, TOKENS, DIM = 23, 4, 3


def latents() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, TOKENS, DIM)).astype(np.float16)


def images() -> np.ndarray:
    return np.broadcast_to(np.arange(ROWS, dtype=np.uint8)[:, None, None, None], (ROWS, 2, 2, 3))


def wanted(n: int = 5) -> torch.Tensor:
    return torch.randn(n, TOKENS, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("together", [1, 5 * TOKENS * DIM, 10**6])
def test_it_finds_what_looking_at_all_finds(norm: Norm, together: int):
    known = NearestFrames(latents(), images(), norm=norm, numbers_together=together)
    found = known.find(wanted())
    apart = np.abs(wanted().numpy()[:, None] - latents()[None].astype(np.float32))
    far = apart.mean((2, 3)) if norm is Norm.l1 else np.sqrt((apart**2).mean((2, 3)))
    np.testing.assert_array_equal(found.rows, far.argmin(1))
    np.testing.assert_allclose(found.distances, far.min(1), rtol=1e-5)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_frame_is_nearest_to_itself(norm: Norm):
    known = NearestFrames(latents(), images(), norm=norm, numbers_together=7 * TOKENS * DIM)
    rows = np.array([22, 0, 7])
    found = known.find(torch.from_numpy(latents()[rows]).float())
    np.testing.assert_array_equal(found.rows, rows)
    assert (found.distances == 0).all()
    np.testing.assert_array_equal(known.shown(found), images()[rows])


def test_of_equally_near_ones_it_takes_the_first():
    twice = np.concatenate([latents(), latents()])
    known = NearestFrames(twice, np.concatenate([images()] * 2), numbers_together=9 * TOKENS * DIM)
    assert (known.find(wanted()).rows < ROWS).all()


def test_it_reads_from_a_memory_map_of_sixteen_bits(tmp_path):
    np.save(tmp_path / "latents.npy", latents())
    mapped = np.load(tmp_path / "latents.npy", mmap_mode="r")
    there = NearestFrames(mapped, images()).find(wanted())
    np.testing.assert_array_equal(
        there.rows, NearestFrames(latents(), images()).find(wanted()).rows
    )


def test_of_nothing_it_finds_nothing():
    found = NearestFrames(latents(), images()).find(wanted(0))
    assert found.rows.shape == found.distances.shape == (0,)


@pytest.mark.parametrize("rows", [0, ROWS - 1])
def test_there_must_be_a_frame_for_each_of_the_latents(rows: int):
    with pytest.raises(ValueError, match=f"got {rows} latents of"):
        NearestFrames(latents()[:rows], images()[: rows and ROWS])


def test_latents_of_another_model_are_refused():
    with pytest.raises(ValueError, match="4 tokens of 5 features, those that are looked up in 4"):
        NearestFrames(latents(), images()).find(torch.zeros(1, TOKENS, 5))


def test_latents_that_are_not_finite_are_refused():
    broken = wanted()
    broken[2, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="must be finite"):
        NearestFrames(latents(), images()).find(broken)


@pytest.mark.gpu
def test_on_a_gpu_it_finds_the_same():
    known = NearestFrames(latents(), images(), numbers_together=5 * TOKENS * DIM)
    here, there = known.find(wanted()), known.find(wanted().cuda())
    np.testing.assert_array_equal(here.rows, there.rows)
