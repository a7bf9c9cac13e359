import pytest
import torch
from planner_contract import bowl, some_targets

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.planners import PLANNERS, make_planner

PRESETS = [pytest.param(make(), id=name) for name, make in PLANNERS.items()]


@pytest.mark.parametrize("config", PRESETS)
def test_every_preset_is_a_planner_that_leads_to_the_goal(config):
    targets = some_targets(8, reach=0.045)
    planner = make_planner(config, seed=1)
    plan = planner.plan(bowl(targets), 8)
    assert plan.actions.shape == (8, planner.horizon, 7)
    away = (plan.actions[:, 0, :3] - targets[:, :3]).norm(dim=-1).mean()
    assert away < 0.5 * targets.norm(dim=-1).mean()


def test_the_presets_have_their_names():
    assert list(PLANNERS) == [
        *("paper", "released", "fast", "frugal"),
        *("icem", "mppi", "gradient", "random_shooting"),
    ]


@pytest.mark.parametrize("name", ["icem", "mppi", "gradient"])
def test_the_alternatives_need_a_tenth_of_the_papers_sequences(name):
    plans = {
        each: make_planner(PLANNERS[each]()).plan(bowl(some_targets(1)), 1)
        for each in (name, "paper")
    }
    assert plans[name].evaluations <= plans["paper"].evaluations / 10


def test_settings_of_no_planner_are_refused():
    with pytest.raises(ValueError, match="SearchConfig belongs to no planner"):
        make_planner(SearchConfig())


@pytest.mark.gpu
@pytest.mark.parametrize("config", PRESETS)
def test_every_preset_plans_where_it_is_told_to(config):
    targets = some_targets(3).cuda()
    planner = make_planner(config, device="cuda")
    first = planner.plan(bowl(targets), 3)
    again = planner.plan(bowl(targets), 3, previous=first.actions)
    assert again.actions.device.type == "cuda"
    assert again.trace.best.device.type == "cuda"
    planner.reset()
    assert torch.equal(planner.plan(bowl(targets), 3).actions, first.actions)
