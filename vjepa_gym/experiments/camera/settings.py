"""What a sweep of the camera measures."""

import math
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class CameraSweep:
    """A study of where the camera stands, instead of one evaluation; off unless offsets are given.

    The study of V-JEPA 2 (arXiv 2506.09985, section 11.4) at each offset, and what it leaves out:
    the rotation is estimated from a few random moves, and plans are corrected for it.
    """

    offsets: list[float] = field(default_factory=list)
    """Azimuths of the camera, counted from that of the training [deg]; the paper's sweep is 50
    degrees wide: `[-25,-20,-15,-10,-5,0,5,10,15,20,25]`."""
    trained_azimuth: float = 120.0
    """Azimuth of the camera that the model was trained with [deg]."""
    steps: int = 201
    """Views of the random trajectory along the table at each offset."""
    moves: int = 8
    """Random moves that the rotation is estimated from."""
    trials: int = 4
    """How often it is estimated, each time from other moves. Plans are corrected for the first of
    the estimates; the others say how exact they are."""
    moves_seed: int = 1_000_000
    """Of the environment that the first moves are made in, and of the moves themselves; the others
    have the following ones, and the trajectory the one before."""
    reach_at: list[float] = field(default_factory=list)
    """Offsets at which the agent drives `job.episodes` episodes, with and without the correction;
    0 is always among them. All offsets unless some are given."""

    def __post_init__(self) -> None:
        for name in ("offsets", "reach_at"):
            for offset in getattr(self, name):
                if not math.isfinite(offset):
                    raise ValueError(f"{name} must be finite numbers of degrees, got {offset}")
        if self.reach_at and not self.offsets:
            raise ValueError("reach_at belongs to a sweep: give offsets too")
        if not math.isfinite(self.trained_azimuth):
            raise ValueError(f"trained_azimuth must be finite, got {self.trained_azimuth}")
        for name, least in (("moves", 2), ("trials", 1), ("steps", 3)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.moves_seed < 1:
            raise ValueError(f"moves_seed must be at least 1, got {self.moves_seed}")

    @property
    def driven(self) -> list[float]:
        """The offsets at which the agent drives episodes, growing."""
        return sorted({0.0, *(self.reach_at or self.offsets)})

    @property
    def studied(self) -> list[float]:
        """All offsets, growing."""
        return sorted({*self.offsets, *self.driven})
