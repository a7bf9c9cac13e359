"""The Gymnasium environment that all tabletop tasks share; it owns the clock."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import gymnasium as gym
import numpy as np
from jaxtyping import Float32

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import IMAGE_SIZE, action_space, observation_space
from vjepa_gym.types import Action, Image, Observation

OPTIONS = ("goal_images",)


@runtime_checkable
class Task(Protocol):
    """What has to be done in a lab, and whether it has been."""

    description: str

    def begin(self, world: World, rng: np.random.Generator) -> Float32[np.ndarray, "k 7"]:
        """Arrange the lab for a new episode; return the goal poses."""
        ...

    def goal_images(self, world: World) -> np.ndarray:
        """Return what the camera would see at each goal [k height width 3]; nothing moves."""
        ...

    def distance(self, world: World) -> float:
        """Return how far from done the lab is [m]."""
        ...

    def success(self, world: World) -> bool:
        """Return whether the task is done, by the simulator's own state."""
        ...

    @property
    def steps(self) -> tuple[int, ...]:
        """Control steps allowed for each goal."""
        ...


class TabletopEnv(gym.Env[Observation, Action]):
    """A Franka at a table: one step is one blocking move that settles, then a look.

    Observations, actions and units are those of `vjepa_gym.types`. `info` holds at reset `goal`
    (`poses`, `steps` and, unless switched off, `images`) and `distance` [m]; after a step
    `distance`, `is_success`, `clipped`, `achieved` and `step_seconds`. The reward is 1 on success
    and 0 otherwise; an episode ends by its time limit alone, since holding the goal is part of it.
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        task: Task,
        *,
        image_size: int = IMAGE_SIZE,
        goal_images: bool = True,
        render_mode: str | None = None,
        cameras: Sequence[str] = ("left",),
    ) -> None:
        """Load the lab.

        Args:
            task: What is to be done.
            image_size: Height and width of the images [px].
            goal_images: Whether `reset` draws the goals; `options={"goal_images": ...}` overrides.
            render_mode: `rgb_array` or None.
            cameras: Which cameras are observed; the first is `image`.
        """
        for camera in cameras:
            if camera not in ("left",):
                raise UnknownNameError("camera", camera, ["left"])
        if render_mode not in (None, "rgb_array"):
            raise UnknownNameError("render mode", render_mode, ["rgb_array"])
        self.task = task
        self.world = World(image_size=image_size)
        self.render_mode = render_mode
        self.observation_space = cast(
            "gym.Space[Observation]", observation_space(image_size, cameras)
        )
        self.action_space = action_space()
        self._goal_images = goal_images

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed gives the same bytes.

        Raises:
            UnknownNameError: An option that does not exist.
        """
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in OPTIONS:
                raise UnknownNameError("reset option", name, OPTIONS)
        poses = self.task.begin(self.world, self.np_random)
        goal = {"poses": poses, "steps": np.array(self.task.steps)}
        if options.get("goal_images", self._goal_images):
            goal["images"] = self.task.goal_images(self.world)
        return self._observe(), {"goal": goal, "distance": self.task.distance(self.world)}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move by `action`, settle, look.

        Raises:
            InvalidActionError: Not seven finite numbers; the arm does not move.
        """
        move = self.world.arm.move(action)
        success = self.task.success(self.world)
        info = {
            "distance": self.task.distance(self.world),
            "is_success": success,
            "clipped": move.clipped,
            "achieved": move.achieved,
            "step_seconds": move.seconds,
        }
        return self._observe(), float(success), False, False, info

    def render(self) -> Image | None:
        """Return what the camera sees, if `render_mode` is `rgb_array`."""
        return self.world.image() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Give the drawing context back."""
        self.world.close()

    def _observe(self) -> Observation:
        return {"image": self.world.image(), "pose": self.world.arm.pose}
