"""How fast each planner is, and how little energy its plans have, beside the paper's CEM.

All search on the same starts and goals with the same world model. The paper's CEM imagines plainly,
as the released code does: every sample's whole sequence passes the predictor at each step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.action_space import SearchConfig
from vjepa_gym.agents.base import Planner
from vjepa_gym.agents.cem import CEMConfig
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planners import PLANNERS, make_planner
from vjepa_gym.envs import SHORT
from vjepa_gym.experiments.benchmark.problems import Imagines, Problems, Uncached, draw_problems
from vjepa_gym.experiments.benchmark.report import Benchmark, Comparison, Limit
from vjepa_gym.experiments.benchmark.settings import PlannerSettings
from vjepa_gym.experiments.benchmark.turns import by_turns, on_threads
from vjepa_gym.experiments.timing import Rate, machine
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, load_world_model

PAPER, FAST = "paper", "fast"
LEAST_SPEED = 10.0
"""How many times as fast as the paper's CEM `fast` should be."""
MOST_MISSED = 0.01
"""Part of the energy that the paper's CEM saves which `fast` may leave."""
MOST_EVALUATED = 0.1
"""Part of the paper's imagined sequences that `fast` may imagine."""
LEAST_TOGETHER = {"cuda": 1 / 0.4}
"""How many times as fast robots that are planned for together should be as one after another, by
the kind of device; elsewhere they should not be slower."""
TOGETHER = 10
"""Starts that are planned for in one call where only the plans matter, which bounds memory."""
VERSIONS = ("torch", "mujoco")

Build = Callable[[SearchConfig], Planner]


@dataclass(frozen=True)
class Bench:
    """What every measurement needs.

    Attributes:
        model: Imagines.
        problems: Starts and goals.
        build: Makes a planner of a configuration.
        how: How often and how long everything is measured.
    """

    model: VJEPA2AC
    problems: Problems
    build: Build
    how: dict[str, float | int]

    def rates(
        self, ways: dict[str, tuple[SearchConfig, Imagines]], robots: int = 1
    ) -> dict[str, list[Rate]]:
        """Return how often a second each search plans for so many robots, by turns."""
        some = self.problems.part(slice(0, robots))
        energy = L1(summed=True)

        def task(config: SearchConfig, imagines: Imagines) -> Callable[[], object]:
            planner, cost = self.build(config), some.cost(imagines, energy)
            return lambda: planner.plan(cost, robots)

        return by_turns({name: task(*way) for name, way in ways.items()}, **self.how)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Found:
    """What a search found on all starts.

    Attributes:
        energy: Of the plan of each start.
        evaluations: Sequences imagined for each.
    """

    energy: Float[Tensor, " starts"]
    evaluations: int


def measure_planner(
    settings: PlannerSettings,
    *,
    rounds: int,
    seconds: float,
    seed: int,
    on_part: Callable[[str], None],
) -> Benchmark:
    """Measure every planner at every horizon, by samples, and for several robots at once.

    Args:
        settings: Which planners, model and starts.
        rounds: How often both ways are measured by turns.
        seconds: How long each time, at least; whole plans are made [s].
        seed: Of starts, goals and samples.
        on_part: Called with what comes next.

    Raises:
        RenderingError: This machine has no working OpenGL.
        CheckpointError: The model cannot be loaded, or is an encoder only.
    """
    device = choose_device(settings.device)
    model = _model(settings, device)
    comparisons: list[Comparison] = []
    limits: list[Limit] = []
    with on_threads(settings.threads) as threads, torch.no_grad():
        on_part("starts and goals")
        problems = draw_problems(model, SHORT[settings.task], settings.starts, seed)
        bench = Bench(
            model,
            problems,
            lambda config: make_planner(config, seed=seed, device=device),
            {"rounds": rounds, "seconds": seconds},
        )
        for horizon in settings.horizons:
            on_part(f"{PAPER}, {_ahead(horizon)}")
            rows, figures = _at_horizon(bench, settings, horizon, on_part)
            comparisons += rows
            limits += figures
        for robots in settings.robots:
            on_part(f"{robots} robots")
            comparisons.append(_together(bench, robots))
        on_part("physical floor")
        limits.append(_floor(bench))
    on_part("")
    return Benchmark(
        comparisons=comparisons,
        limits=limits,
        machine=machine(None, VERSIONS) | {"threads": threads, "device": str(device)},
        other="the paper's CEM, uncached",
        how=f"{settings.model}, {settings.starts} starts of {settings.task}, summed L1 energy; by"
        " the clock",
    )


def _model(settings: PlannerSettings, device: torch.device) -> VJEPA2AC:
    if settings.random:
        config = MODELS[settings.model]()
        with device:
            encoder = VisionTransformer(config.encoder)
            predictor = ACPredictor(config.ac_predictor, config.encoder.width)
        model = VJEPA2AC(config, encoder, predictor)
    else:
        model = load_world_model(settings.model, device)
    if settings.precision != "float32":
        model.lower(settings.precision)
    return model


def _at_horizon(
    bench: Bench, settings: PlannerSettings, horizon: int, on_part: Callable[[str], None]
) -> tuple[list[Comparison], list[Limit]]:
    """Return the speed of each planner so many steps ahead, and how good its plans are."""
    paper = replace(PLANNERS[PAPER](), horizon=horizon)
    reference, hold = _search(bench, paper), _hold_still(bench, horizon)
    comparisons, limits = [], []
    for name in settings.planners:
        on_part(f"{name}, {_ahead(horizon)}")
        config = replace(PLANNERS[name](), horizon=horizon)
        rates = bench.rates(
            {"ours": (config, bench.model), "paper": (paper, Uncached(bench.model.predictor))}
        )
        comparisons.append(
            Comparison(
                what=f"plans by {name}, {_ahead(horizon)}",
                ours=rates["ours"],
                stock=rates["paper"],
                least=LEAST_SPEED if name == FAST else None,
                by_clock=True,
            )
        )
        limits += _quality(name, horizon, _search(bench, config), reference, hold)
    for samples in settings.samples:
        found = _search(bench, _with_samples(samples, horizon))
        limits += _quality(f"{FAST} with {samples} samples", horizon, found, reference, hold)[:1]
    return comparisons, limits


def _with_samples(samples: int, horizon: int) -> CEMConfig:
    """Return `fast` with other samples; half of few of them are elites."""
    fast = PLANNERS[FAST]()
    assert isinstance(fast, CEMConfig)
    elites = min(fast.num_elites, max(2, samples // 2))
    kept = min(fast.kept_elites, elites)
    return replace(fast, horizon=horizon, num_samples=samples, num_elites=elites, kept_elites=kept)


def _quality(
    name: str, horizon: int, found: Found, paper: Found, hold: Float[Tensor, " starts"]
) -> list[Limit]:
    """Return what part of the paper's saving a search misses, and what part of its effort it takes.

    Saved is what a plan has less of energy than holding still.
    """
    asked = name == FAST
    saved, wanted = (hold - found.energy).mean(), (hold - paper.energy).mean()
    return [
        Limit(
            what=f"part of the saved energy that {name} misses, {_ahead(horizon)}",
            unit="1",
            ours=float(1 - saved / wanted),
            most=MOST_MISSED if asked else None,
            notes={
                "energy": float(found.energy.mean()),
                "paper": float(paper.energy.mean()),
                "hold_still": float(hold.mean()),
            },
        ),
        Limit(
            what=f"part of the imagined sequences, {name}, {_ahead(horizon)}",
            unit="1",
            ours=found.evaluations / paper.evaluations,
            most=MOST_EVALUATED if asked else None,
            notes={"evaluations": float(found.evaluations)},
        ),
    ]


def _search(bench: Bench, config: SearchConfig) -> Found:
    """Return what a search finds on all starts, its plans' energy imagined once more."""
    energy, energies, evaluations = L1(summed=True), [], 0
    for first in range(0, len(bench.problems), TOGETHER):
        part = bench.problems.part(slice(first, first + TOGETHER))
        cost = part.cost(bench.model, energy)
        plan = bench.build(config).plan(cost, len(part))
        energies.append(cost(plan.actions[:, None])[:, 0])
        evaluations = plan.evaluations
    return Found(torch.cat(energies), evaluations)


def _hold_still(bench: Bench, horizon: int) -> Float[Tensor, " starts"]:
    cost = bench.problems.cost(bench.model, L1(summed=True))
    poses = bench.problems.context.poses
    return cost(poses.new_zeros(len(poses), 1, horizon, 7))[:, 0]


def _together(bench: Bench, robots: int) -> Comparison:
    """Return how much faster robots are planned for in one call than one after another."""
    rates = bench.rates({"one": (PLANNERS[FAST](), bench.model)}, robots=robots)["one"]
    alone = bench.rates({"one": (PLANNERS[FAST](), bench.model)}, robots=1)["one"]
    return Comparison(
        what=f"{robots} robots in one call, beside {robots} calls",
        ours=[Rate(process=robots * rate.process, wall=robots * rate.wall) for rate in rates],
        stock=alone,
        least=LEAST_TOGETHER.get(bench.model.device.type, 1.0),
        by_clock=True,
    )


def _floor(bench: Bench) -> Limit:
    """Return how far the paper's search is from what the device's matrix products would take."""
    config = PLANNERS[PAPER]()
    weights = sum(weight.numel() for weight in bench.model.predictor.parameters())
    tokens = bench.problems.target.latents.shape[1] + bench.model.predictor.conditions
    imagined = config.num_samples * config.num_iterations * config.horizon
    operations = 2.0 * imagined * tokens * weights
    floor = operations / _peak(bench)
    rate = bench.rates({"paper": (config, bench.model)})["paper"]
    taken = min(1 / each.wall for each in rate)
    return Limit(
        what="seconds of the paper preset, cached, over its physical floor",
        unit="times",
        ours=taken / floor,
        notes={"seconds": taken, "floor_seconds": floor, "operations": operations},
    )


def _peak(bench: Bench) -> float:
    """Return how many operations a second a large matrix product reaches on the device."""
    device = bench.model.device
    side = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if bench.model.precision == "bfloat16" else torch.float32
    one = torch.randn(side, side, device=device, dtype=dtype)
    rates = by_turns({"product": lambda: one @ one}, **bench.how)["product"]  # pyright: ignore[reportArgumentType]
    return 2.0 * side**3 * max(rate.wall for rate in rates)


def _ahead(horizon: int) -> str:
    return f"{horizon} step{'s' * (horizon > 1)} ahead"
