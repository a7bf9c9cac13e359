"""The agent of V-JEPA 2-AC: imagine, compare with the goal image, move a little, look again."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Cost, Energy, HighLevel, Plan, Planner, Prior, Proposer, Target
from vjepa_gym.agents.goals import check_fits, check_goal, check_seen
from vjepa_gym.agents.switching import Switching, Views
from vjepa_gym.errors import PlanningError
from vjepa_gym.types import Goal, Observation
from vjepa_gym.world_models.base import Context, Imagined, WorldModel


class PlanningAgent:
    """Moves so that the predicted view comes to look like the goal (arXiv 2506.09985, section 3.2).

    It drives `n` robots at once and is shown images only, unless its energy asks for poses.

    Attributes:
        plan: What was planned last, with the trace of the search; None if that failed.
        target: What was planned for last.
        energy_now: How far from the target each robot was when it planned [n].
        current: Which of the goal's views that was on the way to [n].
        privileged: Whether the energy needs the goal's poses.
    """

    def __init__(
        self,
        world_model: WorldModel,
        planner: Planner,
        energy: Energy,
        *,
        max_context: int = 1,
        proposer: Proposer | None = None,
        num_proposals: int = 0,
        prior: Prior | None = None,
        prior_weight: float = 0.0,
        switching: Switching = Switching(),  # noqa: B008 - it is frozen
        high_level: HighLevel | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put the agent together.

        Args:
            world_model: Encodes views and imagines what actions lead to.
            planner: Finds the actions of least energy.
            energy: Compares what is imagined with the goal.
            max_context: Most views the world model is given; V-JEPA 2 plans from one.
            proposer: Guesses at actions; its guesses are among the planner's first samples.
            num_proposals: How many of its guesses.
            prior: Says how surprising actions are, which is added to their energy.
            prior_weight: Energy of a nat of surprise.
            switching: When a robot goes on to the next of the goal's views.
            high_level: Puts intermediate goals before far ones.
            seed: Of the proposer's guesses.
            device: Where the world model lives.

        Raises:
            ValueError: A number is impossible, there is nobody to propose, or intermediate goals,
                which have no poses, meet an energy that needs them.
        """
        _check(max_context, num_proposals, prior_weight, proposer, prior)
        self.privileged: bool = energy.needs_poses
        if high_level is not None and self.privileged:
            raise ValueError("intermediate goals have no poses, and the energy needs them")
        self.plan: Plan | None = None
        self.target: Target | None = None
        self.energy_now: Float64[np.ndarray, " n"] = np.zeros(0)
        self._world_model = world_model
        self._planner = planner
        self._energy = energy
        self._max_context = max_context
        self._proposer = proposer
        self._num_proposals = num_proposals
        self._prior = prior
        self._prior_weight = prior_weight
        self._switching = switching
        self._high_level = high_level
        self._seed = seed
        self._device = torch.device(device)
        self._generator = torch.Generator(self._device)
        self._goal: Goal | None = None

    @property
    def current(self) -> Int64[np.ndarray, " n"]:
        """Which of the goal's views each robot is to make true."""
        return self._views.current.copy()

    @torch.no_grad()
    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin anew towards `goal`, encoding its views once.

        Args:
            goal: What to bring about; its poses are looked at only by an energy that needs them.
            which: The robots that begin anew; all by default, which also restarts the random
                numbers of the planner and of who proposes.

        Raises:
            GoalError: There is no view or no robot, or something of the goal is missing.
            ValueError: Only some robots begin anew, and their goal does not fit the others'.
        """
        check_goal(goal, needs_poses=self.privileged)
        if which is None:
            self._begin_all(goal)
        else:
            check_fits(goal, self._goal)
            self._begin_some(goal, which)

    @torch.no_grad()
    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return the first action of the plan that leads most nearly to the current view.

        Raises:
            GoalError: What is observed is of another size than the goal's images, or there is no
                goal yet.
            PlanningError: An energy is not finite: nothing is returned that an arm could do.
        """
        check_seen(observation, self._goal)
        self.plan = None
        self._remember(observation)
        context = self._context()
        target = self._aim(context)
        plan = self._planner.plan(
            self._cost(context, target),
            len(self.energy_now),
            previous=self._previous,
            proposals=self._propose(context, target),
        )
        if not plan.actions.isfinite().all():
            raise PlanningError("The planner found actions that are not finite; nothing is done.")
        self.plan, self._previous = plan, plan.actions.clone()
        self._views.step()
        return plan.actions[:, 0].cpu().numpy().astype(np.float32)

    def _begin_all(self, goal: Goal) -> None:
        n, k = goal.images.shape[:2]
        self._latents: list[Tensor] = []
        self._poses: list[np.ndarray] = []
        self._previous: Tensor | None = None
        self._anew = np.zeros(n, bool)
        self._views = Views(self._switching, goal.steps, n)
        self._planner.reset()
        if self._high_level is not None:
            self._high_level.reset()
        self._generator.manual_seed(self._seed)
        self._goals = self._encode(goal.images.reshape(n * k, *goal.images.shape[2:]))
        self._goals = self._goals.unflatten(0, (n, k))
        self._goal_poses = None if goal.poses is None else goal.poses.copy()
        self._goal = goal

    def _begin_some(self, goal: Goal, which: Bool[np.ndarray, " n"]) -> None:
        if not which.any():
            return
        images = goal.images[which]
        latents = self._encode(images.reshape(-1, *images.shape[2:]))
        self._goals[torch.from_numpy(which)] = latents.unflatten(0, images.shape[:2])
        if self._goal_poses is not None and goal.poses is not None:
            self._goal_poses[which] = goal.poses[which]
        self._views.begin(which)
        self._anew |= which
        if self._previous is not None:
            self._previous[torch.from_numpy(which)] = torch.nan

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

    def _aim(self, context: Context) -> Target:
        """Return what to plan for, after going on to the next view where it is time."""
        self.energy_now = self._views.advance(
            lambda current: self._energy_to(self._view(current), context)
        )
        target = self._view(self._views.current)
        if self._high_level is not None:
            elapsed = torch.from_numpy(self._views.elapsed.copy()).to(self._device)
            target = self._high_level.subgoal(context, target, elapsed)
            self.energy_now = self._energy_to(target, context)
        self.target = target
        return target

    def _view(self, current: Int64[np.ndarray, " n"]) -> Target:
        everyone = np.arange(len(current))
        poses = None
        if self.privileged and self._goal_poses is not None:
            poses = torch.from_numpy(self._goal_poses[everyone, current]).to(self._device)
        return Target(
            latents=self._goals[torch.from_numpy(everyone), torch.from_numpy(current)],
            poses=poses,
            steps=torch.from_numpy(self._views.left).to(self._device),
        )

    def _energy_to(self, target: Target, context: Context) -> Float64[np.ndarray, " n"]:
        """Return the energy of what is seen now, as if nothing would ever move."""
        still = Imagined(
            context=context,
            actions=context.poses.new_zeros(len(context.poses), 1, 1, 7),
            latents=context.latents[:, -1, None, None],
            poses=context.poses[:, -1, None, None],
        )
        energies = self._energy(still, target)[:, 0].double().cpu().numpy()
        if not np.isfinite(energies).all():
            robots = np.flatnonzero(~np.isfinite(energies)).tolist()
            raise PlanningError(
                f"The energy of what robots {robots} see now is not finite: the world model encodes"
                " NaN or infinity. Check its weights, the goal and the poses it is given."
            )
        return energies

    def _cost(self, context: Context, target: Target) -> Cost:
        surprise = None
        if self._prior is not None and self._prior_weight:
            surprise = self._prior.surprise(context, target, horizon=self._planner.horizon)

        def cost(actions: Float[Tensor, "n samples horizon 7"]) -> Float[Tensor, "n samples"]:
            energy = self._energy(self._world_model.imagine(context, actions), target)
            return energy if surprise is None else energy + self._prior_weight * surprise(actions)

        return cost

    def _propose(
        self, context: Context, target: Target
    ) -> Float[Tensor, "n proposals horizon 7"] | None:
        if self._proposer is None or not self._num_proposals:
            return None
        return self._proposer.propose(
            context,
            target,
            samples=self._num_proposals,
            horizon=self._planner.horizon,
            generator=self._generator,
        )


def _check(
    max_context: int,
    num_proposals: int,
    prior_weight: float,
    proposer: Proposer | None,
    prior: Prior | None,
) -> None:
    """Refuse impossible numbers, and what nobody is there for."""
    if max_context < 1 or num_proposals < 0:
        raise ValueError(
            "max_context must be at least 1 and num_proposals not negative, got "
            f"{max_context} and {num_proposals}"
        )
    if num_proposals and proposer is None:
        raise ValueError(f"{num_proposals} proposals need a proposer")
    if prior_weight < 0 or (prior_weight and prior is None):
        raise ValueError(
            f"prior_weight must not be negative, and above 0 needs a prior; got {prior_weight}"
        )
