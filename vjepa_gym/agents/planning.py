"""The agent of V-JEPA 2-AC: imagine, compare with the goal image, move a little, look again."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Energy, Plan, Planner, current_view
from vjepa_gym.types import Goal, Observation
from vjepa_gym.world_models.base import Context, WorldModel


class PlanningAgent:
    """Moves so that the predicted view comes to look like the goal (arXiv 2506.09985, section 3.2).

    It drives `n` robots at once and is shown images only: it never asks for the goal's poses.

    Attributes:
        plan: What was planned last, with the trace of the search.
    """

    privileged: ClassVar[bool] = False

    def __init__(
        self,
        world_model: WorldModel,
        planner: Planner,
        energy: Energy,
        *,
        max_context: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put the agent together.

        Args:
            world_model: Encodes views and imagines what actions lead to.
            planner: Finds the actions of least energy.
            energy: Compares what is imagined with the goal.
            max_context: Most views the world model is given; V-JEPA 2 plans from one.
            device: Where the world model lives.
        """
        if max_context < 1:
            raise ValueError(f"max_context must be at least 1, got {max_context}")
        self.plan: Plan | None = None
        self._world_model = world_model
        self._planner = planner
        self._energy = energy
        self._max_context = max_context
        self._device = torch.device(device)
        self._goals = torch.zeros(0)
        self._steps: tuple[int, ...] = ()
        self._begin_all(0)

    @torch.inference_mode()
    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin anew towards `goal`, encoding its views once.

        Args:
            goal: What to bring about; its poses are not looked at.
            which: The robots that begin anew; all by default, which also restarts the planner's
                random numbers.

        Raises:
            ValueError: Only some robots begin anew, and their goal does not fit the others'.
        """
        n, k = goal.images.shape[:2]
        if which is None:
            self._begin_all(n)
            self._planner.reset()
            self._goals = self._encode(goal.images.reshape(n * k, *goal.images.shape[2:]))
            self._goals = self._goals.unflatten(0, (n, k))
        else:
            self._check_fits(goal)
            self._begin_some(which)
            if which.any():
                images = goal.images[which]
                latents = self._encode(images.reshape(-1, *images.shape[2:]))
                self._goals[torch.from_numpy(which)] = latents.unflatten(0, (-1, k))
        self._steps = goal.steps

    @torch.inference_mode()
    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return the first action of the plan that leads most nearly to the current view."""
        n = len(observation["pose"])
        self._remember(observation)
        context = self._context()
        view = torch.from_numpy(current_view(self._steps, self._elapsed))
        goal = self._goals[torch.arange(n), view]

        def cost(actions: Float[Tensor, "n samples horizon 7"]) -> Float[Tensor, "n samples"]:
            return self._energy(self._world_model.imagine(context, actions), goal)

        self.plan = self._planner.plan(cost, n, previous=self._previous)
        self._previous = self.plan.actions.clone()
        self._elapsed += 1
        return self.plan.actions[:, 0].cpu().numpy().astype(np.float32)

    def _begin_all(self, n: int) -> None:
        self._latents: list[Tensor] = []
        self._poses: list[np.ndarray] = []
        self._previous: Tensor | None = None
        self._elapsed = np.zeros(n, np.int64)
        self._anew = np.zeros(n, bool)

    def _begin_some(self, which: Bool[np.ndarray, " n"]) -> None:
        self._elapsed[which] = 0
        self._anew |= which
        if self._previous is not None:
            self._previous[torch.from_numpy(which)] = torch.nan

    def _check_fits(self, goal: Goal) -> None:
        if tuple(self._goals.shape[:2]) != goal.images.shape[:2] or self._steps != goal.steps:
            raise ValueError(
                f"Robots that begin anew beside others need a goal of the same form: "
                f"{tuple(self._goals.shape[:2])} views in {self._steps} steps, got "
                f"{goal.images.shape[:2]} in {goal.steps}. Reset all robots (which=None) instead."
            )

    def _encode(self, images: np.ndarray) -> Float[Tensor, "n tokens dim"]:
        return self._world_model.encode(
            torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        )

    def _remember(self, observation: Observation) -> None:
        """Add the present view; a robot that begins anew has always stood where it stands."""
        latents, poses = self._encode(observation["image"]), observation["pose"].copy()
        anew = torch.from_numpy(self._anew)
        for past_latents, past_poses in zip(self._latents, self._poses, strict=True):
            past_latents[anew] = latents[anew]
            past_poses[self._anew] = poses[self._anew]
        self._anew[:] = False
        self._latents = [*self._latents, latents][-self._max_context :]
        self._poses = [*self._poses, poses][-self._max_context :]

    def _context(self) -> Context:
        poses = np.stack(self._poses, 1)
        # What was achieved rather than asked for, as in training.
        actions = kinematics.difference(poses[:, :-1], poses[:, 1:])
        return Context(
            latents=torch.stack(self._latents, 1),
            poses=torch.from_numpy(poses).to(self._device),
            actions=torch.from_numpy(actions).to(self._device),
        )
