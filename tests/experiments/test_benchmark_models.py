"""Rollouts and pretraining are measured beside computations that give the same."""

import json
import sys

import pytest
import torch

from vjepa_gym.errors import CheckpointError, UnknownNameError, VJEPAGymError
from vjepa_gym.experiments.benchmark import rollout, training
from vjepa_gym.experiments.benchmark.lower_precision import rank_correlation
from vjepa_gym.experiments.benchmark.plain_pretraining import (
    EncodesEverything,
    PlainLoop,
    make_model,
)
from vjepa_gym.experiments.benchmark.settings import RolloutSettings, TrainingSettings
from vjepa_gym.experiments.benchmark.turns import by_turns, on_threads
from vjepa_gym.experiments.jobs.benchmark import BenchmarkConfig, run_benchmark
from vjepa_gym.world_models.hugging_face import load_hugging_face
from vjepa_gym.world_models.masked_objective import MaskedObjective
from vjepa_gym.world_models.presets import MODELS


@pytest.fixture(autouse=True)
def _heads_as_wide_as_transformers_needs(monkeypatch):
    model = MODELS["debug"]()
    model.predictor.width = 24
    monkeypatch.setitem(MODELS, "debug", lambda: model)


def measured(config, folder):
    parts = []
    found = run_benchmark(config, folder, lambda done, what: parts.append((done, what)))
    assert [done for done, _ in parts] == list(range(config.parts + 1))
    assert (folder / "table.md").read_text() == found.markdown()
    assert "by the clock" in found.markdown()
    return json.loads((folder / "results.json").read_text())


def test_rollouts_and_fewer_bits_are_measured(tmp_path):
    small = RolloutSettings(
        samples=[64], horizons=[1, 4], contexts=[2], images=2, actions=16, widths=[8]
    )
    config = BenchmarkConfig(what="rollout", rounds=1, seconds=0.001, rollout=small)
    written = measured(config, tmp_path)
    rows = written["comparisons"]
    assert rows[1]["what"] == "rollouts of 4 steps, 64 samples, from 2 frames"
    assert [row["least"] is not None for row in rows] == [False, True] + 6 * [False]
    assert rows[1]["least"] == pytest.approx(1 / 0.55)
    assert rows[1]["ratio"] > 1
    assert [row["met"] for row in written["limits"][:2]] == [True, True]
    errors = {row["what"]: row for row in written["limits"][2:]}
    assert len(errors) == 4
    for name, row in errors.items():
        assert 0 <= row["ours"] < (3 if "features" in name else 0.1)


def test_an_encoder_alone_imagines_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rollout, "load", lambda *_, **__: None)
    with pytest.raises(CheckpointError, match="tiny holds an encoder only"):
        run_benchmark(BenchmarkConfig(what="rollout"), tmp_path)


def test_steps_of_pretraining_are_measured(tmp_path):
    small = TrainingSettings(model="debug", frames=4, image_size=32, batch_size=3)
    config = BenchmarkConfig(what="training", rounds=2, seconds=0.001, training=small)
    written = measured(config, tmp_path)
    assert [row["least"] for row in written["comparisons"]] == [1.3, None, 3.0]
    assert all(row["ratio"] > 0 and len(row["ours"]) == 2 for row in written["comparisons"])
    assert [row["what"] for row in written["limits"]] == [
        "visible tokens of 128 under mask 1",
        "visible tokens of 128 under mask 2",
    ]
    assert all(0 < row["ours"] < 60 for row in written["limits"])
    assert written["other"] == "transformers"


@pytest.mark.parametrize("beside", ["plain", "once", "every"])
def test_every_loop_takes_steps_that_learn(beside):
    settings = TrainingSettings(
        model="debug", frames=4, image_size=32, batch_size=2, beside=[beside]
    )
    work = training._work(settings, 0, torch.device("cpu"))
    for step in training.make_steps(settings, work, 0).values():
        losses = [float(step()) for _ in range(8)]
        assert losses[-1] < losses[0]


def test_both_sides_have_the_same_loss_and_gradient(tmp_path):
    settings = TrainingSettings(model="debug", frames=4, image_size=32, batch_size=2)
    work = training._work(settings, 0, torch.device("cpu"))
    torch.manual_seed(0)
    theirs = make_model(work.model, frames=4, image_size=32)
    torch.nn.init.normal_(theirs.predictor.embeddings.mask_tokens)
    theirs.save_pretrained(tmp_path)
    ours = load_hugging_face(tmp_path).requires_grad_(True)
    loop = PlainLoop(theirs)
    objective = MaskedObjective(ours.encoder, ours.predictor, ours.encoder)
    group = {
        "clips": work.video,
        "keep": [keep for keep, _ in work.masks],
        "masked": [masked for _, masked in work.masks],
    }
    one = objective(video=group)[0]
    other = loop(work.video.transpose(1, 2), work.masks)
    assert float(one.detach()) == pytest.approx(float(other.detach()), rel=1e-6)
    one.backward()
    other.backward()
    gradients = ours.predictor.predictor_proj.weight.grad, theirs.predictor.proj.weight.grad
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
    gradients = ours.encoder.norm.weight.grad, theirs.encoder.layernorm.weight.grad
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_encoding_everything_once_or_for_each_mask_is_the_same():
    settings = TrainingSettings(model="debug", frames=4, image_size=32, batch_size=2)
    work = training._work(settings, 0, torch.device("cpu"))
    model = make_model(work.model, frames=4, image_size=32)
    passes = []
    model.encoder.layer[0].register_forward_hook(lambda *_: passes.append(1))
    video = work.video.transpose(1, 2)
    losses = []
    for once in (True, False):
        losses.append(float(EncodesEverything(model, once=once)(video, work.masks).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(passes) == 1 + 2


def test_heads_too_narrow_for_transformers_are_refused():
    model = MODELS["debug"]()
    model.predictor.width = 16
    with pytest.raises(ValueError, match=r"at least 12 features .* has 8"):
        make_model(model, frames=4, image_size=32)


def test_operations_are_counted():
    model, pairs = MODELS["debug"](), []
    assert (
        training.flops_a_clip(model, (1, 2, 2), pairs)
        == 2
        * (  # width 24, MLP 48, depth 2
            2 * 4 * 24 * (4 * 24 + 2 * 48) + 4 * 4 * 4 * 24
        )
        + 2 * 4 * (3 * 2 * 4 * 4) * 24
    )


@pytest.mark.gpu
def test_the_share_of_a_gpus_peak_is_stated(tmp_path):
    settings = TrainingSettings(model="vit_l", image_size=256, batch_size=8, beside=["plain"])
    config = BenchmarkConfig(what="training", rounds=1, seconds=1.0, training=settings)
    found = run_benchmark(config, tmp_path)
    shares = [row for row in found.limits if "FLOP/s" in row.what]
    assert all(1 < row.ours < 100 for row in shares)


def test_without_transformers_one_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.models.vjepa2", None)
    small = TrainingSettings(model="debug", frames=4, image_size=32)
    with pytest.raises(VJEPAGymError, match=r"pip install 'vjepa-gym\[dev\]'"):
        run_benchmark(BenchmarkConfig(what="training", training=small), tmp_path)


def test_ranks_are_compared():
    values = torch.tensor([3.0, 1.0, 2.0, 9.0])
    assert rank_correlation(values, values.exp()) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)


def test_tasks_take_turns():
    done = []
    tasks = {name: lambda name=name: done.append(name) for name in "ab"}
    rounds = []
    rates = by_turns(tasks, rounds=2, seconds=1e-9, on_round=rounds.append)
    assert done == ["a", "b"] * 3
    assert rounds == [1, 2]
    assert {name: len(found) for name, found in rates.items()} == {"a": 2, "b": 2}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with on_threads(before + 1) as used:
        assert used == torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RolloutSettings, {"samples": [0]}),
        (RolloutSettings, {"actions": 2}),
        (TrainingSettings, {"frames": 0}),
        (TrainingSettings, {"threads": -1}),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RolloutSettings, {"precisions": ["fp4"]}),
        (TrainingSettings, {"model": "vit_z"}),
        (TrainingSettings, {"beside": ["theirs"]}),
    ],
)
def test_names_that_are_not_there_are_refused(kind, wrong):
    with pytest.raises(UnknownNameError):
        kind(**wrong)
