"""What is collected, and what each episode is to be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from vjepa_gym.datasets.droid.layout import CAMERAS
from vjepa_gym.datasets.droid.writing import HEADERS
from vjepa_gym.envs import SHORT, check_id
from vjepa_gym.envs.presets import PRESETS
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import image_shape

RUNNERS = ("local", "ray")


LABS = ("train", "test")
MAX_RECORD_HZ = 500.0
"""A row a step of the physics."""
VJEPA2_ROWS, ROWS_A_MOVE, ENOUGH_STEPS = 121, 3.4, 45
"""How many rows the public V-JEPA 2 loader needs with header=droid60; how many a move has at 15 a
second (68 to 88 were counted for 24 moves, 125 to 170 for 48); how many moves are surely enough."""


def usual_mix() -> dict[str, float]:
    """Return how often each behaviour moved the arm for the shipped model."""
    return {"scripted": 0.35, "noisy": 0.25, "play": 0.2, "random": 0.18, "idle": 0.02}


def all_tasks() -> dict[str, float]:
    """Return the seven tasks, those that move an object more often than those that only grasp."""
    return {name: 0.1 if name.startswith("grasp") else 0.16 for name in SHORT}


@dataclass(kw_only=True)
class CollectConfig:
    """What to collect, and where to."""

    root: str = "data/tabletop"
    """Folder of the dataset; what is there already is kept and counted."""
    episodes: int = 2000
    """Episodes wanted in all."""
    steps: int = 24
    """Actions in each."""
    seed: int = 0
    """Everything random derives from this and from an episode's number."""
    mix: dict[str, float] = field(default_factory=dict)
    """How often each behaviour is drawn; need not sum to one. What is given replaces the usual."""
    tasks: dict[str, float] = field(default_factory=dict)
    """How often each task is drawn, by the name that `env=` has for it or by the registered name of
    an environment; need not sum to one. What is given replaces the usual."""
    labs: dict[str, float] = field(default_factory=dict)
    """How often each lab is drawn, `train` unless told otherwise; `test` is for testing."""
    gripper: str = "panda"
    """`panda`, or `robotiq` for DROID's."""
    variation: str = "none"
    """`none`, `narrow`, `wide` or `roaming`: what else differs from one episode to the next."""
    env_options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the environments."""
    cameras: list[str] = field(default_factory=lambda: ["left"])
    """Whose videos are kept: `left` and, if wanted, `right` and `wrist`."""
    image_size: Any = 256
    """Side of the videos, or [height,width], even numbers [px]."""
    record_hz: float | None = None
    """Rows a second within the moves; null for one row a move, once it has settled."""
    header: str = "physical"
    """What the videos say: `physical` for the true rate, `droid60` for the 60 frames a second that
    DROID's own files say of 15 rows; the latter needs record_hz=15."""
    workers: int = 0
    """Processes; 0 for one a core. With ray: episodes under way at once; 0 for two a core."""
    runner: str = "local"
    """`local`, or `ray` for the machines of a Ray cluster."""
    ray_address: str = "auto"
    """Of the cluster: `auto` for one that runs here or that RAY_ADDRESS names, else only this
    machine."""
    check_disk: bool = True
    """Whether to refuse what will not fit on the disk."""

    def __post_init__(self) -> None:
        # Filled in only now, so that Hydra has nothing to merge what is given with.
        self.mix = self.mix or usual_mix()
        self.tasks = self.tasks or all_tasks()
        self.labs = self.labs or {"train": 1.0}
        self._check_names()
        _check_choice("variation", self.variation, PRESETS)
        _check_choice("runner", self.runner, RUNNERS)
        _check_choice("header", self.header, HEADERS)
        if self.episodes < 1 or self.steps < 1 or self.workers < 0:
            raise ValueError(
                "episodes and steps must be at least 1 and workers at least 0, got "
                f"{self.episodes}, {self.steps} and {self.workers}"
            )
        for name in ("mix", "tasks", "labs"):
            weights = getattr(self, name)
            if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
                raise ValueError(f"{name} needs an entry of positive weight, got {weights}")
        self._check_recording()

    def _check_names(self) -> None:
        for name in self.tasks:
            _check_task(name)
        for name in self.labs:
            _check_choice("lab", name, LABS)
        if not set(self.mix) <= set(usual_mix()):
            # MuJoCo comes with it, and has no place in help.
            from vjepa_gym.envs.behaviours import BEHAVIOURS

            for name in self.mix:
                _check_choice("behaviour", name, BEHAVIOURS)

    def _check_recording(self) -> None:
        for camera in self.cameras:
            _check_choice("camera", camera, CAMERAS)
        if "left" not in self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise ValueError(f"cameras must be different ones, left among them: {self.cameras}")
        height, width = image_shape(self.image_size)
        if height % 2 or width % 2:
            raise ValueError(f"videos need an even image_size, got {height} x {width} px")
        if self.record_hz is not None and not 0 < self.record_hz <= MAX_RECORD_HZ:
            raise ValueError(
                f"record_hz must be positive or null and at most {MAX_RECORD_HZ:g} rows a second, "
                f"one a step of the physics, got {self.record_hz:g}"
            )
        if self.header == "droid60" and self.record_hz != 15:
            raise ValueError(
                f"header=droid60 says of 15 rows a second what DROID's files say of theirs; it "
                f"needs record_hz=15, got {self.record_hz}"
            )

    def warnings(self) -> list[str]:
        """Return sentences on what is possible and most likely not meant."""
        if self.header != "droid60" or self.steps >= ENOUGH_STEPS:
            return []
        rows = round(self.steps * ROWS_A_MOVE)
        return [
            f"With header=droid60 the public V-JEPA 2 loader needs {VJEPA2_ROWS} rows an episode, "
            f"and {self.steps} moves have about {rows}; job.steps=48 has enough."
        ]

    def settings(self) -> dict[str, Any]:
        """Return what an episode depends on, as JSON values."""
        height, width = image_shape(self.image_size)
        return {
            "seed": self.seed,
            "steps": self.steps,
            "mix": dict(self.mix),
            "tasks": dict(self.tasks),
            "labs": dict(self.labs),
            "gripper": self.gripper,
            "variation": self.variation,
            "env_options": dict(self.env_options),
            "cameras": [camera for camera in CAMERAS if camera in self.cameras],
            "image_size": height if height == width else [height, width],
            "record_hz": self.record_hz,
            "header": self.header,
        }


def _check_task(name: str) -> None:
    if name not in SHORT and name not in gym.registry:
        if "/" not in name and ":" not in name:
            raise UnknownNameError("task", name, SHORT)
        check_id(name)


def _check_choice(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)


class Draw(NamedTuple):
    """What an episode is to be."""

    env: str
    behaviour: str
    seed: int
    lab: str


def draw(config: CollectConfig, index: int) -> Draw:
    """Return what episode `index` is to be."""
    rng = np.random.default_rng([config.seed, index])
    # In this order, since the shipped model's episodes were drawn so.
    env, behaviour = _weighted(rng, config.tasks), _weighted(rng, config.mix)
    seed = int(rng.integers(2**31))
    return Draw(env=env, behaviour=behaviour, seed=seed, lab=_weighted(rng, config.labs))


def _weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = sorted(weights)
    values = np.array([weights[name] for name in names], np.float64)
    return str(rng.choice(names, p=values / values.sum()))
