"""Components and colours of features whose directions are known."""

import numpy as np
import pytest
import torch

from vjepa_gym.learning.pca import colour, fit_pca, foreground


def cloud(rows: int = 400, dim: int = 8, seed: int = 0) -> torch.Tensor:
    """Return features that vary much along the second axis, less along the first, little else."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.tensor([2.0, 5.0, 1.0] + [0.1] * (dim - 3))
    return torch.randn(rows, dim, generator=generator) * scales + 7


def test_components_are_the_directions_of_most_variance_by_falling_variance() -> None:
    pca = fit_pca(cloud())
    expected = torch.eye(8, dtype=torch.float64)[[1, 0, 2]]
    torch.testing.assert_close(pca.components, expected, atol=0.06, rtol=0)
    assert pca.explained.tolist() == pytest.approx([25 / 30.05, 4 / 30.05, 1 / 30.05], abs=0.03)


def test_components_are_those_of_a_singular_value_decomposition() -> None:
    x = cloud(seed=4).double()
    pca = fit_pca(x)
    _, values, directions = np.linalg.svd((x - x.mean(0)).numpy(), full_matrices=False)
    parts = values**2 / (values**2).sum()
    np.testing.assert_allclose(pca.explained, parts[:3], rtol=1e-9)
    np.testing.assert_allclose(pca.components.abs(), abs(directions[:3]), atol=1e-9)


def test_the_largest_entry_of_each_component_is_positive() -> None:
    for seed in range(5):
        x = cloud(seed=seed) @ torch.linalg.qr(cloud(8, seed=seed + 50)).Q
        components = fit_pca(x).components
        assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()


def test_the_order_of_the_rows_changes_no_component() -> None:
    torch.testing.assert_close(fit_pca(cloud()).components, fit_pca(cloud().flip(0)).components)


def test_projections_are_uncorrelated_and_about_zero() -> None:
    along = fit_pca(cloud()).project(cloud())
    assert along.mean(0).abs().max() < 1e-9
    correlation = torch.corrcoef(along.T)
    assert (correlation - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-9


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_have_few_components_and_no_nan(rows: int) -> None:
    pca = fit_pca(cloud(rows))
    assert (pca.components.norm(dim=1) > 0.5).tolist() == [i < rows - 1 for i in range(3)]
    assert pca.explained.sum() == pytest.approx(min(1, rows - 1))


@pytest.mark.parametrize("value", [0.0, 0.1, -3e4])
def test_features_that_are_all_alike_are_grey(value: float) -> None:
    alike = torch.full((2, 4, 4, 12), value) * torch.linspace(0.3, 1, 12)
    colours, pca = colour(alike)
    assert (colours == 0.5).all()
    assert (pca.explained == 0).all()


def test_features_alike_but_for_rounding_are_grey() -> None:
    noise = torch.randn(3, 4, 4, 12, generator=torch.Generator().manual_seed(0))
    colours, _ = colour(torch.linspace(0.3, 1, 12) + 1e-7 * noise)
    assert (colours == 0.5).all()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (torch.zeros(0, 5), "got 0 of 5"),
        (torch.zeros(9, 2), "at least 3 numbers"),
        (torch.full((4, 4), torch.nan), "not finite"),
    ],
)
def test_features_without_components_are_refused(features: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_pca(features)


def test_colours_fill_the_range_and_one_odd_patch_does_not_take_it() -> None:
    features = cloud(3 * 4 * 6).unflatten(0, (3, 4, 6))
    colours, _ = colour(features)
    assert colours.shape == (3, 4, 6, 3)
    assert colours.min() == 0
    assert colours.max() == 1
    features[0, 0, 0, 1] += 100
    with_odd, _ = colour(features)
    red = with_odd[..., 0].flatten()[1:]
    assert red.std() > 0.15
    assert torch.corrcoef(torch.stack([red, colours[..., 0].flatten()[1:]]))[0, 1] > 0.99


def test_what_is_not_shown_is_black_and_fits_nothing() -> None:
    features = cloud(32).unflatten(0, (2, 4, 4))
    shown = torch.zeros(2, 4, 4, dtype=torch.bool)
    shown[:, :2] = True
    colours, pca = colour(features, shown)
    features[:, 2:] *= 50
    again, same = colour(features, shown)
    assert torch.equal(colours, again)
    assert torch.equal(pca.components, same.components)
    assert (colours[:, 2:] == 0).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_foreground_is_the_side_that_touches_the_rim_less(sign: float) -> None:
    thing = torch.zeros(3, 6, 8, dtype=torch.bool)
    thing[0, 2:4, 2:5] = thing[1, 2:5, 4:6] = thing[2, 3:6, 3:5] = True
    noise = 0.1 * torch.randn(3, 6, 8, 10, generator=torch.Generator().manual_seed(0))
    features = noise + sign * torch.where(thing[..., None], torch.ones(10), -torch.ones(10))
    assert torch.equal(foreground(features), thing)


def test_where_all_is_alike_all_is_foreground() -> None:
    assert foreground(torch.ones(1, 3, 5, 6)).all()
    assert foreground(torch.ones(1, 1, 1, 6)).all()
