"""Gates pass a world model that is right, and say which number stops one that is not."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.checkpoints import from_json
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.gates import GateConfig, Gates, GateThresholds, measure_gates
from vjepa_gym.world_models.poses import follow
from vjepa_gym.world_models.probing import pooled
from vjepa_gym.world_models.vjepa2_ac import Persistence

FEW = GateConfig(transitions=64, candidates=16)


def random_walks(episodes: int = 8, rows: int = 12, step: float = 0.04) -> Frames:
    """Walks whose images spell the position out: two pixels, in steps of 0.1 mm."""
    rng = np.random.default_rng(0)
    moves = rng.uniform(-step, step, (episodes, rows, 3))
    positions = np.round((1.0 + moves.cumsum(1)).reshape(-1, 3), 4)
    poses = np.concatenate([positions, np.zeros((len(positions), 4))], 1).astype(np.float32)
    tenths = np.rint(positions * 1e4).astype(int)
    images = np.zeros((len(poses), 2, 2, 3), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = tenths // 256, tenths % 256
    return Frames(images=images, poses=poses, offsets=np.arange(0, len(poses) + 1, rows))


class Oracle:
    """Four tokens, one of which shows where the arm is; moves it as the actions say."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def encode(self, images: Tensor) -> Tensor:
        pixels = images.float()
        latents = torch.ones(len(images), 4, 3)
        latents[:, 2] = (pixels[:, 0, 0] * 256 + pixels[:, 0, 1]) / 1e4
        return latents

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        samples, horizon = actions.shape[1:3]
        latents = context.latents[:, -1][:, None, None].repeat(1, samples, horizon, 1, 1)
        latents[..., 2, :] += self.gain * actions.cumsum(2)[..., :3]
        poses = follow(context.poses[:, -1:].expand(-1, samples, -1), actions)
        return Imagined(context=context, actions=actions, latents=latents, poses=poses)


def test_a_world_model_that_is_right_passes() -> None:
    gates = measure_gates(Oracle(), random_walks(), seed=0, config=FEW)
    assert gates.true_action_percentile == 0.0
    assert max(gates.prediction_over_persistence) < 0.01
    assert max(gates.prediction_over_persistence_changed) < 0.01
    assert max(gates.ridge_error_mm) < 1.0 < min(gates.chance_error_mm)
    assert 0.4 < gates.shuffled_action_percentile < 0.6
    assert gates.shuffled_over_persistence > 1.0
    assert gates.transitions == 64
    assert gates.failures() == []


def test_predicting_no_change_is_chance() -> None:
    gates = measure_gates(Persistence(Oracle()), random_walks(), seed=0, config=FEW)
    assert gates.true_action_percentile == 0.5
    assert gates.shuffled_action_percentile == 0.5
    assert gates.prediction_over_persistence == pytest.approx([1.0, 1.0])
    assert gates.prediction_over_persistence_changed == pytest.approx([1.0, 1.0])
    assert gates.failures() == [
        "percentile of the true action: 0.5, at most 0.05 is wanted",
        "prediction over persistence on tokens that change: 1, at most 0.5 is wanted",
    ]


def test_moving_the_wrong_way_is_worse_than_chance() -> None:
    gates = measure_gates(Oracle(gain=-1.0), random_walks(), seed=0, config=FEW)
    assert gates.true_action_percentile > 0.9
    assert gates.prediction_over_persistence == pytest.approx([2.0, 2.0], abs=0.01)


def test_latents_that_show_nothing_fail_the_probe() -> None:
    class Blind(Oracle):
        def encode(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 4, 3)

    gates = measure_gates(Blind(), random_walks(), seed=0, config=FEW)
    assert gates.ridge_error_mm == pytest.approx(gates.chance_error_mm, rel=0.01)
    # Where nothing ever changes there is no ratio, and what is no number does not pass.
    assert any("end-effector" in sentence for sentence in gates.failures())
    assert any("persistence" in sentence for sentence in gates.failures())


def test_only_the_tokens_that_change_most_count_as_changing() -> None:
    class Flickering(Oracle):
        """Adds to the tokens that do not move a difference that no action explains."""

        def encode(self, images: Tensor) -> Tensor:
            latents = super().encode(images)
            latents[:, 3] += 1e-3 * latents[:, 2].sum(-1, keepdim=True)
            return latents

    gates = measure_gates(Flickering(), random_walks(), seed=0, config=FEW)
    assert gates.prediction_over_persistence_changed[0] < gates.prediction_over_persistence[0]


def test_a_longer_context_comes_with_what_was_done_in_it() -> None:
    seen: list[Context] = []

    class Watched(Oracle):
        def imagine(self, context: Context, actions: Tensor) -> Imagined:
            seen.append(context)
            return super().imagine(context, actions)

    config = dataclasses.replace(FEW, context_frames=3)
    assert measure_gates(Watched(), random_walks(), seed=0, config=config).failures() == []
    for context in seen:
        assert context.latents.shape[1:] == (3, 4, 3)
        walked = follow(context.poses[:, 0], context.actions)
        torch.testing.assert_close(walked, context.poses[:, 1:])
        torch.testing.assert_close(context.latents[:, :, 2], context.poses[..., :3])


def test_the_same_seed_measures_the_same() -> None:
    one, two = (measure_gates(Oracle(), random_walks(), seed=3, config=FEW) for _ in range(2))
    assert one == two


def test_gates_survive_json(tmp_path) -> None:
    gates = measure_gates(Oracle(), random_walks(), seed=0, config=FEW)
    assert from_json(Gates, gates.to_json(), source=tmp_path) == gates


def test_thresholds_can_be_set() -> None:
    gates = measure_gates(Persistence(Oracle()), random_walks(), seed=0, config=FEW)
    lenient = GateThresholds(true_action_percentile=0.6, prediction_over_persistence=1.1)
    assert gates.failures(lenient) == []


@pytest.mark.parametrize(
    "frames",
    [random_walks(episodes=1), random_walks(rows=2), random_walks(step=1e-4)],
    ids=["one episode", "too short", "nothing moves"],
)
def test_too_little_data_is_refused(frames: Frames) -> None:
    with pytest.raises(DatasetError, match="two or more held-out episodes"):
        measure_gates(Oracle(), frames, seed=0, config=FEW)


@pytest.mark.parametrize("wrong", [{"candidates": 0}, {"probe_share": 1.0}])
def test_a_configuration_that_measures_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        GateConfig(**wrong)


def test_many_tokens_are_averaged_over_squares_and_few_are_not() -> None:
    few = torch.rand(2, 16, 192)
    assert torch.equal(pooled(few), few)
    rows = torch.arange(16.0).repeat_interleave(16)
    many = rows[None, :, None].expand(1, -1, 1408)
    fewer = pooled(many)
    assert fewer.shape == (1, 16, 1408)
    assert fewer[0, :, 0].tolist() == [x for x in (1.5, 5.5, 9.5, 13.5) for _ in range(4)]
    odd = torch.rand(1, 9, 8192)
    assert torch.equal(pooled(odd), odd)
