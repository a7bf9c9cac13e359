"""Searches are measured on the same starts, goals and model as the paper's."""

import json

import pytest
import torch

from vjepa_gym.agents.cem import CEMConfig
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planners import PLANNERS
from vjepa_gym.envs import REACH
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.benchmark.problems import Uncached, draw_problems
from vjepa_gym.experiments.benchmark.settings import PlannerSettings
from vjepa_gym.experiments.jobs.benchmark import BenchmarkConfig, run_benchmark
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = debug()
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    return VJEPA2AC(config, VisionTransformer(config.encoder), predictor)


@pytest.fixture(scope="module")
def problems(model):
    return draw_problems(model, REACH, 3, 5)


def test_problems_are_starts_and_goals_of_different_episodes(problems):
    assert len(problems) == 3
    assert not torch.equal(problems.target.latents[0], problems.target.latents[1])
    assert not torch.equal(problems.context.latents[:, 0], problems.target.latents)
    some = problems.part(slice(1, 3))
    assert len(some) == 2
    assert torch.equal(some.context.poses, problems.context.poses[1:])
    assert torch.equal(some.target.latents, problems.target.latents[1:])


def test_imagining_without_memory_gives_the_same_energies(model, problems, monkeypatch):
    from vjepa_gym.experiments.benchmark import problems as module

    monkeypatch.setattr(module, "PLAIN_TOKENS", 100)  # in several parts
    actions = 0.05 * torch.randn(3, 7, 2, 7, generator=torch.Generator().manual_seed(0))
    energy = L1()
    with torch.no_grad():
        cached = problems.cost(model, energy)(actions)
        plain = problems.cost(Uncached(model.predictor), energy)(actions)
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=1e-5)


def test_every_planner_is_measured_beside_the_papers(tmp_path, monkeypatch):
    few = CEMConfig(num_samples=12, num_iterations=2, num_elites=3)
    monkeypatch.setitem(PLANNERS, "paper", lambda: few)
    settings = PlannerSettings(
        model="debug", random=True, starts=3, horizons=[1, 2], samples=[8], robots=[2]
    )
    config = BenchmarkConfig(what="planner", rounds=2, seconds=0.001, planner=settings)
    parts = []
    run_benchmark(config, tmp_path, lambda done, what: parts.append((done, what)))
    assert [done for done, _ in parts] == list(range(config.parts + 1))
    written = json.loads((tmp_path / "results.json").read_text())
    speeds = {row["what"]: row for row in written["comparisons"]}
    assert set(speeds) == {
        *(
            f"plans by {name}, {ahead}"
            for name in settings.planners
            for ahead in ("1 step ahead", "2 steps ahead")
        ),
        "2 robots in one call, beside 2 calls",
    }
    assert speeds["plans by fast, 2 steps ahead"]["least"] == 10
    assert speeds["plans by icem, 2 steps ahead"]["least"] is None
    assert speeds["2 robots in one call, beside 2 calls"]["least"] == 1
    figures = {row["what"]: row for row in written["limits"]}
    missed = figures["part of the saved energy that fast misses, 1 step ahead"]
    assert missed["most"] == 0.01
    saved = missed["hold_still"] - missed["energy"]
    assert missed["ours"] == pytest.approx(
        1 - saved / (missed["hold_still"] - missed["paper"]), rel=1e-3, abs=1e-3
    )
    share = figures["part of the imagined sequences, icem, 1 step ahead"]
    assert share["ours"] == pytest.approx(share["evaluations"] / 24)
    assert "part of the saved energy that fast with 8 samples misses, 2 steps ahead" in figures
    assert figures["seconds of the paper preset, cached, over its physical floor"]["ours"] > 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"planners": ["fst"]}, "Did you mean 'fast'"),
        ({"task": "fly"}, "task"),
        ({"model": "tny", "random": True}, "Did you mean 'tiny'"),
        ({"horizons": [0]}, "must be positive"),
        ({"starts": 4, "robots": [8]}, "need as many starts"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises((UnknownNameError, ValueError), match=said):
        PlannerSettings(**settings)
