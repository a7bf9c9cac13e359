import json
from dataclasses import fields, replace

import pytest
from toys import toy_envs

from vjepa_gym.agents.action_space import Gripper, SearchConfig
from vjepa_gym.agents.controls import Expert, HoldStill
from vjepa_gym.agents.planners import PLANNERS
from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.causes import (
    Cause,
    exhaustive,
    failures,
    find_causes,
    foresight,
    told,
)
from vjepa_gym.experiments.factory import Factory
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, run_evaluate
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.experiments.settings import (
    EnvConfig,
    HoldStillConfig,
    PlanningConfig,
    WorldModelConfig,
)


@pytest.mark.parametrize(
    ("thorough", "foreseeing", "cause"),
    [
        (Expert(), HoldStill(), Cause.search),
        (HoldStill(), Expert(), Cause.model),
        (HoldStill(), HoldStill(), Cause.energy),
    ],
)
def test_the_first_part_whose_perfection_helps_is_to_blame(thorough, foreseeing, cause):
    heard = []
    found = find_causes(
        [3, 5],
        toy_envs(1),
        thorough=thorough,
        foreseeing=foreseeing,
        on_cause=lambda seed, why: heard.append((seed, why)),
    )
    assert found == {3: cause, 5: cause}
    assert heard == list(found.items())


def test_only_episodes_that_had_something_to_solve_can_fail():
    records = rollout(toy_envs(2), HoldStill(), [0, 1], record_frames=False)
    assert failures(records) == [0, 1]
    assert failures([replace(records[0], solved_at_start=True), records[1]]) == [1]
    assert failures(rollout(toy_envs(2), Expert(), [0, 1], record_frames=False)) == []


def test_causes_are_counted_in_one_line():
    causes = {1: Cause.model, 4: Cause.search, 9: Cause.model}
    assert told(causes, 2) == ("5 failures: model wrong 2, search wrong 1, not looked into 2")
    assert told({1: Cause.energy}) == "1 failure: oracle also fails 1"
    assert told({}) == "no failures"


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("perfect", [exhaustive, foresight])
def test_a_search_that_leaves_little_chooses_among_the_same_actions(name, perfect):
    config = PLANNERS[name]()
    config.max_translation, config.gripper, config.budget_s = 0.03, Gripper.categorical, 0.1
    search = perfect(config)
    same = {"max_translation", "l1_ball", "rotations", "max_rotation", "gripper", "max_gripper"}
    assert same < {field.name for field in fields(SearchConfig)}
    assert all(getattr(search, one) == getattr(config, one) for one in same)
    assert search.budget_s is None


def test_an_evaluation_says_why_its_agent_failed(tmp_path):
    evaluation = run_evaluate(
        EvaluateConfig(episodes=3, videos=0, causes=2),
        envs=toy_envs(1),
        agents={"hold_still": HoldStill()},
        folder=tmp_path,
        title="Toy",
        explain=lambda seeds: dict.fromkeys(seeds, Cause.model),
    )
    assert evaluation.causes == {0: Cause.model, 1: Cause.model}
    line = "3 failures: model wrong 2, not looked into 1"
    assert evaluation.failures == line
    assert line in (tmp_path / "table.txt").read_text()
    assert line in (tmp_path / "index.html").read_text()
    assert json.loads((tmp_path / "causes.json").read_text()) == {
        "0": "model wrong",
        "1": "model wrong",
    }


@pytest.mark.parametrize(
    ("world_model", "agent"),
    [
        (WorldModelConfig(dynamics="oracle"), PlanningConfig()),
        (WorldModelConfig(dynamics="persistence"), PlanningConfig()),
        (WorldModelConfig(), HoldStillConfig()),
    ],
)
def test_causes_are_those_of_an_agent_that_plans_with_what_it_learnt(world_model, agent):
    with pytest.raises(EvaluationError, match=r"job\.causes tells search, model and energy apart"):
        Factory(world_model).explainer(agent, EnvConfig())
