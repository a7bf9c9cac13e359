import json

import pytest
from toys import TOY, ToyWorldModel, toy_envs

from vjepa_gym.agents.cem import CEM, fast
from vjepa_gym.agents.controls import HoldStill
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.jobs.evaluate import (
    EvaluateConfig,
    make_controls,
    make_envs,
    run_evaluate,
)
from vjepa_gym.world_models.vjepa2_ac import Persistence


def planning(world_model):
    return PlanningAgent(world_model, CEM(fast()), L1())


def test_the_planner_solves_the_toy_and_the_controls_bound_it(tmp_path):
    bounds = ["persistence", "hold_still", "random", "expert"]
    config = EvaluateConfig(episodes=6, videos=2, controls=bounds)
    controls = make_controls(
        config.controls, blind=lambda: planning(Persistence(ToyWorldModel())), seed=1
    )
    told = []
    evaluation = run_evaluate(
        config,
        envs=toy_envs(4),
        agents={"planning": planning(ToyWorldModel()), **controls},
        folder=tmp_path,
        title="Toy",
        on_episode=lambda name, record: told.append((name, record.seed)),
    )
    rows = {row.agent: row for row in evaluation.summaries()}
    assert list(rows) == ["planning", "persistence", "hold_still", "random", "expert"]
    assert rows["planning"].successes == rows["expert"].successes == 6
    assert rows["planning"].median_distance < 0.01
    assert rows["hold_still"].successes == 0
    assert rows["persistence"].successes <= 2
    assert told[:7] == [*(("planning", seed) for seed in range(6)), ("persistence", 0)]
    table = json.loads((tmp_path / "table.json").read_text())
    assert table[0]["successes"] == 6
    assert len(list((tmp_path / "videos").iterdir())) == 2
    assert "first_seed: 0" in (tmp_path / "index.html").read_text()


def test_starts_that_are_solved_count_for_nobody(tmp_path):
    evaluation = run_evaluate(
        EvaluateConfig(episodes=3, first_seed=7, videos=0),
        envs=toy_envs(2, near=0.118),
        agents={"hold_still": HoldStill()},
        folder=tmp_path,
        title="Toy",
    )
    (row,) = evaluation.summaries()
    distances = [record.distances[0] for record in evaluation.records["hold_still"]]
    assert row.rejected == sum(distance <= 0.118 for distance in distances)
    assert 0 < row.rejected < 3
    assert row.episodes == 3 - row.rejected


def test_environments_are_made_side_by_side_and_never_restart_by_themselves():
    toy_envs(1)
    envs = make_envs(TOY, 3, distance=0.2)
    assert envs.num_envs == 3
    assert envs.metadata["autoreset_mode"].name == "DISABLED"
    _, info = envs.reset(seed=0)
    assert info["distance"] == pytest.approx(0.2, abs=1e-6)


def test_a_control_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UnknownNameError, match=r"'hold-still'.*Did you mean 'hold_still'"):
        make_controls(["hold-still"])


def test_further_controls_are_made_by_who_knows_them():
    made = make_controls(["mine", "random"], others={"mine": HoldStill})
    assert list(made) == ["mine", "random"]
    assert isinstance(made["mine"], HoldStill)


def test_an_agent_without_a_world_model_has_no_control_that_imagines():
    with pytest.raises(UnknownNameError, match="persistence"):
        make_controls(["persistence"])


@pytest.mark.parametrize(("field", "value"), [("episodes", 0), ("num_envs", 0), ("videos", -1)])
def test_a_senseless_setting_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        EvaluateConfig(**{field: value})
