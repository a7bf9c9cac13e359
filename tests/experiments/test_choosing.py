import pytest

from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.choosing import choose_controls
from vjepa_gym.experiments.jobs.evaluate import DEFAULT_CONTROLS, EvaluateConfig
from vjepa_gym.experiments.settings import (
    ExpertConfig,
    HoldStillConfig,
    InverseConfig,
    PlanningConfig,
)

USUAL = list(DEFAULT_CONTROLS)
BOUNDS = ["hold_still", "random", "expert"]
PROPOSING = PlanningConfig(proposals=4)


def there():
    return ""


def missing():
    return "tiny has no inverse head; `vjepa-gym heads` trains one."


def test_these_are_the_usual_ones():
    assert EvaluateConfig().controls == USUAL


@pytest.mark.parametrize(
    ("agent", "head", "chosen"),
    [
        (PROPOSING, there, ["no_proposals", "inverse", "persistence", *BOUNDS]),
        (PlanningConfig(), there, ["with_proposals", "inverse", "persistence", *BOUNDS]),
        (PlanningConfig(), missing, ["persistence", *BOUNDS]),
        (InverseConfig(), there, BOUNDS),
        (ExpertConfig(), missing, BOUNDS),
    ],
)
def test_of_the_usual_controls_there_are_those_that_make_sense(agent, head, chosen):
    assert choose_controls(USUAL, agent, head) == chosen


@pytest.mark.parametrize(
    ("name", "agent", "head", "said"),
    [
        ("no_proposals", PlanningConfig(), there, "agent.proposals=0"),
        ("with_proposals", PROPOSING, there, "4 proposals itself"),
        ("with_proposals", PlanningConfig(), missing, "vjepa-gym heads"),
        ("inverse", PlanningConfig(), missing, "vjepa-gym heads"),
        ("inverse", InverseConfig(), there, "the agent itself"),
        ("no_proposals", HoldStillConfig(), there, "agents that plan"),
    ],
)
def test_one_that_is_asked_for_in_vain_is_an_error_that_says_why(name, agent, head, said):
    with pytest.raises(EvaluationError, match=said) as caught:
        choose_controls([name, "expert"], agent, head)
    assert repr(name) in str(caught.value)


def test_what_is_asked_for_and_makes_sense_is_there():
    assert choose_controls(["inverse"], ExpertConfig(), there) == ["inverse"]
    wanted = ["no_proposals", "inverse", "expert"]
    assert choose_controls(wanted, PROPOSING, there) == wanted
    assert choose_controls(["no_proposals"], PROPOSING, missing) == ["no_proposals"]


def test_an_agent_that_does_not_plan_has_no_persistence():
    assert choose_controls(["persistence", "random"], ExpertConfig(), missing) == ["random"]
