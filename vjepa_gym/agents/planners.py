"""The planners by name."""

from collections.abc import Callable

import torch

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.base import Planner
from vjepa_gym.agents.cem import CEM, CEMConfig, fast, frugal, paper, released
from vjepa_gym.agents.gradient import GradientConfig, GradientPlanner
from vjepa_gym.agents.icem import ICEM, ICEMConfig
from vjepa_gym.agents.mppi import MPPI, MPPIConfig
from vjepa_gym.agents.random_shooting import RandomShooting, RandomShootingConfig

PLANNERS: dict[str, Callable[[], SearchConfig]] = {
    "paper": paper,
    "released": released,
    "fast": fast,
    "frugal": frugal,
    "icem": ICEMConfig,
    "mppi": MPPIConfig,
    "gradient": GradientConfig,
    "random_shooting": RandomShootingConfig,
}
"""The searches that have a name."""


def make_planner(
    config: SearchConfig, *, seed: int = 0, device: torch.device | str = "cpu"
) -> Planner:
    """Return the planner whose settings these are.

    Args:
        config: How to search.
        seed: Seeds the samples.
        device: Where the actions, and the costs, live.

    Raises:
        ValueError: No planner has such settings.
    """
    match config:
        case CEMConfig():
            return CEM(config, seed=seed, device=device)
        case ICEMConfig():
            return ICEM(config, seed=seed, device=device)
        case MPPIConfig():
            return MPPI(config, seed=seed, device=device)
        case GradientConfig():
            return GradientPlanner(config, seed=seed, device=device)
        case RandomShootingConfig():
            return RandomShooting(config, seed=seed, device=device)
    raise ValueError(
        f"{type(config).__name__} belongs to no planner; those of {', '.join(PLANNERS)} do"
    )
