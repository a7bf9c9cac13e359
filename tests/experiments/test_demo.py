import json

import pytest
import torch

from vjepa_gym.agents.cem import CEMConfig, fast
from vjepa_gym.envs import REACH
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.jobs.demo import DemoConfig, run_demo
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, model_card
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.gates import Gates
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = MODELS["debug"]()
    encoder = VisionTransformer(config.encoder)
    return VJEPA2AC(config, encoder, ACPredictor(config.ac_predictor, config.encoder.width))


def some_gates(**changes):
    passed = {
        "ridge_error_mm": [1.0, 2.0, 3.0],
        "mlp_error_mm": [1.0, 2.0, 3.0],
        "chance_error_mm": [100.0, 90.0, 50.0],
        "true_action_percentile": 0.01,
        "prediction_over_persistence": [0.3, 0.4],
        "prediction_over_persistence_changed": [0.2, 0.3],
        "shuffled_action_percentile": 0.5,
        "shuffled_over_persistence": 1.2,
        "transitions": 256,
    }
    return Gates(**(passed | changes))


def test_the_demo_runs_a_model_and_its_controls_in_the_real_simulation(model, tmp_path):
    model.save(tmp_path / "model")
    config = DemoConfig(
        world_model=str(tmp_path / "model"),
        planner=CEMConfig(num_samples=8, num_elites=2, num_iterations=1),
        evaluation=EvaluateConfig(episodes=1, num_envs=1, controls=["persistence", "expert"]),
    )
    evaluations = run_demo(config, tmp_path / "run")
    assert list(evaluations) == ["reach", "reach_with_cup"]
    rows = {row.agent: row for row in evaluations["reach"].summaries()}
    assert list(rows) == ["planning", "persistence", "expert"]
    assert rows["expert"].successes == 1
    episodes = json.loads((tmp_path / "run" / "reach" / "episodes.json").read_text())
    assert len(episodes["planning"][0]["distances"]) == 11
    index = (tmp_path / "run" / "index.html").read_text()
    assert 'href="reach_with_cup/index.html"' in index
    page = (tmp_path / "run" / "reach" / "index.html").read_text()
    assert REACH in page
    assert "not measured" in page
    assert "num_samples: 8" in page
    assert (tmp_path / "run" / "reach" / "overview.mp4").exists()


def test_a_card_tells_the_size_of_a_model_and_which_gates_it_did_not_pass(model):
    encoder = sum(weight.numel() for weight in model.encoder.parameters()) / 1e6
    model.gates = some_gates()
    card = model_card(model, "tiny")
    assert card["model"] == "tiny"
    assert f"encoder {encoder:.2f} M" in card["parameters"]
    assert card["gates"] == "all passed"
    rows = model.gates.rows()
    assert rows
    for row in rows:
        assert card[row.gate] == f"{row.measured} ({row.wanted})"
    model.gates = some_gates(true_action_percentile=0.5)
    assert "percentile of the true action: 0.5" in model_card(model, "tiny")["gates"]


def test_the_demo_plans_ten_episodes_with_the_fast_search_by_default():
    config = DemoConfig()
    assert (config.world_model, config.evaluation.episodes) == ("tiny", 10)
    assert config.planner == fast()


def test_an_energy_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UnknownNameError, match="l1, l2"):
        DemoConfig(energy="l3")


def test_a_search_that_is_none_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="settings of a search, got 'fast'"):
        DemoConfig(planner="fast")
