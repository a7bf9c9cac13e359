"""Energies around a true action, for models that are right, biased, blind and broken."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from toys import HIGH, LOW, ToyWorldModel, draw

from vjepa_gym.errors import PlanningError
from vjepa_gym.world_models import landscape as module
from vjepa_gym.world_models.action_grids import (
    axis_grid,
    falling,
    reach,
    straight_way,
    symmetric_ticks,
    turned_actions,
)
from vjepa_gym.world_models.base import Context, Imagined, Target
from vjepa_gym.world_models.grid_search import find_minimum
from vjepa_gym.world_models.landscape import (
    GridConfig,
    argmin_error,
    energies_at,
    mean_difference,
    measure_landscape,
    monotone_share,
)
from vjepa_gym.world_models.landscape_figures import figures, mean_figures
from vjepa_gym.world_models.vjepa2_ac import Persistence

TRUE = torch.tensor([0.05, -0.03, 0.02, 0.0, 0.0, 0.1, 0.25])
FEW = GridConfig(points=9, cube_points=5, directions=16)


class Biased(ToyWorldModel):
    """Imagines that every action does `gain` of what it does."""

    def __init__(self, gain):
        super().__init__()
        self.gain, self.calls = gain, 0

    def imagine(self, context, actions):
        self.calls += 1
        imagined = super().imagine(context, self.gain * actions)
        return replace(imagined, actions=actions)


class Broken(ToyWorldModel):
    """Imagines NaN where the hand goes up."""

    def imagine(self, context, actions):
        imagined = super().imagine(context, actions)
        up = actions[..., 2] > 0
        return replace(
            imagined, latents=imagined.latents.masked_fill(up[..., None, None], torch.nan)
        )


def latents_of(poses):
    return draw(poses).flatten(-3, -2) / 255


def scene(n=1, closedness=0.5):
    """Return what `n` robots see, and where the hand is."""
    poses = torch.zeros(n, 7)
    middle = (LOW + HIGH) / 2
    poses[:, :3] = middle + 0.02 * torch.arange(n)[:, None]
    poses[:, 6] = closedness
    context = Context(
        latents=latents_of(poses)[:, None], poses=poses[:, None], actions=torch.zeros(n, 0, 7)
    )
    return context, poses


def measured(model, true=TRUE, closedness=0.5, energy=mean_difference, **changes):
    context, poses = scene(closedness=closedness)
    target = Target(latents=latents_of(poses + true))
    return measure_landscape(model, context, true, target, energy, config=replace(FEW, **changes))


# Grids.


def test_a_grid_has_every_combination_and_leaves_the_rest_as_it_was():
    ticks = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0]])
    actions = torch.arange(14.0).view(2, 7)
    grid = axis_grid(actions, (0, 2), ticks)
    assert grid.shape == (2, 9, 7)
    seen = grid.view(2, 3, 3, 7)
    assert torch.equal(seen[..., 0], ticks[:, :, None].expand(2, 3, 3))
    assert torch.equal(seen[..., 2], ticks[:, None].expand(2, 3, 3))
    rest = [1, 3, 4, 5, 6]
    assert torch.equal(grid[..., rest], actions[:, None, rest].expand(2, 9, 5))


def test_ticks_are_about_holding_still_and_go_beyond_the_true_action():
    actions = torch.zeros(2, 7)
    actions[1, 1] = -0.2
    extent = reach(actions, 0.1)
    torch.testing.assert_close(extent, torch.tensor([0.1, 0.24]))
    ticks = symmetric_ticks(extent, 5)
    torch.testing.assert_close(ticks[:, 2], torch.zeros(2))
    torch.testing.assert_close(ticks[:, -1], extent)
    torch.testing.assert_close(ticks[:, 0], -extent)


def test_the_way_begins_at_holding_still_and_ends_at_the_action():
    way = straight_way(TRUE[None], 5)
    assert torch.equal(way[0, 0], torch.zeros(7))
    torch.testing.assert_close(way[0, 2], TRUE / 2)
    torch.testing.assert_close(way[0, -1], TRUE)


def test_turned_actions_are_as_long_and_turned_by_the_generator():
    turned = turned_actions(TRUE[None], 50, torch.Generator().manual_seed(1))
    torch.testing.assert_close(turned[..., :3].norm(dim=-1), TRUE[:3].norm().expand(1, 50))
    assert torch.equal(turned[..., 3:], TRUE[3:].expand(1, 50, 4))
    again = turned_actions(TRUE[None], 50, torch.Generator().manual_seed(1))
    assert torch.equal(turned, again)
    assert turned[0, :, :3].std(0).min() > 0.01


@pytest.mark.parametrize(
    ("way", "share"), [([3.0, 2.0, 1.0], 1.0), ([3.0, 3.0, 2.0], 0.5), ([1.0, 2.0, 3.0], 0.0)]
)
def test_only_what_gets_less_falls(way, share):
    assert falling(torch.tensor([way])).item() == share


# The search on a grid.


def test_the_least_of_a_quadratic_is_found_to_a_tenth_of_a_millimetre():
    lowest = torch.tensor([[0.031, -0.047, 0.012], [-0.09, 0.0, 0.055]])

    def ask(actions):
        return (actions[..., :3] - lowest[:, None]).square().sum(-1) + actions[..., 6]

    actions = TRUE.repeat(2, 1)
    found = find_minimum(ask, actions, torch.tensor([0.1, 0.1]), 5)
    torch.testing.assert_close(found.places, lowest, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.values, actions[:, 6], atol=1e-6, rtol=0)
    assert found.grid.shape == (2, 5, 5, 5)


def test_a_narrow_basin_that_the_first_grid_only_grazes_is_found():
    lowest = torch.tensor([0.0625, 0.0625, 0.0625])  # in the middle between places of the grid

    def ask(actions):
        away = (actions[..., :3] - lowest).norm(dim=-1)
        return 0.1 * away + (away / 0.03).clamp(max=1.0)

    found = find_minimum(ask, TRUE[None], torch.tensor([0.1]), 9)
    assert (found.places[0] - lowest).norm() < 0.001


def test_the_least_at_the_edge_stays_within_the_grid():
    found = find_minimum(lambda actions: actions[..., 0], TRUE[None], torch.tensor([0.1]), 3)
    assert found.places[0, 0] == pytest.approx(-0.1)
    assert found.places.abs().max() <= 0.1 + 1e-6


# Models.


def test_a_model_that_is_right_is_lowest_at_the_true_action():
    said = figures(measured(ToyWorldModel()))
    assert said.argmin_error_cm < 0.2
    assert said.energy_true < 1e-6 < said.energy_still
    assert said.energy_minimum < 0.05 * said.energy_still
    assert said.monotone == said.monotone_share == 1.0
    assert said.convex_share >= 0.7
    assert said.less_than_true == 0.0
    assert said.contrast > 0.5
    assert said.gripper_over_xyz == 0.0


def test_a_model_that_imagines_half_of_every_move_is_lowest_at_twice_the_action():
    small = TRUE * torch.tensor([0.8, 0.8, 0.8, 1, 1, 1, 1])
    found = measured(Biased(0.5), true=small)
    torch.testing.assert_close(found.minimum, 2 * small[:3], atol=0.003, rtol=0)
    assert figures(found).argmin_error_cm == pytest.approx(100 * float(small[:3].norm()), abs=0.3)
    assert figures(found).energy_minimum < figures(found).energy_true


def test_a_model_without_any_idea_is_flat():
    found = measured(Persistence(ToyWorldModel()))
    said = figures(found)
    assert found.planes.std() == 0.0
    assert said.contrast == said.gripper_over_xyz == said.monotone == said.convex_share == 0.0
    assert said.less_than_true == 0.5
    assert said.argmin_error_cm > 3.0


def test_planes_and_cuts_and_the_way_are_energies_of_these_actions():
    context, poses = scene()
    model, target = ToyWorldModel(), Target(latents=latents_of(poses + TRUE))
    found = measured(model)
    action = TRUE.clone()
    action[0], action[2] = found.ticks[1], found.ticks[6]
    asked = energies_at(model, context, action[None, None], mean_difference, target)
    torch.testing.assert_close(found.planes[1, 1, 6], asked[0, 0])
    action = TRUE.clone()
    action[1] = found.ticks[3]
    asked = energies_at(model, context, action[None, None], mean_difference, target)
    torch.testing.assert_close(found.cuts[1, 3], asked[0, 0])
    still = energies_at(model, context, torch.zeros(1, 1, 7), mean_difference, target)
    torch.testing.assert_close(found.way[0], still[0, 0])


def test_the_gripper_counts_as_far_as_it_can_move():
    def closed(imagined, target):
        return mean_difference(imagined, target) + 0.01 * imagined.actions[:, :, -1, 6]

    half, full = (
        measured(ToyWorldModel(), energy=closed),
        measured(ToyWorldModel(), energy=closed, closedness=1.0),
    )
    assert half.possible.sum() == 5
    assert full.possible.tolist() == [True] * 5 + [False] * 4
    assert figures(full).gripper_over_xyz == pytest.approx(
        float(0.0075 / (full.cuts.amax(1) - full.cuts.amin(1)).mean()), rel=1e-3
    )
    torch.testing.assert_close(half.changes.abs().max(), torch.tensor(0.75))


def test_the_energy_may_look_at_poses():
    def away(imagined, target):
        return (imagined.poses[:, :, -1, :3] - target.poses[:, None, :3]).norm(dim=-1)

    context, poses = scene()
    target = Target(latents=latents_of(poses), poses=poses + TRUE)
    found = measure_landscape(ToyWorldModel(), context, TRUE, target, away, config=FEW)
    assert figures(found).argmin_error_cm < 0.2


def test_energies_that_are_not_finite_are_said_to_be_so():
    with pytest.raises(PlanningError, match=r"\d+ of \d+ energies are not finite"):
        measured(Broken())


def test_many_actions_are_imagined_part_by_part_with_the_same_energies(monkeypatch):
    model = Biased(1.0)
    whole, calls = measured(model), model.calls
    monkeypatch.setattr(module, "NUMBERS_TOGETHER", 40 * 144 * 3)
    parts = measured(model)
    assert model.calls - calls > 3 * calls
    for name in ("planes", "cuts", "gripper", "way", "cube", "turned", "minimum"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


def test_nobody_asks_for_gradients():
    def proud(imagined: Imagined, target: Target):
        assert not torch.is_grad_enabled()
        return mean_difference(imagined, target)

    measured(ToyWorldModel(), energy=proud)


# Many transitions at once, as gates judge them.


def test_each_of_many_robots_has_its_own_error_and_its_own_grid():
    context, poses = scene(3)
    true = torch.stack([TRUE, -TRUE, TRUE])
    true[2, 0] = 0.12
    goal = latents_of(poses + true)
    errors = argmin_error(ToyWorldModel(), context, true, goal, points=7)
    assert errors.shape == (3,)
    assert errors.max() < 0.002
    others = argmin_error(ToyWorldModel(), context, true.roll(1, 0), goal, points=7)
    assert others.min() > 0.04
    assert torch.equal(monotone_share(ToyWorldModel(), context, true, goal), torch.ones(3))
    away = monotone_share(ToyWorldModel(), context, -true, goal)
    assert torch.equal(away, torch.zeros(3))


def test_another_energy_may_be_asked_for():
    context, poses = scene(1)
    goal = latents_of(poses + TRUE)

    def higher_is_less(imagined, target):
        return -imagined.actions[:, :, -1, 2]

    found = argmin_error(
        ToyWorldModel(), context, TRUE[None], goal, points=5, extent=0.08, energy=higher_is_less
    )
    assert found.item() > 0.05


# Settings and figures of several.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extent": 0.0}, "extent must be above 0"),
        ({"points": 2}, "at least 3"),
        ({"cube_points": 1}, "at least 3"),
        ({"directions": 0}, "directions at least 1"),
    ],
)
def test_grids_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        GridConfig(**changes)


def test_figures_of_several_are_averaged():
    one, other = figures(measured(ToyWorldModel())), figures(measured(Persistence(ToyWorldModel())))
    mean = mean_figures([one, other])
    assert mean.monotone == 0.5
    assert mean.argmin_error_cm == pytest.approx((one.argmin_error_cm + other.argmin_error_cm) / 2)
    with pytest.raises(ValueError, match="got none"):
        mean_figures([])


@pytest.mark.gpu
def test_it_is_the_same_on_a_gpu():
    context, poses = scene()
    device = torch.device("cuda")

    class Line:
        """Latents are where the hand is."""

        def encode(self, images):
            raise NotImplementedError

        def imagine(self, context, actions):
            there = context.poses[:, -1, None, None] + actions.cumsum(2)
            latents = there[..., :3].unsqueeze(3)
            return Imagined(context=context, actions=actions, latents=latents, poses=there)

    found = []
    for place in (torch.device("cpu"), device):
        moved = Context(
            latents=poses[:, None, None, :3].to(place),
            poses=context.poses.to(place),
            actions=context.actions.to(place),
        )
        target = Target(latents=(poses + TRUE)[:, None, :3].to(place))
        found.append(
            measure_landscape(Line(), moved, TRUE.to(place), target, mean_difference, config=FEW)
        )
    torch.testing.assert_close(found[0].planes, found[1].planes)
    torch.testing.assert_close(found[0].minimum, found[1].minimum)
