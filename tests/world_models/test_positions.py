"""Tokens are told where they are: by rotations on a scaled grid, or by tables read anew."""

import math

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning.layers import Rope, RopeForm, grid_positions
from vjepa_gym.world_models.positions import Positions, check_placed, place, rope_at, sincos_at
from vjepa_gym.world_models.predictor import PredictorConfig

LIKE = torch.zeros(1, dtype=torch.float64)


def rope(grid: tuple[int, int, int], at: Tensor | None = None, rope_grid: int = 0) -> Rope:
    return rope_at(
        grid, at, head_width=12, form=RopeForm.interleaved, rope_grid=rope_grid, like=LIKE
    )


def table(
    grid: tuple[int, int, int], positions: Positions = Positions.sincos, width: int = 24
) -> Tensor:
    return sincos_at(grid, None, width=width, positions=positions, base_grid=(4, 6, 6), like=LIKE)


def test_rotary_positions_count_on_unless_they_are_scaled() -> None:
    small, large = rope((1, 4, 4)), rope((1, 8, 8))
    assert torch.equal(small.cos[5], large.cos[9])
    scaled = [rope((2, n, n), rope_grid=16) for n in (4, 8)]
    # The last token is in the corner of a 16 x 16 grid, whatever the resolution; time counts on.
    corner = Rope.at(
        torch.tensor([[1.0, 15.0, 15.0]], dtype=torch.float64), 12, RopeForm.interleaved
    )
    for tables in scaled:
        torch.testing.assert_close(tables.cos[-1:], corner.cos)
    assert torch.equal(rope((2, 16, 16), rope_grid=16).sin, rope((2, 16, 16)).sin)


def test_a_single_row_lies_at_the_top() -> None:
    tables = rope((1, 1, 4), rope_grid=16)
    assert torch.equal(tables.cos[0], torch.ones(12, dtype=torch.float64))
    assert tables.cos.isfinite().all()


def test_tables_of_some_tokens_are_those_of_all_at_their_indices() -> None:
    at = torch.tensor([[5, 0], [7, 3]])
    assert torch.equal(rope((2, 2, 2), at).cos[:, 0], rope((2, 2, 2)).cos[at])
    some = sincos_at(
        (2, 2, 2), at, width=24, positions=Positions.sincos, base_grid=(2, 2, 2), like=LIKE
    )
    whole = sincos_at(
        (2, 2, 2), None, width=24, positions=Positions.sincos, base_grid=(2, 2, 2), like=LIKE
    )
    assert torch.equal(some, whole[at])


@pytest.mark.parametrize("width", [24, 20])
def test_the_table_of_videos_word_by_word(width: int) -> None:
    share = 2 * math.ceil(width / 6)
    expected = []
    for place_of in grid_positions(4, 6, 6).tolist():
        row = []
        for coordinate in place_of:
            angles = [coordinate / 10_000 ** (i / (share / 2)) for i in range(share // 2)]
            row += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        expected.append(row[:width])
    torch.testing.assert_close(
        table((4, 6, 6), width=width).float(), torch.tensor(expected), atol=1e-7, rtol=0
    )


def test_a_shorter_video_takes_the_first_times_and_a_longer_one_all_in_between() -> None:
    whole = table((4, 6, 6)).unflatten(0, (4, 36))
    assert torch.equal(table((2, 6, 6)).unflatten(0, (2, 36)), whole[:2])
    longer = table((8, 6, 6)).unflatten(0, (8, 36))
    torch.testing.assert_close(longer[1], 0.75 * whole[0] + 0.25 * whole[1])
    torch.testing.assert_close(longer[-1], whole[-1])


@pytest.mark.parametrize(
    ("positions", "mode"), [(Positions.sincos, "trilinear"), (Positions.sincos_2d, "bicubic")]
)
@pytest.mark.parametrize("grid", [(2, 3, 9), (4, 12, 12), (1, 5, 6)])
def test_other_resolutions_are_interpolated_in_all_dimensions_at_once(
    positions: Positions, mode: str, grid: tuple[int, int, int]
) -> None:
    whole = table((4, 6, 6), positions).unflatten(0, (4, 6, 6)).permute(3, 0, 1, 2)
    if positions is Positions.sincos_2d:
        plane = torch.nn.functional.interpolate(whole[None, :, 0], grid[1:], mode=mode)
        expected = plane[:, :, None].expand(-1, -1, grid[0], -1, -1)
    else:
        expected = torch.nn.functional.interpolate(whole[None], grid, mode=mode)
    expected = expected[0].permute(1, 2, 3, 0).flatten(0, 2)
    torch.testing.assert_close(table(grid, positions), expected, atol=1e-12, rtol=0)


def test_the_table_of_images_has_columns_first() -> None:
    whole = table((1, 6, 6), Positions.sincos_2d).unflatten(0, (6, 6))
    assert torch.equal(whole[0, :, :12], whole[5, :, :12])
    assert torch.equal(whole[:, 0, 12:], whole[:, 5, 12:])
    assert not torch.equal(whole[0, 0, :12], whole[0, 5, :12])


def test_tables_are_added_and_rotations_are_handed_on() -> None:
    x = torch.ones(1, 8, 24)
    turned, rotation = place(x, (2, 2, 2), None, PredictorConfig(width=24, heads=2))
    assert torch.equal(turned, x)
    assert rotation is not None
    assert rotation.cos.dtype == torch.float32
    config = PredictorConfig(width=24, heads=2, positions=Positions.sincos, base_grid=[2, 2, 2])
    added, rotation = place(x.bfloat16(), (2, 2, 2), None, config)
    assert rotation is None
    assert added.dtype == torch.bfloat16
    assert not torch.equal(added, x.bfloat16())


def test_a_bad_grid_is_refused_where_it_is_set() -> None:
    config = PredictorConfig()
    config.base_grid = [0, 1, 1]
    with pytest.raises(ValueError, match="times, rows and columns"):
        check_placed(config)
