"""The camera is carried round: what is measured, what is refused, what is left behind."""

import json
import math
import sys
from contextlib import closing
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from toys import ToyWorldModel, picture, toy_envs

from vjepa_gym.agents.camera_rotation import RotationEstimate
from vjepa_gym.agents.cem import CEM, fast
from vjepa_gym.agents.controls import Expert, HoldStill
from vjepa_gym.agents.turned import PIVOT, turn_poses
from vjepa_gym.envs import REACH
from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.camera.inferred import Inferred, compare_actions, infer_actions
from vjepa_gym.experiments.camera.moves import HIGH, LOW, random_moves
from vjepa_gym.experiments.camera.report import write_sweep
from vjepa_gym.experiments.camera.result import CORRECTED, PLAIN, Position, Sweep
from vjepa_gym.experiments.camera.settings import CameraSweep
from vjepa_gym.experiments.camera.sweep import run_sweep
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.factory import Factory
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.experiments.settings import (
    EnvConfig,
    PlanningConfig,
    RandomConfig,
    VariationConfig,
    WorldModelConfig,
)
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


def along_the_table(*moves):
    """Return poses with displacements x y between them."""
    poses = np.zeros((len(moves) + 1, 7), np.float32)
    poses[:, :3] = [0.5, 0.0, 0.3]
    poses[1:, :2] += np.cumsum(np.array(moves, np.float32), 0)
    return poses


MOVES = ((0.05, 0.0), (-0.02, 0.06), (-0.04, -0.05), (0.03, 0.03), (0.01, -0.06))


def test_a_matrix_is_fitted_and_taken_apart():
    poses = along_the_table(*MOVES)
    turned = np.array([[0.0, -2.0], [2.0, 0.0]])
    inferred = np.zeros((5, 7), np.float32)
    inferred[:, :2] = np.diff(poses[:, :2], axis=0) @ turned.T
    found = compare_actions(inferred, poses)
    assert found.matrix == pytest.approx(turned, abs=1e-4)
    assert found.rotation == pytest.approx(math.pi / 2, abs=1e-4)
    assert found.condition == pytest.approx(1.0, abs=1e-3)
    assert found.remaining < 1e-6
    assert found.error > 0.03
    assert found.way == pytest.approx(np.linalg.norm(MOVES, axis=1).mean(), abs=1e-6)


def test_moves_along_one_line_leave_the_matrix_open():
    poses = along_the_table((0.05, 0.0), (-0.03, 0.0), (0.02, 0.0))
    with pytest.raises(EvaluationError, match="two directions"):
        compare_actions(np.ones((3, 7), np.float32), poses)


def planner(**changes):
    return CEM(replace(fast(), horizon=1, **changes))


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_what_a_carried_camera_makes_of_moves_is_turned_by_its_offset(degrees):
    poses = along_the_table(*MOVES)
    turned = turn_poses(torch.from_numpy(poses), math.radians(degrees), PIVOT)
    views = torch.from_numpy(np.stack([picture(pose.numpy()) for pose in turned]))
    model = ToyWorldModel()
    # The model takes the view for the truth: it is told the pose that it sees.
    inferred = infer_actions(model, planner(), model.encode(views), turned.numpy())
    found = compare_actions(inferred, poses)
    assert math.degrees(found.rotation) == pytest.approx(degrees, abs=1)
    assert found.condition == pytest.approx(1, abs=0.1)
    assert found.remaining < 0.003


def test_inferring_needs_a_planner_of_one_step():
    with pytest.raises(ValueError, match="horizon of 1, got 2"):
        infer_actions(
            ToyWorldModel(), CEM(fast()), torch.zeros(3, 144, 3), along_the_table(*MOVES[:2])
        )


def test_the_same_moves_are_seen_by_every_camera():
    options = {"horizon": 12, "image_size": 24, "goal_images": False}
    with closing(gym.make(REACH, disable_env_checker=True, **options)) as env:
        here, there = (random_moves(env, azimuth, 12, seed=3) for azimuth in (120.0, 145.0))
        other = random_moves(env, 120.0, 12, seed=4)
    assert here.poses == pytest.approx(there.poses, abs=1e-6)
    assert here.images.shape == (13, 24, 24, 3)
    assert (here.images != there.images).any()
    assert np.abs(here.poses - other.poses).max() > 0.01
    ways = np.linalg.norm(np.diff(here.poses[:, :2], axis=0), axis=1)
    assert 0.03 < ways.mean() < 0.08
    assert np.abs(np.diff(here.poses[:, 2])).max() < 0.01
    inside = (here.poses[:, :2] > LOW - 0.02) & (here.poses[:, :2] < HIGH + 0.02)
    assert inside.all()


def position(offset, agents=None, spread=0.02):
    """Return a position whose estimates are 1 and 3 degrees too large."""
    angles = np.linspace(-1, 1, 5)
    estimates = tuple(
        RotationEstimate(
            angle=math.radians(offset + wrong), angles=angles, errors=angles**2, spread=spread
        )
        for wrong in (1, 3)
    )
    inferred = Inferred(matrix=np.eye(2), error=0.01, remaining=0.005, way=0.05)
    evaluation = None
    if agents:
        records = {
            name: rollout(toy_envs(2), agent, range(4), record_frames=False)
            for name, agent in agents.items()
        }
        evaluation = Evaluation(
            title="", records=records, near_distance=0.02, thresholds=(), facts={}, configuration={}
        )
    return Position(
        offset=offset,
        azimuth=120 + offset,
        inferred=inferred,
        estimates=estimates,
        evaluation=evaluation,
    )


def a_sweep():
    good, bad = Expert(), HoldStill()
    positions = [
        position(-10.0, spread=math.inf),
        position(0.0, {PLAIN: good, CORRECTED: good}),
        position(15.0, {PLAIN: bad, CORRECTED: good}),
        position(30.0, {PLAIN: bad, CORRECTED: bad}),
    ]
    return Sweep(title="<toy>", positions=positions, facts={}, configuration={"seed": 0})


def test_what_the_correction_wins_back_is_a_part_of_what_was_lost():
    sweep = a_sweep()
    found = [sweep.recovered(one) for one in sweep.positions]
    assert found == [None, None, 1.0, 0.0]
    assert sweep.positions[2].estimate == pytest.approx(16)
    assert sweep.positions[2].wrong == pytest.approx(2)


def test_a_sweep_leaves_tables_pictures_and_a_page(tmp_path):
    page = write_sweep(a_sweep(), tmp_path).read_text()
    assert "&lt;toy&gt;" in page
    assert page.count("<svg") == 2
    assert "100%" in page
    left = json.loads((tmp_path / "camera.json").read_text())["positions"]
    assert [one["offset"] for one in left] == [-10, 0, 15, 30]
    assert left[0]["spread"] is None
    assert left[2]["episodes"][CORRECTED]["recovered"] == 1
    assert left[2]["succeeded"][PLAIN] == dict.fromkeys("0123", False)
    assert (tmp_path / "rotation.svg").read_text().startswith("<svg")
    assert "+16.0 +- 1.1" in (tmp_path / "table.txt").read_text()


def test_without_episodes_there_is_no_picture_of_success(tmp_path):
    sweep = replace(a_sweep(), positions=[position(5.0)])
    assert write_sweep(sweep, tmp_path).read_text().count("<svg") == 1
    assert not (tmp_path / "success.svg").exists()


def test_the_camera_of_the_training_is_always_among_those_that_are_driven():
    assert CameraSweep(offsets=[15.0, -5.0]).driven == [-5, 0, 15]
    some = CameraSweep(offsets=[15.0, -5.0], reach_at=[30.0])
    assert some.driven == [0, 30]
    assert some.studied == [-5, 0, 15, 30]
    assert CameraSweep().offsets == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"offsets": [math.nan]}, "offsets must be finite"),
        ({"reach_at": [15.0]}, "give offsets too"),
        ({"steps": 2}, "steps must be at least 3"),
        ({"moves": 1}, "moves must be at least 2"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"moves_seed": 0}, "moves_seed must be at least 1"),
        ({"trained_azimuth": math.inf}, "trained_azimuth must be finite"),
    ],
)
def test_a_senseless_sweep_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        CameraSweep(**words)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with an untrained model."""
    torch.manual_seed(0)
    config = debug()
    encoder = VisionTransformer(config.encoder)
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    VJEPA2AC(config, encoder, predictor).save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    return tmp_path


SWEEP = ["evaluate", "job.camera.offsets=[0,15]", "env.image_size=16"]
FEW = ["job.camera.steps=5", "job.camera.moves=3", "job.camera.trials=2", "job.num_envs=1"]
QUICK = ["agent.planner.num_samples=16", "agent.planner.num_iterations=1", "job.episodes=1"]


def test_a_sweep_from_the_command_line(place, capsys):
    assert main([*SWEEP, *FEW, *QUICK, "world_model.source=model"]) == 0
    assert CORRECTED in capsys.readouterr().out
    (left,) = place.glob("runs/evaluate/*/camera.json")
    positions = json.loads(left.read_text())["positions"]
    assert [one["azimuth"] for one in positions] == [120, 135]
    for one in positions:
        assert len(one["estimates"]) == 2
        assert set(one["episodes"]) == {PLAIN, CORRECTED}
    assert (left.parent / "index.html").exists()


NOWHERE = WorldModelConfig(source="nowhere")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent": RandomConfig()}, "use agent=planning"),
        ({"model": replace(NOWHERE, dynamics="oracle")}, "world_model.dynamics=learned"),
        ({"agent": PlanningConfig(camera_turn=10.0)}, "leave agent.camera_turn at 0"),
        (
            {"env": EnvConfig(variation=VariationConfig(camera_azimuth=110.0))},
            "leave env.variation.camera_azimuth alone",
        ),
        ({"goal": "mine.npz"}, "A goal file shows one camera's view"),
        ({"offsets": [50.0]}, "can be from 20 to 160 degrees, got 170"),
    ],
)
def test_what_makes_no_sense_is_said_before_a_model_is_read(changes, said):
    camera = CameraSweep(offsets=changes.get("offsets", [15.0]))
    with pytest.raises(EvaluationError, match=said):
        run_sweep(
            EvaluateConfig(camera=camera, goal=changes.get("goal", ""), num_envs=1),
            env=changes.get("env", EnvConfig(image_size=16)),
            agent=changes.get("agent", PlanningConfig()),
            factory=Factory(changes.get("model", NOWHERE)),
            configuration={},
        )
