import io
import json

import pytest
import torch
from rich.console import Console

from vjepa_gym.agents.cem import CEMConfig, fast
from vjepa_gym.envs import REACH
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.compare.cells import Cell
from vjepa_gym.experiments.demo_report import show_demo
from vjepa_gym.experiments.gate_lines import gate_lines
from vjepa_gym.experiments.jobs.demo import DemoConfig, count_episodes, folder_name, run_demo
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
        tasks=["reach", "pick_place_box"],
        labs=["test"],
        world_model=str(tmp_path / "model"),
        planner=CEMConfig(num_samples=8, num_elites=2, num_iterations=1),
        evaluation=EvaluateConfig(episodes=1, num_envs=1, controls=["persistence", "expert"]),
    )
    ended = []
    shown = run_demo(config, tmp_path / "run", lambda agent, _: ended.append(agent))
    assert len(ended) == count_episodes(config) == 4
    assert list(shown.evaluations) == [Cell("reach", "test"), Cell("pick_place_box", "test")]
    rows = {row.agent: row for row in shown.evaluations[Cell("reach", "test")].summaries()}
    assert list(rows) == ["planning", "persistence", "expert"]
    assert rows["expert"].successes == 1
    assert list(shown.evaluations[Cell("pick_place_box", "test")].records) == ["planning"]
    cell = tmp_path / "run" / "reach_test"
    episodes = json.loads((cell / "episodes.json").read_text())
    assert len(episodes["planning"][0]["distances"]) == 11
    index = (tmp_path / "run" / "index.html").read_text()
    video = index.index('src="reach_test/overview.mp4"')
    assert video < index.index('href="reach_test/index.html"') < index.index("Nobody measured")
    assert "expert 1 of 1" in index
    page = (cell / "index.html").read_text()
    assert REACH in page
    assert "lab test" in page
    assert "not measured" in page
    assert "num_samples: 8" in page
    assert (cell / "overview.mp4").exists()
    console = Console(file=io.StringIO(), width=80)
    show_demo(console, shown, tmp_path / "run")
    said = console.file.getvalue()
    rows = [line for line in said.splitlines() if "test  " in line]
    assert len(rows) == 2
    assert max(map(len, rows)) <= 80
    assert "21% to 100%" in next(line for line in said.splitlines() if "expert" in line)
    assert said.count("pick_place_box  test  planning") == 1
    assert "Nobody measured the gates" in said
    assert str(tmp_path / "run" / "index.html") in said


def test_each_gate_that_is_not_passed_is_told_with_its_figure_and_what_is_wanted():
    first, second = gate_lines("tiny", some_gates(true_action_percentile=0.5))
    assert first == "tiny does not pass 1 of 5 gates (8 were not measured):"
    assert second == "  percentile of the true action  0.5, at most 0.05 is wanted"
    (line,) = gate_lines("tiny", some_gates())
    assert line.startswith("All gates passed: tiny passes 5 of 5 (8 were not")
    (line,) = gate_lines("runs/mine", None)
    assert "vjepa-gym gates job.model=runs/mine" in line


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


def test_the_demo_shows_three_tasks_in_both_labs_with_the_fast_search_by_default():
    config = DemoConfig()
    assert [folder_name(cell) for cell in config.cells()] == [
        "reach_train",
        "reach_test",
        "grasp_cup_train",
        "grasp_cup_test",
        "pick_place_cup_train",
        "pick_place_cup_test",
    ]
    assert config.world_model == "tiny"
    assert config.planner == fast()
    # Four episodes of each, and of two controls beside reach in both labs.
    assert count_episodes(config) == 4 * (6 + 2 * 2)


def test_a_registered_name_is_a_task_and_a_folder_too():
    (cell,) = DemoConfig(tasks=[REACH], labs=["train"]).cells()
    assert folder_name(cell) == "vjepa_gym-FrankaReach-v0_train"


def test_a_lab_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UnknownNameError, match="test, train"):
        DemoConfig(labs=["kitchen"])


@pytest.mark.parametrize("given", [{"tasks": []}, {"labs": []}, {"labs": ["test", "test"]}])
def test_nothing_to_show_or_the_same_twice_is_refused(given):
    with pytest.raises(ValueError, match="must be different ones, at least one"):
        DemoConfig(**given)


def test_an_energy_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UnknownNameError, match="l1, l2"):
        DemoConfig(energy="l3")


def test_a_search_that_is_none_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="settings of a search, got 'fast'"):
        DemoConfig(planner="fast")
