"""What the benchmark of data collects and reads."""

from dataclasses import dataclass, field

from vjepa_gym.datasets.droid.writing import HEADERS
from vjepa_gym.envs import SHORT
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import image_shape


@dataclass(kw_only=True)
class DataSettings:
    """Episodes, and clips of them."""

    episodes: int = 6
    """Episodes that are recorded and written, and then read."""
    steps: int = 24
    """Moves in each."""
    task: str = "pick_place_cup"
    """What is done in them, by the expert."""
    image_size: list[int] = field(default_factory=lambda: [180, 320])
    """Height and width of their three videos [px]; even numbers."""
    record_hz: float = 15.0
    """Rows a second."""
    header: str = "physical"
    """What the videos say of it: `physical`, or `droid60` as DROID's files, of which clips of the
    same frames a second are four times as long; then take at least 36 steps."""
    frames: int = 8
    """Frames in a clip."""
    fps: float = 4.0
    """Frames a second in a clip, of which the public loader makes a stride: the header's over
    these, rounded up."""

    def __post_init__(self) -> None:
        if self.task not in SHORT:
            raise UnknownNameError("task", self.task, SHORT)
        if min(self.episodes, self.steps, self.record_hz, self.fps) <= 0 or self.frames < 2:
            raise ValueError(
                "episodes, steps, record_hz and fps must be positive and frames at least 2, got "
                f"{self.episodes}, {self.steps}, {self.record_hz}, {self.fps} and {self.frames}"
            )
        if self.header not in HEADERS:
            raise UnknownNameError("header", self.header, HEADERS)
        if any(side % 2 for side in image_shape(self.image_size)):
            raise ValueError(f"image_size of videos must be even, got {self.image_size}")
