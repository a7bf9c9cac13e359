"""What all searches do alike: ask for costs, keep books, and know when it is enough."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym.agents.action_space import ActionSpace, SearchConfig
from vjepa_gym.agents.base import Cost, Ended, Plan, Trace
from vjepa_gym.agents.distribution import shifted
from vjepa_gym.errors import PlanningError


class Search:
    """The books of one plan: what was imagined, what came of it, and whether to go on.

    Attributes:
        cost: What action sequences are asked about.
        previous: The actions planned one step ago, if there are any.
        proposed: How many sequences were proposed for each robot.
        begin: Where each robot's search begins: its previous plan, one step on; None or NaN
            where there is none.
        iteration: How many iterations are over.
        searching: The robots whose distribution has not converged. The others keep their answer,
            whatever is imagined for them while their neighbours search on.
        best_actions: The cheapest sequence that was imagined for each robot.
        best_cost: What it costs.
    """

    def __init__(
        self,
        config: SearchConfig,
        space: ActionSpace,
        cost: Cost,
        n: int,
        *,
        previous: Float[Tensor, "robots steps axes"] | None,
        proposals: Float[Tensor, "robots some steps axes"] | None,
        clock: Callable[[], float],
    ) -> None:
        """Open the books.

        Args:
            config: When it is enough, and what to note.
            space: What the actions are chosen from.
            cost: Imagines action sequences and compares where they lead with the goal.
            n: How many robots there are.
            previous: The actions planned one step ago.
            proposals: Sequences to be among the first samples.
            clock: Tells the time [s].

        Raises:
            ValueError: `previous` or `proposals` are not of this search.
            PlanningError: A proposal is not finite.
        """
        _check_previous(previous, (n, config.horizon, space.dim))
        _check_proposals(proposals, (n, config.horizon, space.dim), config.num_samples)
        self._config, self._space, self.cost, self._clock = config, space, cost, clock
        self._proposals = None if proposals is None else space.constrain(proposals)
        self.previous = previous
        self.proposed = 0 if proposals is None else proposals.shape[1]
        self.begin = None
        if config.warm_start and previous is not None:
            self.begin = shifted(previous)
        self.iteration = 0
        self.searching = torch.ones(n, dtype=torch.bool, device=space.low.device)
        nothing = space.low.new_zeros(n, config.horizon, space.dim)
        self.best_actions, self.best_cost = nothing, space.low.new_full((n,), torch.inf)
        self._actions, self._answer_cost = nothing, self.best_cost
        self._evaluations = 0
        self._rows: list[tuple[Tensor, ...]] = []
        self._records: list[tuple[Tensor, ...]] = []
        self._ended = Ended.iterations
        self._started = self._iteration_began = clock()

    def goes_on(self) -> bool:
        """Whether another iteration is wanted."""
        now = self._clock()
        budget, lasted = self._config.budget_s, now - self._iteration_began
        self._iteration_began = now
        if self.iteration == 0:
            return True
        if self._config.converged_below and not self.searching.any():
            self._ended = Ended.converged
        elif self.iteration == self._config.num_iterations:
            self._ended = Ended.iterations
        elif budget is not None and now - self._started + lasted > budget:
            self._ended = Ended.budget
        else:
            return True
        return False

    def among(
        self,
        drawn: Float[Tensor, "n samples horizon dim"],
        chosen: Sequence[Tensor] = (),
    ) -> Float[Tensor, "n samples horizon dim"]:
        """Return random samples, the first of which give way to chosen ones.

        Args:
            drawn: Random samples.
            chosen: Further ones, each of shape `n some horizon dim`. Proposals come before them in
                the first iteration; what finds no place is left out.
        """
        if self.iteration == 0 and self._proposals is not None:
            chosen = [self._proposals, *chosen]
        if not chosen:
            return drawn
        first = torch.cat(list(chosen), 1)[:, : drawn.shape[1]]
        return torch.cat([first, drawn[:, first.shape[1] :]], 1)

    def costs(
        self,
        samples: Float[Tensor, "n samples horizon dim"],
        spread: Float[Tensor, "n horizon dim"],
    ) -> Float[Tensor, "n samples"]:
        """Return what action sequences cost.

        Args:
            samples: The sequences.
            spread: Of what they were drawn from, for the trace.

        Raises:
            PlanningError: A cost is not finite.
            ValueError: The costs are not one a sequence.
        """
        with torch.no_grad():
            return self.note(samples, self.cost(samples), spread)

    def note(
        self,
        samples: Float[Tensor, "n samples horizon dim"],
        costs: Tensor,
        spread: Float[Tensor, "n horizon dim"],
    ) -> Float[Tensor, "n samples"]:
        """Write down what sequences were found to cost, and return it; raises as `costs` does."""
        _check_costs(costs, samples.shape[:2])
        costs = costs.to(self.best_cost.dtype)
        self._evaluations += samples.shape[1]
        least, which = costs.min(1)
        better = least < self.best_cost
        cheapest = chosen(samples, which[:, None])[:, 0]
        self.best_actions = torch.where(better[:, None, None], cheapest, self.best_actions)
        self.best_cost = torch.where(better, least, self.best_cost)
        self._rows.append((least, costs.mean(1), spread.square().mean(1).sqrt()))
        if self._config.record:
            self._records.append((samples, costs))
        return costs

    def conclude(
        self,
        actions: Float[Tensor, "n horizon dim"],
        cost: Float[Tensor, " n"],
        spread: Float[Tensor, " n"],
        elites: Int64[Tensor, "n elites"],
    ) -> None:
        """End an iteration.

        Args:
            actions: The answer, if this were all.
            cost: What it is expected to cost.
            spread: Largest spread of what the next iteration would draw from, in metres.
            elites: Which samples it was made from, cheapest first.
        """
        self._actions = torch.where(self.searching[:, None, None], actions, self._actions)
        self._answer_cost = torch.where(self.searching, cost, self._answer_cost)
        self.searching = self.searching & (spread >= self._config.converged_below)
        if self._config.record:
            self._records[-1] += (elites,)
        self.iteration += 1

    def plan(self) -> Plan:
        """Return the answer, with how it was found."""
        best, mean, std = (torch.stack(column) for column in zip(*self._rows, strict=True))
        return Plan(
            actions=self._space.finish(self._actions),
            cost=self._answer_cost,
            trace=Trace(best=best, mean=mean, std=std, **_recorded(self._records)),
            evaluations=self._evaluations,
            ended=self._ended,
        )


def chosen(
    samples: Float[Tensor, "n samples horizon dim"], which: Int64[Tensor, "n some"]
) -> Float[Tensor, "n some horizon dim"]:
    """Return those samples of each robot that are wanted."""
    return torch.take_along_dim(samples, which[:, :, None, None], dim=1)


def _check_previous(previous: Tensor | None, wanted: tuple[int, int, int]) -> None:
    if previous is not None and tuple(previous.shape) != wanted:
        raise ValueError(
            f"previous must be the last plan's actions, of shape {wanted} (robots, horizon, axes); "
            f"got {tuple(previous.shape)}"
        )


def _check_proposals(
    proposals: Tensor | None, wanted: tuple[int, int, int], num_samples: int
) -> None:
    if proposals is None:
        return
    n, horizon, dim = wanted
    shape = tuple(proposals.shape)
    if proposals.ndim != 4 or (shape[0], *shape[2:]) != wanted:
        raise ValueError(
            f"proposals must have shape ({n}, some, {horizon}, {dim}) (robots, proposals, "
            f"horizon, axes); got {shape}"
        )
    if shape[1] > num_samples:
        raise ValueError(
            f"There are {shape[1]} proposals for num_samples = {num_samples}: propose less, or "
            "search with more samples."
        )
    if not proposals.isfinite().all():
        robots = (~proposals.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise PlanningError(
            f"Some proposals for robots {robots} are not finite: check what proposes them."
        )


def _check_costs(costs: Tensor, wanted: torch.Size) -> None:
    if costs.shape != wanted:
        raise ValueError(
            f"A cost must return one number a sequence, {tuple(wanted)}; got {tuple(costs.shape)}"
        )
    if not costs.isfinite().all():
        robots = (~costs.isfinite()).any(1).nonzero().flatten().tolist()
        raise PlanningError(
            f"The cost of some actions is not finite for robots {robots}: the world model imagines "
            "NaN or infinity. Check its weights and the images and poses it is given."
        )


def _recorded(records: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """Return samples, energies and elites of all iterations, with NaN where there are fewer."""
    if not records:
        return {}
    most = max(costs.shape[1] for _, costs, _ in records)
    samples = [
        _padded(samples.transpose(1, -1), most).transpose(1, -1) for samples, _, _ in records
    ]
    return {
        "samples": torch.stack(samples),
        "energies": torch.stack([_padded(costs, most) for _, costs, _ in records]),
        "elites": torch.stack([elites for _, _, elites in records]),
    }


def _padded(rows: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(rows, (0, length - rows.shape[-1]), value=torch.nan)
