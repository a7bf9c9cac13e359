import math
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.world_models.mask_blocks import block_of
from vjepa_gym.world_models.masking import (
    Cut,
    MaskConfig,
    draw_masks,
    ijepa_masks,
    published_image_masks,
    published_masks,
    sample_masks,
    small_grid_masks,
)

TEMPORAL = MaskConfig(blocks=3, scale=0.3, temporal_scale=[0.3, 0.7], max_temporal_keep=0.75)
SMALL_IJEPA = replace(ijepa_masks()[0], min_keep=1)
every_kind = [
    *published_masks(),
    *small_grid_masks(),
    *published_image_masks(),
    TEMPORAL,
    replace(TEMPORAL, cut=Cut.last),
    SMALL_IJEPA,
    replace(SMALL_IJEPA, cut=Cut.spread),
]
kinds = st.sampled_from(every_kind)
sides = st.integers(6, 16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(kind=kinds, rows=sides, columns=sides, times=st.integers(1, 4), seed=st.integers(0, 99))
def test_seen_and_masked_tokens_are_apart_sorted_and_within_the_video(
    kind: MaskConfig, rows: int, columns: int, times: int, seed: int
) -> None:
    masks = sample_masks(kind, 5, (times, rows, columns), seeded(seed))
    assert masks.keep.shape[1] >= 1
    assert masks.masked.shape[-1] >= 1
    assert min(masks.keep.min(), masks.masked.min()) >= 0
    assert max(masks.keep.max(), masks.masked.max()) < times * rows * columns
    for seen, masked in zip(masks.keep.tolist(), masks.masked.flatten(1).tolist(), strict=True):
        assert not set(seen) & set(masked)
        assert seen == sorted(set(seen))
    blocks = masks.masked.reshape(-1, masks.masked.shape[-1])
    assert (blocks.diff() > 0).all()


@given(
    kind=st.sampled_from([*small_grid_masks(), replace(published_masks()[0], cut=Cut.spread)]),
    side=sides,
    times=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_spread_masks_are_the_same_at_all_times(
    kind: MaskConfig, side: int, times: int, seed: int
) -> None:
    masks = sample_masks(kind, 5, (times, side, side), seeded(seed))
    for tokens in (masks.keep, masks.masked):
        frames = tokens.view(5, times, -1) % side**2
        assert torch.equal(frames, frames[:, :1].expand_as(frames))


@given(kind=st.sampled_from([*published_masks(), *small_grid_masks()]), seed=st.integers(0, 99))
def test_blocks_have_the_area_and_aspect_that_are_asked_for(kind: MaskConfig, seed: int) -> None:
    scale = [kind.scale, kind.scale]
    times, height, width = block_of((4, 32, 32), [1.0, 1.0], scale, kind.aspect, seeded(seed))
    assert times == 4
    assert height * width / 32**2 == pytest.approx(kind.scale, rel=0.1)
    assert kind.aspect[0] * 0.9 <= height / width <= kind.aspect[1] * 1.1


def test_the_kinds_are_those_of_the_public_configurations() -> None:
    assert [(kind.blocks, kind.scale, kind.aspect, kind.cut) for kind in published_masks()] == [
        (8, 0.15, [0.75, 1.5], Cut.last),
        (2, 0.70, [0.75, 1.5], Cut.last),
    ]
    (image,) = published_image_masks()
    assert (image.blocks, image.scale) == (10, 0.15)
    (ijepa,) = ijepa_masks()
    assert (ijepa.blocks, ijepa.scale, ijepa.scale_to) == (4, 0.15, 0.20)
    assert (ijepa.context_scale, ijepa.min_keep) == ([0.85, 1.0], 11)


def published_draw(
    kind: MaskConfig, batch: int, grid: tuple[int, int, int], generator: torch.Generator
) -> tuple[float, float, float]:
    """Restate the public generator; return the parts that are seen, predicted, and covered.

    One size a batch; blocks laid anywhere; a sample with nothing to see drawn again; all samples
    cut to the fewest tokens of the batch.
    """
    times, rows, columns = grid
    shape = float(torch.empty(()).uniform_(*kind.aspect, generator=generator))
    area = int(rows * columns * kind.scale)
    height = min(int(round(math.sqrt(area * shape))), rows)  # noqa: RUF046
    width = min(int(round(math.sqrt(area / shape))), columns)  # noqa: RUF046
    counts = []
    for _ in range(batch):
        seen = torch.zeros(rows, columns)
        while not seen.any():
            seen = torch.ones(rows, columns)
            for _ in range(kind.blocks):
                top = int(torch.randint(0, rows - height + 1, (), generator=generator))
                left = int(torch.randint(0, columns - width + 1, (), generator=generator))
                seen[top : top + height, left : left + width] = 0
        counts.append(times * int(seen.sum()))
    total = times * rows * columns
    return (
        min(counts) / total,
        (total - max(counts)) / total,
        1 - sum(counts) / len(counts) / total,
    )


@pytest.mark.parametrize("kind", [*published_masks(), *published_image_masks()])
def test_ratios_are_those_of_the_public_generator(kind: MaskConfig) -> None:
    grid, batches, batch = (2, 16, 16), 400, 8
    theirs = torch.tensor([published_draw(kind, batch, grid, seeded(i)) for i in range(batches)])
    ours = []
    for i in range(batches):
        drawn = draw_masks(kind, batch, grid, seeded(batches + i))
        ours.append([drawn.kept / 512, drawn.predicted / 512, float(drawn.masked.float().mean())])
    torch.testing.assert_close(torch.tensor(ours).mean(0), theirs.mean(0), atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", every_kind)
def test_a_hundred_thousand_draws_leave_something_to_see(kind: MaskConfig) -> None:
    grid = (2, 16, 16) if kind.whole_time else (2, 8, 8)
    started = time.monotonic()
    drawn = draw_masks(kind, 100_000, grid, seeded())
    assert drawn.kept >= 1
    assert bool(drawn.seen.flatten(1).any(1).all())
    assert not bool(
        (drawn.seen[:, None] & drawn.masked.view(len(drawn), -1, *drawn.seen.shape[1:])).any()
    )
    assert time.monotonic() - started < 60


def test_one_block_of_a_batch_has_one_size_and_many_places() -> None:
    masks = sample_masks(MaskConfig(blocks=1, scale=0.25), 64, (1, 8, 8), seeded())
    rows, columns = masks.masked // 8, masks.masked % 8
    heights = rows.max(1).values - rows.min(1).values + 1
    widths = columns.max(1).values - columns.min(1).values + 1
    assert len(heights.unique()) == len(widths.unique()) == 1
    assert heights[0] * widths[0] == masks.masked.shape[1]
    assert len(masks.masked[:, 0].unique()) > 10


def test_every_place_is_seen_and_predicted_by_some_sample() -> None:
    generator = seeded()
    for kind in small_grid_masks():
        batches = [sample_masks(kind, 64, (2, 4, 4), generator) for _ in range(10)]
        for tokens in ([b.keep for b in batches], [b.masked for b in batches]):
            counts = torch.cat([one.flatten() for one in tokens]).bincount(minlength=32)
            assert counts.min() > 0.1 * counts.max()
            assert torch.equal(counts[:16], counts[16:])


def test_the_public_cut_gives_up_the_last_tokens() -> None:
    kind = replace(published_masks()[0], cut=Cut.last)
    drawn = draw_masks(kind, 6, (3, 8, 8), seeded())
    masks = drawn.take(slice(6))
    for sample in range(6):
        everywhere = drawn.seen[sample].expand(3, -1).flatten().nonzero()[:, 0]
        assert torch.equal(masks.keep[sample], everywhere[: drawn.kept])
    lost = [3 * int(seen.sum()) - drawn.kept for seen in drawn.seen]
    assert min(lost) == 0
    assert max(lost) > 0


def test_blocks_may_last_a_part_of_the_time_and_the_end_may_be_hidden() -> None:
    kind = MaskConfig(
        blocks=1,
        scale=0.25,
        temporal_scale=[0.5, 0.5],
        max_temporal_keep=0.75,
        cut=Cut.last,
    )
    drawn = draw_masks(kind, 50, (8, 8, 8), seeded())
    assert not drawn.seen[:, 6:].any()
    lasting = (~drawn.seen[:, :6]).any(2).sum(1)
    assert set(lasting.tolist()) <= {2, 3, 4}
    starts = (~drawn.seen[:, :6]).any(2).int().argmax(1)
    assert len(starts.unique()) > 2


def test_i_jepa_sees_a_large_block_less_its_targets() -> None:
    (kind,) = ijepa_masks()
    for seed in range(20):
        drawn = draw_masks(kind, 16, (1, 16, 16), seeded(seed))
        area = drawn.masked.sum((-1, -2))
        assert drawn.masked.shape[:2] == (16, 4)
        assert (area == area[0, 0]).all()
        assert 0.13 * 256 <= float(area[0, 0]) <= 0.21 * 256
        context = 256 - drawn.masked.any(1).sum((1, 2))
        assert (drawn.seen.sum((1, 2)) <= context).all()
        assert drawn.kept >= 11


def test_the_same_generator_draws_the_same_masks_and_parts_are_those_of_the_whole() -> None:
    for kind in every_kind:
        first, second = (draw_masks(kind, 6, (2, 8, 8), seeded(5)) for _ in range(2))
        whole, part = first.take(slice(6)), second.take(slice(2, 5))
        assert torch.equal(whole.keep[2:5], part.keep)
        assert torch.equal(whole.masked[2:5], part.masked)


def test_masks_that_leave_too_little_to_see_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="on a grid of 2 x 2: use fewer blocks"):
        sample_masks(MaskConfig(blocks=400, scale=0.3), 2, (1, 2, 2), torch.Generator())
    with pytest.raises(ValueError, match="fewer than 11 places to see on a grid of 3 x 3"):
        sample_masks(ijepa_masks()[0], 2, (1, 3, 3), torch.Generator())


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": 0},
        {"scale": 1.0},
        {"scale_to": 0.1},
        {"aspect": [2.0, 1.0]},
        {"aspect": [1.0]},
        {"temporal_scale": [0.0, 1.0]},
        {"temporal_scale": [0.5, 1.5]},
        {"max_temporal_keep": 0.0},
        {"context_scale": [0.9]},
        {"min_keep": 0},
    ],
)
def test_impossible_kinds_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"block|" + min(changes)):
        MaskConfig(**{"blocks": 1, "scale": 0.5, **changes})
