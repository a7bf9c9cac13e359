import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.world_models.masking import (
    MaskConfig,
    block_size,
    published_masks,
    sample_masks,
    small_grid_masks,
)

kinds = st.sampled_from([*published_masks(), *small_grid_masks()])
sides = st.integers(6, 16)


@given(kind=kinds, rows=sides, columns=sides, times=st.integers(1, 3), seed=st.integers(0, 99))
def test_seen_and_masked_tokens_are_apart_sorted_and_the_same_at_all_times(
    kind: MaskConfig, rows: int, columns: int, times: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = sample_masks(kind, 5, (times, rows, columns), generator)
    both = torch.cat([masks.keep, masks.masked], 1)
    assert masks.keep.shape[1] >= times
    assert masks.masked.shape[1] >= times
    assert both.min() >= 0
    assert both.max() < times * rows * columns
    for sample, tokens in enumerate(both):
        assert len(tokens.unique()) == len(tokens)
        for part in (masks.keep[sample], masks.masked[sample]):
            assert torch.equal(part, part.sort().values)
            frames = part.view(times, -1)
            assert torch.equal(frames % (rows * columns), frames[:1].expand_as(frames))


@given(kind=kinds, seed=st.integers(0, 99))
def test_blocks_have_the_area_and_aspect_that_are_asked_for(kind: MaskConfig, seed: int) -> None:
    height, width = block_size(kind, 32, 32, torch.Generator().manual_seed(seed))
    assert height * width / 32**2 == pytest.approx(kind.scale, rel=0.1)
    assert kind.aspect[0] * 0.9 <= height / width <= kind.aspect[1] * 1.1


def test_the_published_masks_are_many_small_and_two_large_blocks() -> None:
    assert [(kind.blocks, kind.scale, kind.aspect) for kind in published_masks()] == [
        (8, 0.15, [0.75, 1.5]),
        (2, 0.70, [0.75, 1.5]),
    ]


def test_one_block_of_a_batch_has_one_size_and_many_places() -> None:
    kind = MaskConfig(blocks=1, scale=0.25)
    masks = sample_masks(kind, 64, (1, 8, 8), torch.Generator().manual_seed(0))
    rows, columns = masks.masked // 8, masks.masked % 8
    heights = rows.max(1).values - rows.min(1).values + 1
    widths = columns.max(1).values - columns.min(1).values + 1
    assert len(heights.unique()) == len(widths.unique()) == 1
    assert heights[0] * widths[0] == masks.masked.shape[1]
    assert len(masks.masked[:, 0].unique()) > 10


def test_every_place_is_seen_and_predicted_by_some_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    for kind in small_grid_masks():
        batches = [sample_masks(kind, 64, (2, 4, 4), generator) for _ in range(10)]
        for tokens in ([b.keep for b in batches], [b.masked for b in batches]):
            counts = torch.cat([one.flatten() for one in tokens]).bincount(minlength=32)
            assert counts.min() > 0.1 * counts.max()
            assert torch.equal(counts[:16], counts[16:])


def test_the_same_generator_draws_the_same_masks() -> None:
    first, second = (
        sample_masks(published_masks()[0], 4, (2, 8, 8), torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(first.keep, second.keep)
    assert torch.equal(first.masked, second.masked)


def test_masks_that_leave_nothing_to_see_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="on a grid of 2 x 2: use fewer blocks"):
        sample_masks(MaskConfig(blocks=400, scale=0.3), 2, (1, 2, 2), torch.Generator())


@pytest.mark.parametrize(
    ("blocks", "scale", "aspect"),
    [(0, 0.5, [1.0, 1.0]), (1, 1.0, [1.0, 1.0]), (1, 0.5, [2.0, 1.0]), (1, 0.5, [1.0])],
)
def test_impossible_kinds_are_refused(blocks: int, scale: float, aspect: list[float]) -> None:
    with pytest.raises(ValueError, match=r"block|aspect"):
        MaskConfig(blocks=blocks, scale=scale, aspect=aspect)
