"""The inverse-dynamics head as an agent of its own: look, tell the action, move, look again."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from vjepa_gym.agents.base import Proposer
from vjepa_gym.agents.goals import check_fits, check_goal, check_seen
from vjepa_gym.agents.switching import Switching, Views
from vjepa_gym.errors import PlanningError
from vjepa_gym.types import Goal, Observation
from vjepa_gym.world_models.base import Context, Target, WorldModel


class InverseAgent:
    """Does what a proposer finds most likely to lead to the goal's view; imagines nothing.

    It drives `n` robots at once, is shown images only, and goes from view to view by the clock.

    Attributes:
        target: The views that were last moved towards.
    """

    privileged: ClassVar[bool] = False

    def __init__(
        self,
        world_model: WorldModel,
        head: Proposer,
        *,
        within: int | None = 2,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put the agent together.

        Args:
            world_model: Encodes views; nothing else of it is used.
            head: Tells actions from latents.
            within: In how many steps a view is wanted at most, however many are left: what a head
                learns from wandered towards what it came to show, and who has fewer steps goes
                straight. The steps that are left if None.
            device: Where the world model and the head live.
        """
        if within is not None and within < 1:
            raise ValueError(f"within must be at least 1, or None, got {within}")
        self.target: Target | None = None
        self._world_model, self._head, self._within = world_model, head, within
        self._device = torch.device(device)
        self._generator = torch.Generator(self._device)
        self._goal: Goal | None = None

    @torch.no_grad()
    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin anew towards `goal`, encoding its views once.

        Args:
            goal: What to bring about; its poses are not looked at.
            which: The robots that begin anew; all by default.

        Raises:
            GoalError: There is no view or no robot.
            ValueError: Only some robots begin anew, and their goal does not fit the others'.
        """
        check_goal(goal)
        n, k = goal.images.shape[:2]
        if which is None:
            which = np.ones(n, bool)
            self._goal, self._views = goal, Views(Switching(), goal.steps, n)
            self._goals = torch.zeros(0)
        else:
            check_fits(goal, self._goal)
        if not which.any():
            return
        images = goal.images[which]
        latents = self._encode(images.reshape(-1, *images.shape[2:])).unflatten(0, (-1, k))
        if not len(self._goals):
            self._goals = latents.clone()
        self._goals[torch.from_numpy(which)] = latents
        self._views.begin(which)

    @torch.no_grad()
    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return the first of the most likely actions towards the current view.

        Raises:
            GoalError: What is observed is of another size than the goal's images, or there is no
                goal yet.
            PlanningError: An action is not finite: nothing is returned that an arm could do.
        """
        check_seen(observation, self._goal)
        n = len(observation["pose"])
        # Views change by the clock, so that nobody need say how near they are.
        self._views.advance(lambda current: np.zeros(len(current)))
        left = self._views.left
        self.target = Target(
            latents=self._goals[torch.arange(n), torch.from_numpy(self._views.current)],
            steps=torch.from_numpy(left).to(self._device),
        )
        poses = torch.from_numpy(observation["pose"].copy()).to(self._device)
        context = Context(
            latents=self._encode(observation["image"])[:, None],
            poses=poses[:, None],
            actions=poses.new_zeros(n, 0, 7),
        )
        horizon = int(left.max()) if self._within is None else self._within
        actions = self._head.propose(
            context, self.target, samples=1, horizon=horizon, generator=self._generator
        )
        if not actions.isfinite().all():
            raise PlanningError("The head gave actions that are not finite; nothing is done.")
        self._views.step()
        return actions[:, 0, 0].cpu().numpy().astype(np.float32)

    def _encode(self, images: np.ndarray) -> Float[Tensor, "n tokens dim"]:
        return self._world_model.encode(
            torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        )
