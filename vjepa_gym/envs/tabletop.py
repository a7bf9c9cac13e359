"""The Gymnasium environment that all tabletop tasks share; it owns the clock."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np

from vjepa_gym.envs.arguments import check_name, check_values
from vjepa_gym.envs.disturbances import actuation_error, bump, check_bump
from vjepa_gym.envs.goals import Demonstrator
from vjepa_gym.envs.task import Task
from vjepa_gym.envs.tasks.given import GivenGoal
from vjepa_gym.envs.variation import Choice, Variation, apply, placement, recorded
from vjepa_gym.errors import EpisodeOverError, UnsolvableError
from vjepa_gym.images import ImageSize
from vjepa_gym.sim.labs import Lab
from vjepa_gym.sim.scene import Actuation
from vjepa_gym.sim.world import World
from vjepa_gym.spaces import IMAGE_SIZE, action_space, clip_action, observation_space
from vjepa_gym.types import Action, Image, Observation

OPTIONS = ("goal", "goal_images", "variation")
RENDER_MODES = ("human", "rgb_array")
REWARDS = ("sparse", "dense")
ACTUATION: dict[str, Actuation] = {"servo": "servo", "osc": "torque"}
"""What drives the joints for each controller."""
ATTEMPTS = 20
"""States drawn until the expert solves one, before the environment gives up."""


class TabletopEnv(gym.Env[Observation, Action]):
    """A Franka at a table: one step is one blocking move that settles, then a look.

    Observations, actions and units are those of `vjepa_gym.types`. `info` holds at reset `goal`
    (`poses`, `steps` and, unless switched off, `images`), `distance` [m], `variation` (all that
    differs between episodes, see `variation_space`) and `rejected` (states that the expert did not
    solve, drawn before this one); after a step `distance`, `is_success`, `clipped`, `contact`,
    `joint_limit`, `command`, `achieved`, `step_seconds` and `bumped`. An episode ends by its time
    limit alone, since holding the goal is part of it, unless `terminate_on_success`.

    Attributes:
        task: What is to be done.
        world: Where, with everything that agents are not told.
        cameras: What is observed; the first is `image`.
        controller: What leads the arm.
        variation_space: What may differ from one episode to the next.
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": list(RENDER_MODES),
        "render_fps": 4,
    }

    def __init__(
        self,
        task: Task,
        *,
        lab: str | Lab = "train",
        gripper: str = "panda",
        controller: str = "servo",
        image_size: ImageSize = IMAGE_SIZE,
        cameras: Sequence[str] = ("left",),
        goal_images: bool = True,
        variation: Choice | str | None = None,
        reward: str = "sparse",
        horizon: int | None = None,
        step_seconds: float | None = None,
        terminate_on_success: bool = False,
        expert_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Load the lab.

        Args:
            task: What is to be done.
            lab: Name of a lab, or one of your own.
            gripper: `panda` or `robotiq`.
            controller: `servo`, or `osc` for robosuite's operational-space controller.
            image_size: A side of the images, or height and width [px].
            cameras: Which cameras are observed; the first is `image`.
            goal_images: Whether `reset` draws the goals; `options={"goal_images": ...}` overrides.
                Without them no expert is asked whether the episode can be solved.
            variation: What differs from the lab as it is: values by factor, `"random"` for some,
                or the name of a preset; `options={"variation": ...}` goes before it.
            reward: `sparse`, 1 on success and 0 otherwise, or `dense`, the share that is done.
            horizon: Steps in an episode; None for as many as the task has.
            step_seconds: How long each move takes [s]; None for as long as it needs to settle.
            terminate_on_success: Whether an episode ends as soon as the task is done.
            expert_actions: Whether `info["expert_action"]` says what the expert would do next.
            render_mode: `rgb_array`, `human` for a window, or None.

        Raises:
            UnknownNameError: There is no such lab, gripper, controller, camera, factor, reward or
                render mode.
            VariationError: A factor cannot have that value.
            ValueError: A number cannot be.
        """
        cameras = (cameras,) if isinstance(cameras, str) else tuple(cameras)
        check_values(cameras, image_size, horizon, step_seconds)
        check_name("reward", reward, REWARDS)
        check_name("render mode", render_mode or "rgb_array", RENDER_MODES)
        self.task = task
        check_name("controller", controller, ACTUATION)
        self.world = World(
            image_size=image_size, lab=lab, gripper=gripper, actuation=ACTUATION[controller]
        )
        self.render_mode = render_mode
        self.observation_space = cast(
            "gym.Space[Observation]", observation_space(image_size, cameras)
        )
        self.action_space = action_space()
        self.cameras, self.controller = cameras, controller
        self._variation = Variation(self.world.lab, variation)
        self.variation_space = self._variation.space
        self._demonstrate = Demonstrator()
        self._goal_images = goal_images
        self._dense = reward == "dense"
        self._horizon = horizon
        self._step_seconds = step_seconds
        self._terminate = terminate_on_success
        self._expert_actions = expert_actions
        self._viewer: Any = None
        self._task = task
        self._drawn: dict[str, Any] = {}
        self._rng = np.random.default_rng()
        self._elapsed, self._over = 0, True

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self._horizon or sum(self._task.steps)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed and variation give the same bytes.

        Args:
            seed: The episode is a function of it; None for another one than before.
            options: `goal_images`, whether to draw the goal; `variation`, what differs this time;
                `goal`, views to make true instead of the task's own: `images` [k height width 3],
                `steps` [k] and, if they are known, `poses` [k 7].

        Raises:
            UnknownNameError: There is no such option or factor.
            VariationError: A factor cannot have that value.
            PlacementError: Things cannot stand where the variation says.
            UnsolvableError: The expert solves no episode of this kind.
        """
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            check_name("reset option", name, OPTIONS)
        episode = int(self.np_random.integers(2**32))
        self._rng = np.random.default_rng([episode, 1])
        self._drawn = self._variation.draw(episode, options.get("variation"))
        check_bump(self._drawn, self.horizon)
        apply(self.world, self._drawn)
        self._task = self.task
        goal, rejected = self._begin(episode, options)
        if "goal" in options:
            self._task = GivenGoal(self.task, self.world, options["goal"])
            goal = self._task.as_info()
        self._elapsed, self._over = 0, False
        info = {
            "goal": goal,
            "distance": self._task.distance(self.world),
            "variation": recorded(self._drawn, self.world, self.task),
            "rejected": rejected,
            "is_success": self._task.success(self.world),
        }
        return self.observe(), self._with_expert(info)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move by `action`, settle, look.

        Raises:
            InvalidActionError: Not seven finite numbers; the arm does not move.
            EpisodeOverError: The episode has ended, or none has begun.
        """
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, self._with_expert(info)

    def advance(self, action: Action) -> tuple[float, bool, bool, dict[str, Any]]:
        """Do what `step` does, and return what it does, without a look.

        Raises:
            InvalidActionError: Not seven finite numbers; the arm does not move.
            EpisodeOverError: The episode has ended, or none has begun.
        """
        if self._over:
            said = f"This episode is over after {self._elapsed} of {self.horizon} steps"
            said = said if self._elapsed else "No episode has begun"
            raise EpisodeOverError(f"{said}: call reset() before step().")
        within, clipped = clip_action(action)
        error = actuation_error(float(self._drawn["actuation_noise"]), self._rng)
        move = self.world.arm.move(within + error, self._step_seconds)
        self._elapsed += 1
        bumped = bump(self.world, self._drawn, self._elapsed, self.task.target, self._rng)
        success = self._task.success(self.world)
        terminated = success and self._terminate
        truncated = self._elapsed >= self.horizon
        self._over = terminated or truncated
        info = {
            "distance": self._task.distance(self.world),
            "is_success": success,
            "clipped": clipped or move.clipped,
            "contact": move.contact,
            "joint_limit": move.joint_limit,
            "command": move.command - error,
            "achieved": move.achieved,
            "step_seconds": move.seconds,
            "bumped": bumped,
        }
        reward = self._task.progress(self.world) if self._dense else float(success)
        return reward, terminated, truncated, info

    def observe(self) -> Observation:
        """Return what is seen and measured now."""
        if self.render_mode == "human":
            self.render()
        first, *further = self.cameras
        views = {name: self.world.image(name) for name in further}
        seen = {"image": self.world.image(first), "pose": self.world.arm.pose, **views}
        return cast("Observation", seen)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Return 0 where what was achieved is near enough to what was desired, and -1 elsewhere.

        A function of its arguments alone, as hindsight experience replay (arXiv 1707.01495) needs.

        Args:
            achieved_goal: Places [m], `[3]` or `[n 3]`; see `Task.achieved_goal`.
            desired_goal: Where they should be [m], of the same shape.
            info: Not looked at.

        Returns:
            A float32, or `n` of them.
        """
        del info
        away = np.linalg.norm(np.asarray(achieved_goal) - np.asarray(desired_goal), axis=-1)
        return -(away > self.task.threshold).astype(np.float32)

    def render(self) -> Image | None:
        """Return what the camera sees in mode `rgb_array`; bring the window up to date in `human`.

        Raises:
            RenderingError: No window can be opened here, or nothing can be drawn.
        """
        if self.render_mode == "rgb_array":
            return self.world.image()
        if self.render_mode == "human":
            self._show()
        return None

    def close(self) -> None:
        """Give the drawing context and the window back."""
        self.world.close()
        if self._viewer is not None:
            self._viewer.close()

    def _show(self) -> None:
        if self._viewer is None:
            from vjepa_gym.sim.viewer import Viewer  # windows need what nothing else does

            self._viewer = Viewer()
        self._viewer.show(self.world.model, self.world.data)

    def _begin(self, episode: int, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Arrange the lab and return the goal, and how many arrangements were unsolvable."""
        places = placement(self._drawn)
        wanted = options.get("goal_images", self._goal_images) and "goal" not in options
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([episode, 0, attempt])
            self.task.begin(self.world, rng, places)
            goal: dict[str, Any] = {"steps": np.array(self.task.steps)}
            if not wanted:
                return goal | {"poses": self.task.goal_poses(self.world)}, attempt
            shown = self._demonstrate(self.task, self.world, self._drawn)
            if shown.solved:
                views = {"poses": shown.poses.copy(), "images": shown.images.copy()}
                return goal | views, attempt
        raise UnsolvableError(
            f"The expert solved none of {ATTEMPTS} starts of this episode: "
            f"{self.task.description} Try a variation nearer to the nominal one."
        )

    def _with_expert(self, info: dict[str, Any]) -> dict[str, Any]:
        if self._expert_actions:
            info["expert_action"] = self._task.expert(self.world)
        return info
