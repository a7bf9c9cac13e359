"""Which controls stand beside an agent: the usual ones that make sense, or those asked for."""

from collections.abc import Callable
from typing import Any

from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.jobs.evaluate import DEFAULT_CONTROLS
from vjepa_gym.experiments.settings import InverseConfig, PlanningConfig

OF_PLANS = ("no_proposals", "with_proposals", "persistence")
"""The controls of agents that plan."""
OF_HEADS = ("with_proposals", "inverse")
"""The controls that need the model's inverse-dynamics head."""


def choose_controls(names: list[str], agent: Any, missing_head: Callable[[], str]) -> list[str]:
    """Return the names of the controls of an agent.

    Of the usual ones those that make sense, with `with_proposals` instead of `no_proposals` if the
    agent itself has none. Whatever else is asked for must make sense; but an agent that does not
    plan merely has no `persistence`.

    Args:
        names: What was asked for; `DEFAULT_CONTROLS` if nothing was.
        agent: Its configuration.
        missing_head: Says why there is no inverse-dynamics head; nothing if there is one.

    Raises:
        EvaluationError: One that was asked for makes no sense; says why.
    """
    plans = isinstance(agent, PlanningConfig)
    if not plans:
        names = [name for name in names if name != "persistence"]
    if names != [name for name in DEFAULT_CONTROLS if plans or name != "persistence"]:
        for name in names:
            if reason := _why_not(name, agent, missing_head):
                raise EvaluationError(f"There is no control {name!r} here: {reason}")
        return names
    if not plans:
        return [name for name in names if name not in (*OF_PLANS, *OF_HEADS)]
    if not agent.proposals:
        names = ["with_proposals" if name == "no_proposals" else name for name in names]
    return [name for name in names if not _why_not(name, agent, missing_head)]


def _why_not(name: str, agent: Any, missing_head: Callable[[], str]) -> str:
    """Return why a control makes no sense beside an agent; nothing if it does."""
    if name in OF_PLANS and not isinstance(agent, PlanningConfig):
        return "it is a control of agents that plan, and agent is none of them."
    if name == "no_proposals" and not agent.proposals:
        return "the agent has no proposals itself (agent.proposals=0); ask for with_proposals."
    if name == "with_proposals" and agent.proposals:
        return f"the agent has {agent.proposals} proposals itself; ask for no_proposals."
    if name == "inverse" and isinstance(agent, InverseConfig):
        return "it is the agent itself."
    return missing_head() if name in OF_HEADS else ""
