import numpy as np
import pytest

from vjepa_gym.agents.base import Energy, Planner, current_view
from vjepa_gym.agents.cem import CEM, fast
from vjepa_gym.agents.controls import Expert, HoldStill, RandomAgent
from vjepa_gym.agents.energies import L1, L2
from vjepa_gym.types import Agent


def test_views_change_after_the_steps_allowed_for_each_and_the_last_one_stays():
    elapsed = np.array([0, 3, 4, 13, 14, 17, 18, 99])
    assert current_view((4, 10, 4), elapsed).tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_a_single_view_never_changes():
    assert current_view((10,), np.array([0, 9, 10, 50])).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("agent", [HoldStill(), RandomAgent(), Expert()])
def test_controls_are_agents(agent):
    assert isinstance(agent, Agent)


def test_the_parts_of_a_planning_agent_have_their_roles():
    assert isinstance(CEM(fast()), Planner)
    assert all(isinstance(energy, Energy) for energy in (L1(), L2()))
