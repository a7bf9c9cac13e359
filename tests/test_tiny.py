"""The shipped weights do what they are shipped for."""

import json
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from vjepa_gym.agents.cem import CEM, fast
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import REACH
from vjepa_gym.experiments.jobs.evaluate import make_envs
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.world_models.vjepa2_ac import Persistence, load_world_model, shipped_world_models

SEEDS = range(10)
SEARCH = replace(fast(), num_samples=96, num_iterations=4)
"""A third of the preset's samples, for the sake of time."""


@pytest.fixture(scope="module")
def tiny():
    return load_world_model("tiny")


def successes(world_model, seeds):
    with closing(make_envs(REACH, 2)) as envs:
        records = rollout(envs, PlanningAgent(world_model, CEM(SEARCH), L1()), seeds)
    return sum(record.success for record in records)


@pytest.mark.slow
def test_tiny_reaches_at_least_eight_of_ten_goals_it_is_shown(tiny):
    assert successes(tiny, SEEDS) >= 8


@pytest.mark.slow
def test_the_same_search_in_a_world_where_nothing_changes_hardly_ever_arrives(tiny):
    assert successes(Persistence(tiny), SEEDS) <= 2


def test_tiny_is_small_and_brings_its_gates(tiny):
    folder = shipped_world_models()["tiny"]
    assert (folder / "model.safetensors").stat().st_size < 15e6
    assert tiny.gates is not None
    assert tiny.gates.to_json() == json.loads((folder / "gates.json").read_text())
    assert tiny.gates.true_action_percentile < 0.05
    assert max(tiny.gates.prediction_over_persistence_changed) < 0.5


def test_tiny_tells_views_apart_and_the_same_view_not(tiny):
    with closing(make_envs(REACH, 2)) as envs:
        observation, _ = envs.reset(seed=[0, 1])
    latents = tiny.encode(torch.from_numpy(observation["image"]))
    again = tiny.encode(torch.from_numpy(observation["image"]))
    assert torch.equal(latents, again)
    assert (latents[0] - latents[1]).abs().mean() > 0.1
