"""The settings of environments, world models and agents, each a group of the command line."""

from dataclasses import dataclass, field, fields
from typing import Any

from vjepa_gym.agents.cem import CEMConfig, fast
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.envs import REACH, check_id
from vjepa_gym.envs.presets import PRESETS
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import image_shape
from vjepa_gym.spaces import IMAGE_SIZE

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
"""In what a world model can compute; see `learning.precision`."""
DYNAMICS = ("learned", "persistence", "oracle")
"""What a planning agent imagines with."""


@dataclass(kw_only=True)
class VariationConfig:
    """What differs from the lab as it is. Each factor takes a value, or `random`."""

    preset: str = "none"
    """`none`, `narrow` or `wide`: which factors are random unless they are given below."""
    camera_azimuth: Any = None
    """Where the exterior camera stands, seen from above [deg]; 90 is the robot's left."""
    camera_height: Any = None
    """How high it stands above the table [m]."""
    camera_fovy: Any = None
    """Its vertical field of view [deg]."""
    light_brightness: Any = None
    """How bright the light is; 1 as usual."""
    light_azimuth: Any = None
    """How far the light is turned about the vertical [deg]."""
    table_texture: Any = None
    """What the table's top looks like, by name."""
    table_colour: Any = None
    """Red, green and blue, each from 0 to 1; likewise for the following."""
    floor_colour: Any = None
    """Of the floor."""
    wall_colour: Any = None
    """Of the walls."""
    cup_colour: Any = None
    """Of the cup."""
    box_colour: Any = None
    """Of the box."""
    object_set: Any = None
    """`train` or `unseen`: which cup and box there are."""
    distractors: Any = None
    """How many further things lie about, at most 4."""
    object_start: Any = None
    """Where the object begins: x y [m] and yaw [rad]."""
    arm_start: Any = None
    """Where the tool centre begins: x y z [m]."""
    goal: Any = None
    """Where the tool centre or the object is to be: x y z [m]."""
    actuation_noise: Any = None
    """Standard deviation of what is added to each displacement [m]."""
    bump: Any = None
    """What is pushed once in mid-episode: `none`, `object` or `arm`."""
    bump_step: Any = None
    """After which step it is pushed."""

    def choice(self) -> dict[str, Any]:
        """Return what was said, as `envs.variation.Variation` takes it.

        Raises:
            UnknownNameError: There is no such preset.
        """
        if self.preset not in PRESETS:
            raise UnknownNameError("variation", self.preset, PRESETS)
        said = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "preset" and getattr(self, field.name) is not None
        }
        return {**PRESETS[self.preset], **said}


@dataclass(kw_only=True)
class EnvConfig:
    """What is to be done, where, and how it is seen."""

    id: str = REACH
    """Registered name of the environment."""
    lab: str = "train"
    """`train`, where data is made, or `test`, which no model has seen."""
    gripper: str = "panda"
    """`panda`, or `robotiq` for DROID's."""
    controller: str = "servo"
    """`servo`, or `osc` for robosuite's operational-space controller."""
    image_size: Any = IMAGE_SIZE
    """A side of the images, or height and width such as `[180, 320]` [px]."""
    variation: VariationConfig = field(default_factory=VariationConfig)
    """What differs from the lab as it is."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the environment: `env.options.subgoals=false`."""

    def __post_init__(self) -> None:
        check_id(self.id)
        image_shape(self.image_size)

    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return {
            "lab": self.lab,
            "gripper": self.gripper,
            "controller": self.controller,
            "image_size": self.image_size,
            "variation": self.variation.choice(),
            **self.options,
        }


@dataclass(kw_only=True)
class WorldModelConfig:
    """What the agent imagines with."""

    source: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    dynamics: str = "learned"
    """`learned`; `persistence`, which imagines that nothing changes and says what luck is worth;
    `oracle`, which asks the simulator and says what the learned dynamics cost."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    precision: str = "auto"
    """In what to compute: `float32`, `bfloat16`, or `int8`, which is for CPUs and never chosen by
    itself; `auto` is bfloat16 on a CUDA device and float32 on a CPU."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UnknownNameError("precision", self.precision, PRECISIONS)
        if self.dynamics not in DYNAMICS:
            raise UnknownNameError("dynamics", self.dynamics, DYNAMICS)


@dataclass(kw_only=True)
class PlanningConfig:
    """An agent that plans with the world model."""

    planner: CEMConfig = field(default_factory=fast)
    """How actions are searched for; `agent.planner=<name>` takes a preset."""
    energy: str = "l1"
    """How an imagined view is compared with the goal."""
    summed: bool = True
    """Whether every imagined step counts, rather than the last."""
    max_context: int = 1
    """Most views that the world model is given; V-JEPA 2 plans from one."""
    seed: int = 0
    """Of the random actions that the search draws."""

    def __post_init__(self) -> None:
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)


@dataclass(kw_only=True)
class RandomConfig:
    """An agent that does anything."""

    seed: int = 0
    """Of its moves."""


@dataclass(kw_only=True)
class HoldStillConfig:
    """An agent that does nothing."""


@dataclass(kw_only=True)
class ExpertConfig:
    """An agent that does what the environment's own expert would: the upper bound."""
