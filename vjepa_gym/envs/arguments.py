"""Whether an environment was asked for something that there is."""

from collections.abc import Iterable

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import ImageSize, image_shape
from vjepa_gym.sim.cameras import CAMERAS


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    """Do nothing if `name` is one of those that are known.

    Raises:
        UnknownNameError: It is not; lists them.
    """
    if name not in known:
        raise UnknownNameError(kind, name, known)


def check_values(
    cameras: tuple[str, ...],
    image_size: ImageSize,
    horizon: int | None,
    step_seconds: float | None,
) -> None:
    """Do nothing if an environment can have these; see `TabletopEnv`.

    Raises:
        UnknownNameError: There is no such camera.
        ValueError: It cannot; the message says what would do.
    """
    for camera in cameras:
        check_name("camera", camera, CAMERAS)
    if not cameras or len(set(cameras)) < len(cameras):
        raise ValueError(f"cameras must be different ones of {CAMERAS}, got {cameras}.")
    image_shape(image_size)
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}.")
    if step_seconds is not None and step_seconds <= 0.0:
        raise ValueError(f"step_seconds must be positive, got {step_seconds}.")
