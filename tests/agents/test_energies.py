import math

import numpy as np
import pytest
import torch

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Energy, Target
from vjepa_gym.agents.energies import (
    ENERGIES,
    L1,
    L2,
    ActionCost,
    Cosine,
    PoseDistance,
    Sum,
    angle_between,
    token_weights,
)
from vjepa_gym.world_models.base import Context, Imagined

POSE = torch.tensor([[0.4, 0.1, 0.2, 3.0, -0.2, 0.4, 0.5]])


def imagined(latents, *, now=None, poses=None, actions=None):
    n, samples, horizon, tokens, dim = latents.shape
    past = Context(
        latents=torch.zeros(n, 1, tokens, dim) if now is None else now[:, None],
        poses=torch.zeros(n, 1, 7),
        actions=torch.zeros(n, 0, 7),
    )
    still = torch.zeros(n, samples, horizon, 7)
    return Imagined(
        context=past,
        actions=still if actions is None else actions,
        latents=latents,
        poses=still if poses is None else poses,
    )


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def futures_by_hand():
    """One robot, two samples, two steps, one token of two numbers; the goal is (0, 0)."""
    return torch.tensor([[[[[1.0, -3.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[-4.0, 2.0]]]]])


@pytest.mark.parametrize(
    ("energy", "values"),
    [
        (L1(summed=False), [1.0, 3.0]),
        (L2(summed=False), [2.0, 10.0]),
        (L1(summed=True), [3.0, 3.0]),
        (L2(summed=True), [7.0, 10.0]),
    ],
)
def test_energies_equal_those_worked_by_hand(energy, values):
    result = energy(imagined(futures_by_hand()), Target(latents=torch.zeros(1, 1, 2)))
    assert torch.equal(result, torch.tensor([values]))


def test_the_cosine_is_that_of_the_angle_between_tokens():
    goal = Target(latents=torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]))
    future = torch.tensor([[[[[3.0, 0.0], [0.0, -1.0]]], [[[0.0, 5.0], [2.0, 2.0]]]]])
    expected = torch.tensor([[(0 + 2) / 2, (1 + 1 - math.sqrt(0.5)) / 2]])
    assert torch.allclose(Cosine()(imagined(future), goal), expected)


@pytest.mark.parametrize("floor", [1.0, 0.2])
@pytest.mark.parametrize("make", ENERGIES.values(), ids=ENERGIES)
@pytest.mark.parametrize("summed", [False, True])
def test_an_energy_is_zero_at_the_goal_and_only_there(make, summed, floor):
    goal = random(3, 4, 5)
    there = goal[:, None, None].expand(3, 2, 2, 4, 5).clone()
    energy = make(summed=summed, token_floor=floor)
    assert isinstance(energy, Energy)
    assert not energy.needs_poses
    at_goal = energy(imagined(there), Target(latents=goal))
    assert torch.allclose(at_goal, torch.zeros(3, 2), atol=1e-6)
    there[1, 1, -1, 2, 3] += 0.5
    beside = energy(imagined(there), Target(latents=goal))
    assert (beside > 1e-4).nonzero().tolist() == [[1, 1]]


@pytest.mark.parametrize("make", ENERGIES.values(), ids=ENERGIES)
def test_an_energy_leaves_what_was_imagined_as_it_was(make):
    future = imagined(futures_by_hand())
    make()(future, Target(latents=torch.ones(1, 1, 2)))
    assert torch.equal(future.latents, futures_by_hand())


@pytest.mark.parametrize("floor", [1.0, 0.3])
@pytest.mark.parametrize("make", ENERGIES.values(), ids=ENERGIES)
def test_gradients_flow_and_change_no_value(make, floor):
    latents, now = random(2, 3, 2, 4, 5), random(2, 4, 5, seed=1)
    energy, goal = make(token_floor=floor), Target(latents=random(2, 4, 5, seed=2))
    followed = latents.clone().requires_grad_()
    values = energy(imagined(followed, now=now), goal)
    values.sum().backward()
    assert torch.allclose(values.detach(), energy(imagined(latents, now=now), goal), atol=1e-6)
    step, place = 1e-3, (1, 2, 0, 3, 4)
    ahead, behind = latents.clone(), latents.clone()
    ahead[place] += step
    behind[place] -= step
    slope = [energy(imagined(one, now=now), goal)[1, 2] for one in (ahead, behind)]
    assert followed.grad[place] == pytest.approx(
        float(slope[0] - slope[1]) / (2 * step), rel=0.02, abs=1e-4
    )


# Weights of tokens.


def test_tokens_count_in_proportion_to_how_goal_and_present_view_differ():
    goal, now = torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    now[0, 0] = torch.tensor([1.0, -3.0])  # differs by 2, the second token by 1, the third not
    now[0, 1] = torch.tensor([1.0, 1.0])
    weights = token_weights(goal, now, 0.25)
    assert torch.allclose(weights[0], 0.25 + 0.75 * torch.tensor([2.0, 1.0, 0.0]))
    assert torch.equal(weights[1], torch.ones(3)), "where nothing differs, all count alike"
    assert torch.allclose(weights.mean(-1), torch.ones(2))


def test_a_weighted_energy_listens_to_the_tokens_that_are_to_change():
    goal, now = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    now[0, 0] = 1.0
    noise_elsewhere, half_way = now.clone(), now.clone()
    noise_elsewhere[0, 1] = 0.4
    half_way[0, 0] = 0.7
    half_way[0, 1] = 0.4
    future = imagined(torch.stack([noise_elsewhere, half_way], 1)[:, :, None], now=now)
    target = Target(latents=goal)
    assert torch.allclose(L1(token_floor=0.0)(future, target), torch.tensor([[1.0, 0.7]]))
    assert torch.allclose(L1(token_floor=1.0)(future, target), torch.tensor([[0.7, 0.55]]))


@pytest.mark.parametrize("floor", [-0.1, 1.1, math.nan])
def test_a_senseless_floor_is_refused(floor):
    with pytest.raises(ValueError, match="token_floor"):
        L1(token_floor=floor)


# Poses and actions.


def test_the_pose_term_adds_metres_radians_and_closedness():
    ahead = POSE[:, None, None].repeat(1, 2, 2, 1)
    ahead[0, 0, 0, :3] += torch.tensor([0.03, 0.04, 0.0])
    ahead[0, 0, 1, 6] -= 0.5
    turn = np.array([0, 0, 0, 0.3, 0, 0, 0], np.float32)
    ahead[0, 1, 1] = torch.from_numpy(kinematics.integrate(POSE[0].numpy(), turn))
    future = imagined(torch.zeros(1, 2, 2, 1, 1), poses=ahead)
    target = Target(latents=torch.zeros(1, 1, 1), poses=POSE)
    both = PoseDistance(rotation=0.2, gripper=0.4)
    assert both.needs_poses
    assert torch.allclose(both(future, target), torch.tensor([[0.05 + 0.2, 0.06]]), atol=1e-6)
    last = PoseDistance(rotation=0.2, gripper=0.4, summed=False)
    assert torch.allclose(last(future, target), torch.tensor([[0.2, 0.06]]), atol=1e-6)


def test_a_pose_term_without_a_pose_says_what_is_missing():
    with pytest.raises(ValueError, match="goal with poses"):
        PoseDistance()(imagined(torch.zeros(1, 1, 1, 1, 1)), Target(latents=torch.zeros(1, 1, 1)))


def test_angles_are_those_of_the_rotation_between_whichever_way_round():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(-3.1, 3.1, (2, 50, 3))
    one, other = kinematics.rotation_matrix(first), kinematics.rotation_matrix(second)
    trace = np.einsum("nij,nij->n", one, other)
    expected = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    angles = angle_between(torch.from_numpy(first), torch.from_numpy(second))
    assert np.allclose(angles.numpy(), expected, atol=1e-6)
    turned = torch.from_numpy(first) + torch.tensor([0, 2 * math.pi, 0])
    assert np.allclose(angle_between(turned, torch.from_numpy(first)).numpy(), 0, atol=1e-6)


def test_the_gradient_of_the_pose_term_is_finite_even_at_the_goal():
    poses = POSE[:, None, None].clone().requires_grad_()
    target = Target(latents=torch.zeros(1, 1, 1), poses=POSE)
    PoseDistance()(imagined(torch.zeros(1, 1, 1, 1, 1), poses=poses), target).sum().backward()
    assert poses.grad.isfinite().all()


def test_an_action_costs_what_it_moves():
    actions = torch.zeros(1, 2, 2, 7)
    actions[0, 0, 0, :3] = torch.tensor([0.0, 0.06, -0.08])
    actions[0, 0, 1, 5] = 0.2
    actions[0, 1, 0, 6] = -0.5
    cost = ActionCost(rotation=0.5, gripper=0.1)
    values = cost(
        imagined(torch.zeros(1, 2, 2, 1, 1), actions=actions), Target(latents=torch.zeros(1, 1, 1))
    )
    assert torch.allclose(values, torch.tensor([[0.1 + 0.1, 0.05]]), atol=1e-6)
    moving = actions.clone().requires_grad_()
    future = imagined(torch.zeros(1, 2, 2, 1, 1), actions=moving)
    cost(future, Target(latents=torch.zeros(1, 1, 1))).sum().backward()
    assert moving.grad.isfinite().all()


@pytest.mark.parametrize("make", [PoseDistance, ActionCost])
def test_weights_below_zero_are_refused_by_their_names(make):
    with pytest.raises(ValueError, match="rotation"):
        make(rotation=-0.1)
    with pytest.raises(ValueError, match="gripper"):
        make(gripper=math.inf)


# Sums.


def test_a_sum_adds_its_terms_with_their_weights():
    future = imagined(random(1, 3, 2, 4, 5), actions=random(1, 3, 2, 7, seed=3))
    target = Target(latents=random(1, 4, 5, seed=1))
    both = Sum(((2.0, L1()), (0.5, ActionCost())))
    expected = 2 * L1()(future, target) + 0.5 * ActionCost()(future, target)
    assert torch.allclose(both(future, target), expected)
    assert isinstance(both, Energy)
    assert not both.needs_poses


def test_a_sum_needs_poses_if_a_term_does():
    assert Sum(((1.0, L1()), (0.1, PoseDistance()))).needs_poses


def test_a_sum_of_nothing_and_a_weight_that_is_no_number_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Sum(())
    with pytest.raises(ValueError, match="finite"):
        Sum(((math.nan, L1()),))
