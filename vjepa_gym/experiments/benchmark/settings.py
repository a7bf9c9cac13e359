"""What each benchmark measures, and how much of it."""

from dataclasses import dataclass, field

from vjepa_gym.agents.planners import PLANNERS
from vjepa_gym.datasets.droid.writing import HEADERS
from vjepa_gym.envs import SHORT
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import image_shape
from vjepa_gym.world_models.presets import MODELS

BESIDE = ("plain", "once", "every")
"""Loops that pretraining is measured beside."""


@dataclass(kw_only=True)
class SimulatorSettings:
    """Moves, resets and pictures."""

    moves: int = 1000
    """Random moves of each kind whose ends are measured."""
    resets: int = 10
    """Resets of each task that are timed, with and without goal images."""
    tasks: list[str] = field(default_factory=lambda: list(SHORT))
    """Tasks whose resets are timed."""
    image_size: int = 128
    """Height and width of the picture at the end of each step [px]."""

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in SHORT:
                raise UnknownNameError("task", task, SHORT)
        if min(self.moves, self.resets) < 1 or self.image_size < 16:
            raise ValueError(
                "moves and resets must be at least 1, and image_size at least 16, got "
                f"{self.moves}, {self.resets} and {self.image_size}"
            )


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


@dataclass(kw_only=True)
class RolloutSettings:
    """A world model, and how many futures it imagines."""

    model: str = "tiny"
    """Name of a shipped model, or whatever else `load` takes."""
    samples: list[int] = field(default_factory=lambda: [64, 256])
    """Futures that are imagined at once."""
    horizons: list[int] = field(default_factory=lambda: [1, 2, 4])
    """Steps of each."""
    contexts: list[int] = field(default_factory=lambda: [1, 2, 3])
    """Frames that are looked back on, the current one included."""
    images: int = 16
    """Scenes of the simulator that the model looks at."""
    actions: int = 256
    """Random actions whose energies are ranked."""
    precisions: list[str] = field(default_factory=lambda: ["bfloat16", "int8"])
    """What is compared with float32; `[]` for nothing."""
    widths: list[int] = field(default_factory=lambda: [192, 384, 1024])
    """Of transformers whose linear layers are measured by themselves: tiny, small and ViT-L."""
    device: str = "auto"
    """Where to compute; `auto` is a CUDA device if there is one."""
    threads: int = 0
    """Threads that torch uses; as many as there are cores if 0."""

    def __post_init__(self) -> None:
        counts = [*self.samples, *self.horizons, *self.contexts, *self.widths]
        if min([*counts, self.images]) < 1 or self.actions < 3 or self.threads < 0:
            raise ValueError(
                "samples, horizons, contexts, widths and images must be positive, actions at least"
                f" 3 and threads not negative, got {self}"
            )
        for precision in self.precisions:
            if precision not in ("bfloat16", "int8"):
                raise UnknownNameError("precision", precision, ("bfloat16", "int8"))

    @property
    def parts(self) -> int:
        """Into how many parts it falls, besides the rounds of each."""
        return (
            len(self.samples) * len(self.horizons) * len(self.contexts)
            + 1
            + 2 * len(self.precisions)
        )


@dataclass(kw_only=True)
class TrainingSettings:
    """A model, and the clips that it is pretrained on."""

    model: str = "vit_b"
    """Sizes of encoder and predictor, by name."""
    frames: int = 16
    """Frames in a clip."""
    image_size: int = 128
    """Height and width of a clip [px]."""
    batch_size: int = 2
    """Clips in a step."""
    beside: list[str] = field(default_factory=lambda: ["plain", "once", "every"])
    """What ours is measured beside: `plain` drops masked tokens before the first block; `once` and
    `every` encode every token, once or once a mask. Each takes memory of its own."""
    bfloat16: bool | None = None
    """Whether to compute in bfloat16; on a GPU only if null."""
    device: str = "auto"
    """Where to compute; `auto` is a CUDA device if there is one."""
    threads: int = 0
    """Threads that torch uses; as many as there are cores if 0."""

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise UnknownNameError("model", self.model, MODELS)
        if min(self.frames, self.image_size, self.batch_size) < 1 or self.threads < 0:
            raise ValueError(
                "frames, image_size and batch_size must be positive and threads not negative, got"
                f" {self.frames}, {self.image_size}, {self.batch_size} and {self.threads}"
            )
        for name in self.beside:
            if name not in BESIDE:
                raise UnknownNameError("loop", name, BESIDE)

    def uses_bfloat16(self, device: str) -> bool:
        """Return whether to compute in bfloat16 on this kind of device."""
        return device == "cuda" if self.bfloat16 is None else self.bfloat16


def all_but_paper() -> list[str]:
    """Return the planners that are measured beside the paper's CEM."""
    return ["fast", "icem", "mppi", "gradient", "random_shooting"]


@dataclass(kw_only=True)
class PlannerSettings:
    """Searches, and what they search on."""

    model: str = "tiny"
    """Name of a shipped model, a folder that `train` left, or with `random` the name of sizes."""
    random: bool = False
    """Whether to take a model of such sizes with random weights: its speed is that of a trained
    one; what it plans means nothing."""
    precision: str = "float32"
    """In what the model computes; see `world_model.precision`."""
    task: str = "reach"
    """Whose starts and goal images are planned for."""
    starts: int = 50
    """How many; their energies are averaged."""
    planners: list[str] = field(default_factory=all_but_paper)
    """What is measured beside the paper's CEM, by the names that `agent.planner` has."""
    horizons: list[int] = field(default_factory=lambda: [1, 2])
    """How many steps ahead all of them look."""
    samples: list[int] = field(default_factory=lambda: [16, 32, 64, 128])
    """With how many samples an iteration `fast` is tried too."""
    robots: list[int] = field(default_factory=lambda: [8])
    """How many robots are planned for in one call."""
    device: str = "auto"
    """Where to compute; `auto` is a CUDA device if there is one."""
    threads: int = 0
    """Threads that torch uses; as many as there are cores if 0."""

    def __post_init__(self) -> None:
        if self.random and self.model not in MODELS:
            raise UnknownNameError("model", self.model, MODELS)
        if self.task not in SHORT:
            raise UnknownNameError("task", self.task, SHORT)
        for name in self.planners:
            if name not in PLANNERS:
                raise UnknownNameError("planner", name, PLANNERS)
        counts = [self.starts, *self.horizons, *self.samples, *self.robots]
        if min(counts) < 1 or self.threads < 0:
            raise ValueError(
                "starts, horizons, samples and robots must be positive and threads not negative,"
                f" got {self}"
            )
        if max(self.robots, default=1) > self.starts:
            raise ValueError(f"robots {self.robots} need as many starts, got {self.starts}")

    @property
    def parts(self) -> int:
        """Into how many parts it falls."""
        return len(self.horizons) * (1 + len(self.planners)) + len(self.robots) + 2
