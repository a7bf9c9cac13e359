import math

import pytest

from vjepa_gym.agents.base import Energy
from vjepa_gym.agents.energies import L1, L2, ActionCost, Cosine, PoseDistance, Sum
from vjepa_gym.agents.icem import ICEMConfig
from vjepa_gym.agents.switching import Switching
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.factory import energy_of
from vjepa_gym.experiments.settings import InverseConfig, PlanningConfig


@pytest.mark.parametrize(
    ("changes", "energy"),
    [
        ({}, L1()),
        ({"energy": "l2", "summed": False}, L2(summed=False)),
        ({"energy": "cosine", "token_floor": 0.25}, Cosine(token_floor=0.25)),
        ({"pose_weight": 2.0}, Sum(((1.0, L1()), (2.0, PoseDistance())))),
        (
            {"pose_weight": 2.0, "action_cost": 0.1, "summed": False},
            Sum(
                (
                    (1.0, L1(summed=False)),
                    (2.0, PoseDistance(summed=False)),
                    (0.1, ActionCost()),
                )
            ),
        ),
    ],
)
def test_energies_are_composed_as_configured(changes, energy):
    made = energy_of(PlanningConfig(**changes))
    assert made == energy
    assert isinstance(made, Energy)
    assert made.needs_poses == ("pose_weight" in changes)


def test_switching_is_configured_in_three_keys():
    config = PlanningConfig(switch="energy", switch_below=0.5, switch_patience=2.0)
    assert config.switching() == Switching(by="energy", below=0.5, patience=2.0)
    assert PlanningConfig().switching() == Switching()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"planner": "fast"}, "settings of a search, got 'fast'"),
        ({"token_floor": 1.5}, "token_floor"),
        ({"pose_weight": -1.0}, "pose_weight"),
        ({"action_cost": math.nan}, "action_cost"),
        ({"prior": -0.1}, "prior must not be negative, got -0.1"),
        ({"prior": math.nan}, "prior"),
        ({"prior": math.inf}, "prior"),
        ({"max_context": 0}, "max_context"),
        ({"proposals": -1}, "proposals"),
        ({"proposals": 11, "planner": ICEMConfig(num_samples=10)}, "there are 10; got 11"),
        ({"switch_below": 1.0}, "switch_below"),
        ({"switch_patience": 0.0}, "switch_patience"),
        ({"camera_turn": math.inf}, "camera_turn"),
        ({"two_level": True, "pose_weight": 1.0}, "pose_weight=0"),
    ],
)
def test_a_senseless_setting_of_planning_is_refused_by_its_name(changes, said):
    with pytest.raises(ValueError, match=said):
        PlanningConfig(**changes)


@pytest.mark.parametrize(("field", "value"), [("energy", "l7"), ("switch", "mood")])
def test_a_name_that_does_not_exist_is_told_with_those_that_do(field, value):
    with pytest.raises(UnknownNameError, match=value):
        PlanningConfig(**{field: value})


def test_the_inverse_agent_wants_a_step_at_least():
    assert InverseConfig(within=None).within is None
    with pytest.raises(ValueError, match="within"):
        InverseConfig(within=0)
