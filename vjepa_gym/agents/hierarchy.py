"""A long horizon from a single goal image: a planner above the planner proposes what to see next.

Hierarchical planning with latent world models (arXiv 2604.03208): a search over macro-actions, in a
world model of long steps, finds a way to the goal; the first view that it imagines is the goal of
the planner below. Both levels share their latents, so that nothing else need be translated.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vjepa_gym.agents.action_space import ActionSpace
from vjepa_gym.agents.base import Target
from vjepa_gym.agents.cem import CEM, CEMConfig
from vjepa_gym.world_models.base import Context

Views = Float[Tensor, "n tokens dim"]


@runtime_checkable
class MacroModel(Protocol):
    """A world model of long steps, in the latents of the one beneath it."""

    @property
    def stride(self) -> int:
        """Control steps that a macro-action stands for."""
        ...

    @property
    def dim(self) -> int:
        """Numbers of a macro-action."""
        ...

    @property
    def mean(self) -> Float[Tensor, " macro"]:
        """Mean macro-action of the data."""
        ...

    @property
    def std(self) -> Float[Tensor, " macro"]:
        """Spread of the macro-actions of the data along each axis."""
        ...

    def imagine(
        self, latents: Views, macros: Float[Tensor, "n samples horizon macro"]
    ) -> Float[Tensor, "n samples horizon tokens dim"]:
        """Return what would be seen after each macro-action."""
        ...


@dataclass(kw_only=True)
class TwoLevelConfig:
    """How the upper level searches, and when it does."""

    horizon: int = 3
    """Macro-actions that are searched at once."""
    num_samples: int = 128
    """Sequences of macro-actions imagined in each iteration."""
    num_iterations: int = 4
    """How often their distribution is refitted."""
    num_elites: int = 12
    """How many of the best it is refitted to."""
    limit: float = 2.0
    """How far from their mean macro-actions may be, in the spread of those in the data: what the
    model was never trained on, it imagines as it likes."""
    summed: bool = True
    """Whether the distances to the goal after all macro-actions are added up, or that after the
    last alone counts."""
    replan_every: int = 2
    """Control steps after which a new subgoal is searched at the latest."""
    reached_below: float = 0.3
    """A subgoal is reached when this part of the distance to it is left."""
    near_above: float = 0.9
    """The goal is near when the first macro-action alone brings this part of what all would."""

    def __post_init__(self) -> None:
        for name in ("horizon", "num_samples", "num_iterations", "replan_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 < self.num_elites <= self.num_samples:
            raise ValueError(
                f"num_elites must lie between 2 and num_samples = {self.num_samples}, "
                f"got {self.num_elites}"
            )
        if not self.limit > 0:
            raise ValueError(f"limit must be positive, got {self.limit}")
        if not 0 <= self.reached_below < 1:
            raise ValueError(f"reached_below must lie in [0, 1), got {self.reached_below}")
        if not 0 < self.near_above <= 1:
            raise ValueError(f"near_above must lie in (0, 1], got {self.near_above}")


class TwoLevel:
    """Proposes the next view on the way to a goal that is far.

    It hands the goal itself through where a subgoal would not help: when no more steps are left
    than a macro-action takes, when the first macro-action leads there, and when no imagined view is
    nearer to the goal than the present one. The searches of all robots begin with the same random
    numbers, whenever they are due, so that no robot minds how many others there are.

    Attributes:
        distances: Of the imagined views from the goal, in the order of the last search's
            macro-actions: what each robot expects; None before the first search.
        passed: Which robots were given the goal itself the last time.
    """

    def __init__(
        self,
        macro_model: MacroModel,
        config: TwoLevelConfig | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare the search.

        Args:
            macro_model: Imagines long steps; its latents are those of the agent's world model.
            config: How to search.
            seed: Seeds the samples.
            device: Where latents live.
        """
        self.config = config or TwoLevelConfig()
        self._model = macro_model
        mean = macro_model.mean.detach().to(device)
        std = macro_model.std.detach().to(device)
        reach = self.config.limit * std
        space = ActionSpace(low=mean - reach, high=mean + reach, first_mean=mean, first_std=std)
        self._search = CEM(_search(self.config), space=space, seed=seed, device=device)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.distances: Float[Tensor, "n horizon"] | None = None
        self.passed: Bool[Tensor, " n"] | None = None
        self._state: _State | None = None

    def subgoal(self, context: Context, target: Target, elapsed: Int64[Tensor, " n"]) -> Target:
        """Return the view that each robot is to make true next.

        Args:
            context: What was seen; only the newest view is looked at.
            target: The goal, and if they are known the control steps left for it.
            elapsed: Control steps since each robot began; one with 0 begins anew.

        Returns:
            Latents; and steps left for them, if the goal has any. Imagined views have no poses, and
            so the target has none.
        """
        now = context.latents[:, -1]
        elapsed = elapsed.to(now.device)
        state = self._state
        if state is None or state.goals.shape != target.latents.shape:
            state = self._state = _State.of(target.latents, elapsed, self.config.horizon)
        due = self._due(state, now, target.latents, elapsed)
        if due.any():
            self._propose(state, now, target.latents, elapsed, due)
        stride = self._model.stride
        passed, steps = state.passed, None
        if target.steps is not None:
            left = target.steps.to(now.device)
            passed = passed | (left <= stride)
            steps = torch.where(passed, left, (stride - (elapsed - state.made)).clamp(min=1))
        self.passed, self.distances = passed, state.distances
        latents = torch.where(passed[:, None, None], target.latents, state.subgoals)
        return Target(latents=latents, steps=steps)

    def _due(
        self, state: "_State", now: Views, goals: Views, elapsed: Int64[Tensor, " n"]
    ) -> Bool[Tensor, " n"]:
        """Return which robots need a new subgoal."""
        age = elapsed - state.made
        stale = (elapsed == 0) | (age < 0) | (age >= self.config.replan_every)
        other = (state.goals != goals).flatten(1).any(1)
        reached = _distance(now, state.subgoals) <= self.config.reached_below * state.first
        return stale | other | reached

    def _propose(
        self,
        state: "_State",
        now: Views,
        goals: Views,
        elapsed: Int64[Tensor, " n"],
        due: Bool[Tensor, " n"],
    ) -> None:
        """Search a way to the goal for the robots that are due, and note where it begins."""
        start, goal = now[due], goals[due]

        def cost(macros: Float[Tensor, "n samples horizon macro"]) -> Float[Tensor, "n samples"]:
            imagined = self._model.imagine(start, macros)
            distances = _distance(imagined, goal[:, None, None])
            return distances.sum(-1) if self.config.summed else distances[..., -1]

        self._search.reset()
        plan = self._search.plan(cost, len(start))
        way = self._model.imagine(start, plan.actions[:, None])[:, 0]
        distances = _distance(way, goal[:, None])
        direct = _distance(start, goal)
        state.subgoals[due] = way[:, 0]
        state.goals[due] = goal
        state.made[due] = elapsed[due]
        state.first[due] = _distance(start, way[:, 0])
        gain = direct - distances.amin(1)
        near = direct - distances[:, 0] >= self.config.near_above * gain
        state.passed[due] = near | (gain <= 0)
        state.distances[due] = distances


@dataclass(kw_only=True)
class _State:
    """What was proposed last to each robot."""

    subgoals: Views
    goals: Views
    made: Int64[Tensor, " n"]
    first: Float[Tensor, " n"]
    passed: Bool[Tensor, " n"]
    distances: Float[Tensor, "n horizon"]

    @classmethod
    def of(cls, goals: Views, elapsed: Int64[Tensor, " n"], horizon: int) -> "_State":
        """Return what there is before anything was proposed: NaN is no view of any robot."""
        none = torch.full_like(goals, torch.nan)
        return cls(
            subgoals=none,
            goals=none.clone(),
            made=elapsed.clone(),
            first=goals.new_zeros(len(goals)),
            passed=torch.ones_like(elapsed, dtype=torch.bool),
            distances=goals.new_zeros(len(goals), horizon),
        )


def _search(config: TwoLevelConfig) -> CEMConfig:
    """Return a search that follows its elites at once, since it has few iterations."""
    return CEMConfig(
        horizon=config.horizon,
        num_samples=config.num_samples,
        num_iterations=config.num_iterations,
        num_elites=config.num_elites,
        mean_momentum=0.0,
        std_momentum=0.0,
        kept_elites=min(3, config.num_elites),
        sample_mean=True,
        weighted_elites=True,
    )


def _distance(
    views: Float[Tensor, "*some tokens dim"], others: Float[Tensor, "*others tokens dim"]
) -> Float[Tensor, " *some"]:
    """Return the mean absolute difference of views: the energy of V-JEPA 2-AC."""
    return (views - others).abs().mean((-2, -1))
