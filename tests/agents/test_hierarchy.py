"""The planner above the planner, in a world whose views are three numbers that can be pushed."""

import pytest
import torch
from torch import Tensor

from vjepa_gym.agents.base import HighLevel, Target
from vjepa_gym.agents.hierarchy import MacroModel, TwoLevel, TwoLevelConfig
from vjepa_gym.world_models import presets
from vjepa_gym.world_models.base import Context
from vjepa_gym.world_models.heads import macro

DIM = 3
FAR, NEAR, HERE = [0.5, -0.5, 0.5], [0.1, -0.1, 0.1], [0.0, 0.0, 0.0]


class Pushing:
    """A macro model that is right: each number of a macro-action moves one of the view's."""

    stride = 4
    dim = DIM

    def __init__(self, mean: float = 0.0, std: float = 0.1) -> None:
        self.mean = torch.full((DIM,), mean)
        self.std = torch.full((DIM,), std)
        self.searched: list[int] = []
        self.macros: list[Tensor] = []

    def imagine(self, latents: Tensor, macros: Tensor) -> Tensor:
        if macros.shape[1] > 1:
            self.searched.append(len(macros))
        self.macros.append(macros)
        return latents[:, None, None] + macros.cumsum(2)[:, :, :, None]


@pytest.fixture
def pushing() -> Pushing:
    return Pushing()


def see(*views: list[float]) -> Context:
    latents = torch.tensor(views)[:, None, None]
    n = len(views)
    return Context(latents=latents, poses=torch.zeros(n, 1, 7), actions=torch.zeros(n, 0, 7))


def goal(*views: list[float], steps: int | None = None) -> Target:
    left = None if steps is None else torch.full((len(views),), steps)
    return Target(latents=torch.tensor(views)[:, None], steps=left)


def ages(*elapsed: int) -> Tensor:
    return torch.tensor(elapsed)


def flat(target: Target) -> Tensor:
    return target.latents[:, 0]


def test_plays_its_role(pushing):
    assert isinstance(TwoLevel(pushing), HighLevel)
    assert isinstance(pushing, MacroModel)
    trained = macro.MacroModel(macro.MacroModelConfig(width=12, heads=2), presets.debug())
    assert isinstance(trained, MacroModel)


def test_proposes_a_view_on_the_way(pushing):
    upper = TwoLevel(pushing)
    subgoal = upper.subgoal(see(HERE), goal(FAR), ages(0))
    # The goal is 0.5 away along each axis; a macro-action leads 0.2 at most.
    torch.testing.assert_close(flat(subgoal), torch.tensor([[0.2, -0.2, 0.2]]), atol=0.06, rtol=0)
    assert not upper.passed.any()
    assert (upper.distances[0].diff() < 0).all()
    assert subgoal.poses is None


def test_the_last_view_alone_may_count(pushing):
    upper = TwoLevel(pushing, TwoLevelConfig(summed=False))
    upper.subgoal(see(HERE), goal(FAR), ages(0))
    assert upper.distances[0, -1] < 0.05


def test_searches_where_the_macro_actions_of_the_data_are():
    pushing = Pushing(mean=1.0, std=0.1)
    TwoLevel(pushing, TwoLevelConfig(limit=1.5)).subgoal(see(HERE), goal([9.0] * 3), ages(0))
    everything = torch.cat([macros.flatten() for macros in pushing.macros])
    assert everything.min() >= 0.85 - 1e-6
    assert everything.max() <= 1.15 + 1e-6
    assert pushing.macros[0].mean() == pytest.approx(1.0, abs=0.02)


def test_hands_a_near_goal_through(pushing):
    upper = TwoLevel(pushing)
    target = goal(NEAR, FAR)
    subgoal = upper.subgoal(see(HERE, HERE), target, ages(0, 0))
    assert upper.passed.tolist() == [True, False]
    assert torch.equal(subgoal.latents[0], target.latents[0])
    assert not torch.equal(subgoal.latents[1], target.latents[1])


def test_hands_the_goal_through_if_nothing_imagined_is_nearer():
    class Stuck(Pushing):
        def imagine(self, latents, macros):
            return super().imagine(latents, macros) * 0 + 10.0

    target = goal(FAR)
    assert torch.equal(
        TwoLevel(Stuck()).subgoal(see(HERE), target, ages(0)).latents, target.latents
    )


def test_hands_the_goal_through_when_few_steps_are_left(pushing):
    upper, target = TwoLevel(pushing), goal(FAR, steps=4)
    subgoal = upper.subgoal(see(HERE), target, ages(6))
    assert torch.equal(subgoal.latents, target.latents)
    assert subgoal.steps.tolist() == [4]


def test_says_how_many_steps_a_subgoal_has(pushing):
    upper = TwoLevel(pushing, TwoLevelConfig(replan_every=3))
    left = [
        upper.subgoal(see(HERE), goal(FAR, steps=20 - step), ages(step)).steps.item()
        for step in range(4)
    ]
    assert left == [4, 3, 2, 4]
    assert upper.subgoal(see(HERE), goal(FAR), ages(0)).steps is None


def test_keeps_a_subgoal_until_it_is_due(pushing):
    upper = TwoLevel(pushing, TwoLevelConfig(replan_every=2))
    first = upper.subgoal(see(HERE), goal(FAR), ages(0))
    second = upper.subgoal(see([0.01, 0.0, 0.0]), goal(FAR), ages(1))
    third = upper.subgoal(see([0.02, 0.0, 0.0]), goal(FAR), ages(2))
    assert torch.equal(first.latents, second.latents)
    assert not torch.equal(second.latents, third.latents)


def test_searches_anew_where_a_subgoal_is_reached(pushing):
    upper = TwoLevel(pushing, TwoLevelConfig(replan_every=9))
    first = upper.subgoal(see(HERE, HERE), goal(FAR, FAR), ages(0, 0))
    reached = flat(first)[0].tolist()
    second = upper.subgoal(see(reached, HERE), goal(FAR, FAR), ages(1, 1))
    assert torch.equal(first.latents[1], second.latents[1])
    assert (flat(second)[0] - flat(first)[0]).abs().min() > 0.1


def test_another_goal_is_searched_at_once(pushing):
    upper = TwoLevel(pushing, TwoLevelConfig(replan_every=9))
    upper.subgoal(see(HERE), goal(FAR), ages(0))
    away = upper.subgoal(see(HERE), goal([-value for value in FAR]), ages(1))
    assert flat(away)[0, 0] < -0.1


def test_a_robot_that_begins_anew_is_searched_alone(pushing):
    upper = TwoLevel(pushing, TwoLevelConfig(replan_every=9, num_iterations=2))
    upper.subgoal(see(HERE, HERE, HERE), goal(FAR, FAR, FAR), ages(0, 0, 0))
    before = upper.subgoal(see(HERE, HERE, HERE), goal(FAR, FAR, FAR), ages(3, 3, 3))
    assert pushing.searched == [3, 3]
    after = upper.subgoal(see(HERE, NEAR, HERE), goal(FAR, FAR, FAR), ages(4, 0, 4))
    assert pushing.searched == [3, 3, 1, 1]
    assert torch.equal(before.latents[[0, 2]], after.latents[[0, 2]])
    assert not torch.equal(before.latents[1], after.latents[1])


def test_robots_do_not_mind_their_neighbours(pushing):
    others = [[0.3, 0.1, 0.2], FAR]
    together, alone = TwoLevel(pushing), TwoLevel(pushing)
    # The others' searches are due at other times.
    together.subgoal(see(others[0], HERE), goal(others[1], FAR), ages(1, 0))
    both = together.subgoal(see(others[0], NEAR), goal(others[1], FAR), ages(2, 2))
    one = alone.subgoal(see(NEAR), goal(FAR), ages(2))
    torch.testing.assert_close(both.latents[1:], one.latents)


def test_a_reset_brings_everything_again(pushing):
    upper = TwoLevel(pushing, seed=3)
    first = upper.subgoal(see(HERE), goal(FAR), ages(0))
    upper.subgoal(see(NEAR), goal(FAR), ages(5))
    upper.reset()
    assert upper.passed is None
    again = upper.subgoal(see(HERE), goal(FAR), ages(0))
    assert torch.equal(first.latents, again.latents)
    other = TwoLevel(pushing, seed=4).subgoal(see(HERE), goal(FAR), ages(0))
    assert not torch.equal(first.latents, other.latents)


def test_another_number_of_robots_begins_anew(pushing):
    upper = TwoLevel(pushing)
    upper.subgoal(see(HERE), goal(FAR), ages(0))
    assert upper.subgoal(see(HERE, NEAR), goal(FAR, FAR), ages(1, 1)).latents.isfinite().all()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"replan_every": 0}, "replan_every must be at least 1"),
        ({"num_samples": 8, "num_elites": 9}, "num_elites must lie between 2 and num_samples = 8"),
        ({"limit": 0.0}, "limit must be positive"),
        ({"limit": float("nan")}, "limit must be positive"),
        ({"reached_below": 1.0}, "reached_below must lie in"),
        ({"near_above": 0.0}, "near_above must lie in"),
    ],
)
def test_refuses_impossible_settings(setting, complaint):
    with pytest.raises(ValueError, match=complaint):
        TwoLevelConfig(**setting)
