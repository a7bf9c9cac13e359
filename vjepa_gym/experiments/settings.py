"""The settings of environments, world models and agents, each a group of the command line."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.cem import fast
from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.agents.hierarchy import TwoLevelConfig
from vjepa_gym.agents.switching import RULES, Switching
from vjepa_gym.envs import REACH, check_id
from vjepa_gym.envs.presets import PRESETS
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.images import image_shape
from vjepa_gym.spaces import IMAGE_SIZE, MAX_GRIPPER, MAX_ROTATION, MAX_TRANSLATION

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
"""In what a world model can compute; see `learning.precision`."""
LIMITS = {
    "max_translation": MAX_TRANSLATION,
    "max_rotation": MAX_ROTATION,
    "max_gripper": MAX_GRIPPER,
}
"""Most that one step of an arm may do along an axis [m, rad, closedness]."""
DYNAMICS = ("learned", "persistence", "oracle")
"""What a planning agent imagines with."""


@dataclass(kw_only=True)
class VariationConfig:
    """What differs from the lab as it is: a value of each factor, a pair, or `random`."""

    preset: str = "none"
    """`none`, `narrow`, `wide` or `roaming`: which factors are random unless given below."""
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

    planner: Any = field(default_factory=fast)
    """How actions are searched for; `agent.planner=<name>` takes a preset."""
    energy: str = "l1"
    """How an imagined view is compared with the goal: `l1`, `l2` or `cosine`."""
    summed: bool = True
    """Whether every imagined step counts, rather than the last."""
    token_floor: float = 1.0
    """Least weight of a token; the rest is in proportion to how much the goal and the present view
    differ there. At 1 all tokens count alike."""
    pose_weight: float = 0.0
    """Energy of a metre between the hand and the goal's pose. Above 0 the agent is shown the goal's
    poses, which no goal image tells."""
    action_cost: float = 0.0
    """Energy of a metre that is moved."""
    max_context: int = 1
    """Most views that the world model is given; V-JEPA 2 plans from one."""
    proposals: int | None = None
    """How many of the search's first samples the model's inverse-dynamics head proposes. If null,
    16, or a quarter of few samples, where the model has such a head, and none where it has not."""
    prior: float = 0.0
    """Energy of a nat by which the inverse-dynamics head is surprised at the actions: how much it
    counts beside what is imagined. 0 leaves it out; the head is needed otherwise."""
    switch: str = "steps"
    """When a sub-goal has had its turn: `steps`, after the steps allowed for it; `energy`, when the
    energy has fallen, or at the latest after `switch_patience` times those steps."""
    switch_below: float = 0.3
    """With `switch=energy`: the part of a view's first energy at which it has been made true."""
    switch_patience: float = 1.0
    """With `switch=energy`: how many times its steps a view may take."""
    two_level: bool = False
    """Whether a planner above, with long steps, puts intermediate goals before far ones."""
    upper: TwoLevelConfig = field(default_factory=TwoLevelConfig)
    """How that planner searches."""
    camera_turn: float = 0.0
    """How far the camera stands from where the model's data were taken from, seen from above and
    clockwise [deg]; plans are corrected for it."""
    seed: int = 0
    """Of the random actions that the search draws."""

    def __post_init__(self) -> None:
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)
        if self.switch not in RULES:
            raise UnknownNameError("switch", self.switch, RULES)
        if not isinstance(self.planner, SearchConfig):
            raise ValueError(f"planner must be the settings of a search, got {self.planner!r}")
        _check_limits(self.planner)
        if not 0 <= self.token_floor <= 1:
            raise ValueError(f"token_floor must be from 0 to 1, got {self.token_floor}")
        for name in ("pose_weight", "action_cost", "prior"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.max_context < 1:
            raise ValueError(f"max_context must be at least 1, got {self.max_context}")
        if not 0 <= (self.proposals or 0) <= self.planner.num_samples:
            raise ValueError(
                f"proposals take the place of samples, of which there are "
                f"{self.planner.num_samples}; got {self.proposals}"
            )
        if not math.isfinite(self.camera_turn):
            raise ValueError(f"camera_turn must be finite, got {self.camera_turn}")
        if self.two_level and self.pose_weight:
            raise ValueError(
                "two_level makes intermediate goals that have no poses: set pose_weight=0"
            )
        self.switching()

    def switching(self) -> Switching:
        """Return when the agent goes on to the next view of its goal.

        Raises:
            ValueError: A number is impossible; the message says which.
        """
        if not 0 < self.switch_below < 1:
            raise ValueError(f"switch_below must lie between 0 and 1, got {self.switch_below}")
        if not (math.isfinite(self.switch_patience) and self.switch_patience > 0):
            raise ValueError(f"switch_patience must be positive, got {self.switch_patience}")
        return Switching(by=self.switch, below=self.switch_below, patience=self.switch_patience)


def _check_limits(planner: SearchConfig) -> None:
    """Raise `ValueError` if a search may plan what no arm of ours does in one step."""
    for name, most in LIMITS.items():
        if getattr(planner, name) > most:
            raise ValueError(
                f"planner.{name} is {getattr(planner, name)}, but one step of an arm may do {most}"
                " at most; what is planned beyond that would be cut off"
            )


@dataclass(kw_only=True)
class InverseConfig:
    """An agent that does what the model's inverse-dynamics head finds most likely."""

    within: int | None = 2
    """In how many steps a view is wanted at most, however many are left; null for all of them."""

    def __post_init__(self) -> None:
        if self.within is not None and self.within < 1:
            raise ValueError(f"within must be at least 1, or null, got {self.within}")


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
