"""Whether an environment was asked for something that there is."""

from collections.abc import Iterable

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.cameras import CAMERAS


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    """Do nothing if `name` is one of those that are known.

    Raises:
        UnknownNameError: It is not; lists them.
    """
    if name not in known:
        raise UnknownNameError(kind, name, known)


def check_values(
    cameras: tuple[str, ...], image_size: int, horizon: int | None, step_seconds: float | None
) -> None:
    """Do nothing if an environment can have these; see `TabletopEnv`.

    Raises:
        ValueError: It cannot; the message says what would do.
    """
    if not cameras or len(set(cameras)) < len(cameras):
        raise ValueError(f"cameras must be different ones of {CAMERAS}, got {cameras}.")
    if image_size < 16 or (horizon is not None and horizon < 1):
        raise ValueError(
            f"image_size must be at least 16 px and horizon at least 1, got {image_size} px and "
            f"{horizon}."
        )
    if step_seconds is not None and step_seconds <= 0.0:
        raise ValueError(f"step_seconds must be positive, got {step_seconds}.")
