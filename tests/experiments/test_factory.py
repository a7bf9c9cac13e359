"""Agents and controls of a model of a few thousand parameters, with heads and without."""

import math
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from vjepa_gym.agents.cem import frugal
from vjepa_gym.agents.gradient import GradientConfig
from vjepa_gym.agents.inverse import InverseAgent
from vjepa_gym.agents.mppi import MPPIConfig
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.agents.turned_proposer import TurnedProposer
from vjepa_gym.envs import REACH
from vjepa_gym.errors import CheckpointError, EvaluationError, PlanningError, UnknownNameError
from vjepa_gym.experiments.factory import Factory
from vjepa_gym.experiments.jobs.evaluate import DEFAULT_CONTROLS, make_envs
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.experiments.settings import (
    ExpertConfig,
    InverseConfig,
    PlanningConfig,
    WorldModelConfig,
)
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.heads.files import save_head
from vjepa_gym.world_models.heads.registry import HEADS
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

USUAL = list(DEFAULT_CONTROLS)
SMALL = replace(frugal(), num_samples=8, num_iterations=1, num_elites=2, kept_elites=0)


def save_model(folder):
    torch.manual_seed(0)
    config = MODELS["debug"]()
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    model = VJEPA2AC(config, VisionTransformer(config.encoder), predictor)
    model.save(folder)
    return model


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    save_model(folder)
    return Factory(WorldModelConfig(source=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def headed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("headed")
    model = save_model(folder)
    for name in ("inverse", "macro"):
        kind = HEADS[name]
        save_head(name, kind.module(kind.config(), model.config), folder, model)
    return Factory(WorldModelConfig(source=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def envs():
    with closing(make_envs(REACH, 2, image_size=32, horizon=2)) as made:
        yield made


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(PlanningConfig(planner=SMALL, proposals=3), id="proposals"),
        pytest.param(PlanningConfig(planner=SMALL, proposals=0, prior=0.01), id="prior alone"),
        pytest.param(
            PlanningConfig(planner=SMALL, proposals=0, prior=0.01, camera_turn=20.0),
            id="turned prior",
        ),
        pytest.param(PlanningConfig(planner=SMALL, two_level=True), id="two levels"),
        pytest.param(
            PlanningConfig(planner=SMALL, proposals=3, camera_turn=20.0), id="turned camera"
        ),
        pytest.param(PlanningConfig(planner=SMALL, pose_weight=1.0, token_floor=0.2), id="poses"),
        pytest.param(PlanningConfig(planner=SMALL, switch="energy", max_context=2), id="switching"),
        pytest.param(
            PlanningConfig(planner=GradientConfig(num_samples=2, num_iterations=2)), id="gradient"
        ),
        pytest.param(
            PlanningConfig(planner=MPPIConfig(num_samples=30, num_iterations=1)), id="mppi"
        ),
        pytest.param(InverseConfig(), id="inverse"),
    ],
)
def test_whatever_is_configured_drives_the_arm(headed, envs, config):
    agent = headed.agent(config, envs)
    records = rollout(envs, agent, [0, 1], record_frames=False)
    assert all(np.isfinite(record.actions).all() for record in records)
    assert agent.privileged == (getattr(config, "pose_weight", 0.0) > 0)


@pytest.mark.parametrize(
    ("config", "head"),
    [
        (PlanningConfig(planner=SMALL, proposals=3), "inverse"),
        (PlanningConfig(planner=SMALL, proposals=0, prior=0.01), "inverse"),
        (PlanningConfig(planner=SMALL, two_level=True), "macro"),
        (InverseConfig(), "inverse"),
    ],
)
def test_a_missing_head_is_an_error_that_names_the_command(bare, envs, config, head):
    command = f"vjepa-gym heads job.model={bare.config.source} job.heads=[{head}]"
    with pytest.raises(CheckpointError) as caught:
        bare.agent(config, envs)
    assert command in str(caught.value)


def test_the_row_of_the_proposals_alone_and_that_without_stand_beside_a_plan(headed):
    agent = PlanningConfig(planner=SMALL, proposals=3)
    controls = headed.controls(USUAL, agent, 0)
    assert list(controls) == USUAL
    assert isinstance(controls["inverse"], InverseAgent)
    assert isinstance(controls["no_proposals"], PlanningAgent)


def test_an_agent_without_proposals_has_a_row_with_some(headed, envs):
    controls = headed.controls(USUAL, PlanningConfig(planner=SMALL, proposals=0), 0)
    assert list(controls) == ["with_proposals", *USUAL[1:]]
    asked = []
    propose = headed.inverse.propose
    headed.inverse.propose = lambda *words, **options: (
        asked.append(options["samples"]) or propose(*words, **options)
    )
    rollout(envs, controls["with_proposals"], [0, 1], record_frames=False)
    del headed.inverse.propose
    assert set(asked) == {2}, "every fourth of eight samples"


def test_a_model_without_heads_has_the_controls_that_need_none(bare):
    assert list(bare.controls(USUAL, PlanningConfig(), 0)) == USUAL[2:]
    with pytest.raises(EvaluationError, match="vjepa-gym heads"):
        bare.controls(["inverse"], PlanningConfig(), 0)


def test_an_agent_that_needs_no_model_has_controls_that_need_none():
    nowhere = Factory(WorldModelConfig(source="nowhere"))
    assert list(nowhere.controls(USUAL, ExpertConfig(), 0)) == USUAL[3:]
    with pytest.raises(UnknownNameError, match="hold-still"):
        nowhere.controls(["hold-still"], ExpertConfig(), 0)


def test_controls_of_a_plan_with_the_oracle_plan_with_the_oracle(headed, envs):
    factory = Factory(replace(headed.config, dynamics="oracle"))
    agent = PlanningConfig(planner=SMALL, proposals=3)
    assert list(factory.controls(USUAL, agent, 0, envs)) == USUAL
    with pytest.raises(PlanningError, match="need envs"):
        factory.controls(USUAL, agent, 0)


def test_an_agent_of_images_and_one_with_an_inverse_head_tell_what_their_model_is(headed):
    told = headed.facts(InverseConfig())
    assert told["model"] == headed.config.source
    assert headed.facts(ExpertConfig()) == {}


def test_proposals_are_turned_like_the_camera(headed):
    turned = headed._proposer(PlanningConfig(planner=SMALL, proposals=1, camera_turn=90.0))
    assert turned._angle == pytest.approx(math.pi / 2)
    assert headed._proposer(PlanningConfig(planner=SMALL, proposals=1)) is headed.inverse


def test_unless_it_is_said_a_head_proposes_and_a_row_tells_what_that_is_worth(headed, bare):
    assert headed.settled(PlanningConfig(planner=SMALL)).proposals == 2
    assert bare.settled(PlanningConfig(planner=SMALL)).proposals == 0
    assert headed.settled(PlanningConfig(planner=SMALL, proposals=0)).proposals == 0
    assert list(headed.controls(USUAL, PlanningConfig(planner=SMALL), 0)) == USUAL


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, {"propose"}),
        ({"prior": 0.01}, {"propose", "surprise"}),
        ({"proposals": 0, "prior": 0.01}, {"surprise"}),
        ({"proposals": 0}, set()),
    ],
)
def test_a_head_is_asked_for_what_is_configured(headed, envs, monkeypatch, changes, asked):
    calls = recorded(headed, monkeypatch)
    agent = headed.agent(PlanningConfig(planner=SMALL, **changes), envs)
    rollout(envs, agent, [0, 1], record_frames=False)
    assert set(calls) == asked


def recorded(factory, monkeypatch):
    """Return a list of what the head will be asked for."""
    calls = []
    for name in ("propose", "surprise"):
        method = getattr(factory.inverse, name)
        monkeypatch.setattr(
            factory.inverse,
            name,
            lambda *words, name=name, method=method, **named: (
                calls.append(name) or method(*words, **named)
            ),
        )
    return calls


def test_the_row_without_proposals_has_no_prior_either(headed, envs, monkeypatch):
    calls = recorded(headed, monkeypatch)
    agent = PlanningConfig(planner=SMALL, proposals=3, prior=0.01)
    for name in ("no_proposals", "persistence"):
        rollout(envs, headed.controls(USUAL, agent, 0)[name], [0, 1], record_frames=False)
        assert calls == [], name
    without = PlanningConfig(planner=SMALL, proposals=0)
    rows = headed.controls(USUAL, without, 0)
    rollout(envs, rows["with_proposals"], [0, 1], record_frames=False)
    assert set(calls) == {"propose"}


def test_the_prior_is_turned_like_the_camera(headed, envs):
    config = PlanningConfig(planner=SMALL, proposals=0, prior=0.01, camera_turn=90.0)
    agent = headed.agent(config, envs)
    assert isinstance(agent._prior, TurnedProposer)
    assert agent._prior_weight == 0.01
