import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vjepa_gym.agents.action_space import ActionSpace, Gripper, SearchConfig, onto_l1_ball
from vjepa_gym.agents.distribution import Distribution


def grid(radius, step):
    axis = torch.arange(-radius, radius + step / 2, step)
    points = torch.cartesian_prod(axis, axis, axis)
    return points[points.abs().sum(-1) <= radius + 1e-6]


@given(st.lists(st.floats(-3, 3, width=32), min_size=3, max_size=3))
def test_no_point_of_an_l1_ball_is_nearer_than_the_projection(numbers):
    vector = torch.tensor(numbers)
    projected = onto_l1_ball(vector, 1.0)
    assert projected.abs().sum() <= 1 + 1e-5
    nearest = (grid(1.0, 0.1) - vector).norm(dim=-1).min()
    assert (projected - vector).norm() <= nearest + 1e-5


def test_what_lies_in_an_l1_ball_stays_where_it_is():
    inside = 0.3 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(onto_l1_ball(inside, 1.0), inside)


def test_a_vector_beyond_both_limits_goes_to_the_nearest_point_of_the_ball():
    space = ActionSpace.arm(SearchConfig(max_translation=1.0, l1_ball=True))
    actions = torch.zeros(7)
    actions[:3] = torch.tensor([3.0, 2.5, 0.0])
    assert torch.allclose(space.constrain(actions)[:3], torch.tensor([0.75, 0.25, 0.0]))


def test_which_axes_are_searched():
    still = SearchConfig(gripper=Gripper.still)
    assert ActionSpace.arm(still).axes == (0, 1, 2)
    assert ActionSpace.arm(SearchConfig()).axes == (0, 1, 2, 6)
    assert ActionSpace.arm(SearchConfig(rotations=True)).axes == tuple(range(7))


def test_categories_are_the_nearest_of_three():
    space = ActionSpace.arm(SearchConfig(gripper=Gripper.categorical))
    actions = torch.zeros(5, 7)
    actions[:, 6] = torch.tensor([-2.0, -0.3, 0.1, 0.5, 0.75])
    assert space.constrain(actions)[:, 6].tolist() == [-0.75, 0.0, 0.0, 0.75, 0.75]


def test_a_dead_zone_is_of_the_answer_and_of_the_gripper_only():
    space = ActionSpace.arm(SearchConfig())
    actions = torch.full((2, 7), 0.01)
    actions[1, 6] = -0.3
    finished = space.finish(actions)
    assert torch.equal(finished[:, :6], actions[:, :6])
    assert finished[:, 6].tolist() == pytest.approx([0.0, -0.3])


def test_a_gripper_that_could_never_move_is_refused():
    with pytest.raises(ValueError, match="never moves"):
        SearchConfig(max_gripper=0.2)
    SearchConfig(max_gripper=0.2, gripper=Gripper.still)


def space_of(low, high):
    zero = torch.zeros(len(low))
    return ActionSpace(
        low=torch.tensor(low), high=torch.tensor(high), first_mean=zero, first_std=zero + 1
    )


def test_limits_that_cross_are_refused_by_axis():
    with pytest.raises(ValueError, match=r"cross along axes \[1\]"):
        space_of([-1.0, 1.0], [1.0, -1.0])
    with pytest.raises(ValueError, match=r"cross along axes \[0\]"):
        space_of([float("nan")], [1.0])
    with pytest.raises(ValueError, match="Nothing to search"):
        space_of([1.0, 2.0], [1.0, 2.0])


def test_the_smallest_extents_are_compared_across_axes():
    space = space_of([-1.0, -10.0, 3.0], [1.0, 10.0, 3.0])
    assert space.in_metres(torch.tensor([0.5, -5.0, 7.0])).tolist() == [0.5, 0.5, 0.0]


def test_a_distribution_of_weighted_samples():
    space = ActionSpace.arm(SearchConfig(gripper=Gripper.categorical))
    samples = torch.zeros(1, 3, 1, 7)
    samples[0, :, 0, 0] = torch.tensor([0.0, 0.03, 0.06])
    samples[0, :, 0, 6] = torch.tensor([0.75, 0.75, 0.0])
    weights = torch.tensor([[0.5, 0.25, 0.25]])
    fitted = Distribution.fit(space, samples, weights, 0.3)
    assert fitted.mean[0, 0, 0] == pytest.approx(0.0225)
    squares = 0.25 * 0.03**2 + 0.25 * 0.06**2
    assert fitted.std[0, 0, 0] == pytest.approx((squares - 0.0225**2) ** 0.5)
    # Hold, open, close: a quarter, none and the rest, of which three tenths are shared out.
    assert fitted.odds[0, 0].tolist() == pytest.approx([0.275, 0.1, 0.625])
    assert fitted.likeliest()[0, 0, 6] == 0.75


def test_even_odds_hold():
    space = ActionSpace.arm(SearchConfig(gripper=Gripper.categorical))
    assert not Distribution.first(space, 2, 3).likeliest().any()
