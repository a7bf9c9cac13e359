"""What the documentation shows is run as it stands, with small settings where it takes any."""

import re
import runpy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_gym.agents import planners
from vjepa_gym.agents.base import Context, Energy, Imagined, Planner, Target
from vjepa_gym.agents.cem import CEMConfig
from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.world_models import vjepa2_ac
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import debug

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def model(tmp_path):
    """A folder with an untrained model that computes in milliseconds."""
    config = debug()
    encoder = VisionTransformer(config.encoder)
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    folder = tmp_path / "model"
    vjepa2_ac.VJEPA2AC(config, encoder, predictor).save(folder)
    return folder


def run_example(name, **settings):
    runpy.run_path(str(ROOT / "examples" / name))["main"](**settings)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_on_a_screen_and_have_a_test_here(path):
    assert len(path.read_text().splitlines()) <= 40
    assert f'"{path.name}"' in Path(__file__).read_text()


def test_planning_a_reach_leaves_a_video(model, tmp_path, capsys):
    search = CEMConfig(num_samples=4, num_iterations=1, num_elites=2)
    video = tmp_path / "reach.mp4"
    run_example("plan_reach.py", model=str(model), search=search, video=video)
    assert video.stat().st_size > 1000
    assert "cm from the goal at first" in capsys.readouterr().out


def test_a_video_has_features(tmp_path, capsys):
    video = np.random.default_rng(0).integers(0, 256, (9, 64, 96, 3), np.uint8)
    write_video(tmp_path / "video.mp4", video, Fraction(10))
    run_example("features.py", video=tmp_path / "video.mp4", frames=8, device="cpu")
    assert "4 times x 4 rows x 4 columns of 192 features each" in capsys.readouterr().out


def test_collected_episodes_can_be_read(tmp_path, capsys):
    run_example("collect_and_read.py", root=tmp_path / "data", episodes=2)
    said = capsys.readouterr().out
    assert "2 episodes" in said
    assert "images (9, 256, 256, 3), poses (9, 7)" in said


def test_a_lab_of_ones_own_is_seen_by_a_camera_of_ones_own(tmp_path, capsys):
    run_example("own_lab.py", picture=tmp_path / "attic.png")
    assert (tmp_path / "attic.png").stat().st_size > 10_000
    assert "camera at [m]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"), [("own_object.py", "grasped: True"), ("own_task.py", "done: True")]
)
def test_the_expert_does_a_task_of_ones_own_with_an_object_of_ones_own(name, said, capsys):
    run_example(name)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("name", ["own_planner.py", "own_energy.py"])
def test_a_planner_and_an_energy_of_ones_own_bring_the_hand_somewhere(
    name, model, monkeypatch, capsys
):
    few = CEMConfig(num_samples=4, num_iterations=1, num_elites=2)
    monkeypatch.setitem(planners.PLANNERS, "fast", lambda: few)
    run_example(name, model=str(model))
    assert "cm from the goal at the end" in capsys.readouterr().out


def test_a_compass_search_finds_the_minimum_for_every_robot():
    search = runpy.run_path(str(ROOT / "examples" / "own_planner.py"))["CompassSearch"]()
    search.rounds = 40
    assert isinstance(search, Planner)
    goal = torch.tensor([[0.05, -0.02, 0.01], [0.2, 0.0, -0.03]])
    plan = search.plan(lambda a: (a[..., 0, :3] - goal[:, None]).square().sum(-1), 2)
    nearest = goal.clamp(-0.075, 0.075)
    torch.testing.assert_close(plan.actions[:, 0, :3], nearest, atol=1e-3, rtol=0)
    assert plan.trace.best.shape == (40, 2)


def test_an_energy_of_ones_own_sees_what_an_average_drowns():
    energy = runpy.run_path(str(ROOT / "examples" / "own_energy.py"))["WorstTokens"](share=0.1)
    assert isinstance(energy, Energy)
    goal = torch.zeros(1, 20, 4)
    latents = torch.zeros(1, 2, 1, 20, 4)
    latents[0, 0, 0, 3] = 1.0  # one token is quite wrong
    latents[0, 1] = 0.06  # all tokens are a little wrong
    context = Context(
        latents=goal[:, None], poses=torch.zeros(1, 1, 7), actions=torch.zeros(1, 0, 7)
    )
    future = Imagined(
        context=context,
        actions=torch.zeros(1, 2, 1, 7),
        latents=latents,
        poses=torch.zeros(1, 2, 1, 7),
    )
    small, everywhere = energy(future, Target(latents=goal))[0]
    assert small > everywhere
    assert latents[0, 0].mean() < latents[0, 1].mean()


def test_a_predictor_is_trained_on_an_encoder_of_ones_own(tmp_path, capsys):
    run_example("collect_and_read.py", root=tmp_path / "data", episodes=5)
    folder = tmp_path / "model"
    run_example("own_encoder.py", data=str(tmp_path / "data"), folder=str(folder), steps=2)
    assert "percentile: 0." in capsys.readouterr().out
    assert (folder / "model.safetensors").exists()


def test_every_recipe_of_the_documentation_is_an_example_that_runs():
    text = (ROOT / "docs" / "extending.md").read_text()
    shown = re.findall(r"\.\./examples/(\w+\.py)", text)
    assert set(shown) == {path.name for path in EXAMPLES if path.name.startswith("own_")}


def test_the_python_of_the_readme_runs(model, monkeypatch, capsys):
    readme = (ROOT / "README.md").read_text()
    expert, plan, features = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    load = vjepa2_ac.load_world_model
    monkeypatch.setattr(vjepa2_ac, "load_world_model", lambda name: load(model))
    exec(compile(expert, "README.md", "exec"), {})
    exec(compile(plan, "README.md", "exec"), {})
    namespace = {"frames": torch.zeros(1, 4, 32, 48, 3, dtype=torch.uint8)}
    # The weights that it names are gigabytes away.
    here = features.replace('"facebook/vjepa2-vitl-fpc64-256"', repr(str(model)))
    assert here != features
    exec(compile(here, "README.md", "exec"), namespace)
    assert namespace["features"].shape[0] == 1
    said = capsys.readouterr().out
    assert "placed: True" in said
    assert "distance to the goal [m]: [" in said


def test_every_command_of_the_readme_composes(monkeypatch, tmp_path):
    import sys

    from vjepa_gym.experiments import launch
    from vjepa_gym.experiments.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: None)
    readme = (ROOT / "README.md").read_text()
    jobs = "collect|audit|convert|pretrain|train|heads|evaluate"
    commands = re.findall(rf"^vjepa-gym ((?:{jobs})\b[^#\n]*)", readme, re.M)
    assert len(commands) == 11
    for command in commands:
        assert main(command.split()) == 0
