import gymnasium as gym
import numpy as np
import pytest
import torch

from vjepa_gym.agents.action_space import Gripper
from vjepa_gym.agents.cem import CEM, CEMConfig
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import REACH
from vjepa_gym.envs.oracle import OracleDynamics
from vjepa_gym.errors import PlanningError
from vjepa_gym.types import Goal
from vjepa_gym.world_models.base import Context, WorldModel

SIZE = 32


class Pixels:
    """Takes pictures for latents."""

    def encode(self, images):
        return images.float().flatten(1, 2) / 255

    def imagine(self, context, actions):
        raise NotImplementedError


@pytest.fixture(scope="module")
def env():
    env = gym.make(REACH, image_size=SIZE).unwrapped
    yield env
    env.close()


def context_of(oracle, observation):
    return Context(
        latents=oracle.encode(torch.from_numpy(observation["image"][None]))[:, None],
        poses=torch.from_numpy(observation["pose"])[None, None],
        actions=torch.zeros(1, 0, 7),
    )


def test_what_it_imagines_is_what_then_happens_and_imagining_changes_nothing(env):
    observation, _ = env.reset(seed=0)
    oracle = OracleDynamics([env], Pixels())
    assert isinstance(oracle, WorldModel)
    before = env.world.state
    actions = torch.zeros(1, 3, 2, 7)
    actions[0, 1:, :, 0] = 0.04
    actions[0, 2, 1, 2] = -0.05
    imagined = oracle.imagine(context_of(oracle, observation), actions)
    np.testing.assert_array_equal(env.world.state, before)
    assert imagined.latents.shape == (1, 3, 2, SIZE * SIZE, 3)
    for step in range(2):
        observation, *_ = env.step(actions[0, 2, step].numpy())
        seen = oracle.encode(torch.from_numpy(observation["image"][None]))[0]
        assert torch.equal(imagined.latents[0, 2, step], seen)
        np.testing.assert_array_equal(imagined.poses[0, 2, step].numpy(), observation["pose"])


def test_planning_with_it_arrives_where_the_energy_is_least(env):
    observation, info = env.reset(seed=1)
    place = torch.from_numpy(info["goal"]["poses"][0, :3])

    def from_the_goal(imagined, target):
        return (imagined.poses[:, :, -1, :3] - place).norm(dim=-1)

    from_the_goal.needs_poses = False
    search = CEMConfig(num_samples=16, num_iterations=2, num_elites=3, gripper=Gripper.still)
    agent = PlanningAgent(OracleDynamics([env], Pixels()), CEM(search), from_the_goal)
    agent.reset(Goal(images=info["goal"]["images"][None], steps=(10,)))
    start = info["distance"]
    for _ in range(4):
        told = {name: value[None] for name, value in observation.items()}
        observation, *_, info = env.step(agent.act(told)[0])
    assert info["distance"] < start / 2


def test_it_imagines_for_its_own_environments_and_from_the_present_only(env):
    observation, _ = env.reset(seed=2)
    oracle = OracleDynamics([env], Pixels())
    context = context_of(oracle, observation)
    with pytest.raises(PlanningError, match="1 environments and is asked about 2"):
        oracle.imagine(context, torch.zeros(2, 1, 1, 7))
    env.step(np.array([0.05, 0, 0, 0, 0, 0, 0], np.float32))
    with pytest.raises(PlanningError, match="where the context ends"):
        oracle.imagine(context, torch.zeros(1, 1, 1, 7))
