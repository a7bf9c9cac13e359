"""A simulation-first robotics research gym: plan with V-JEPA 2-AC for a Franka in MuJoCo."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vjepa_gym.envs import register as _register

if TYPE_CHECKING:
    from vjepa_gym.world_models.loading import load

__all__ = ["load"]
__version__ = version("vjepa-gym")

_register()


def __getattr__(name: str) -> Any:
    """Import `load` when it is first asked for: it needs torch, which nothing else here does."""
    if name == "load":
        from vjepa_gym.world_models.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
