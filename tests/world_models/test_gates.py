"""Gates pass a world model that is right, and say which number stops one that is not."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa_gym.errors import DatasetError, PlanningError
from vjepa_gym.learning.checkpoints import from_json
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.gates import (
    PARTS,
    GateConfig,
    Gates,
    GateThresholds,
    measure_gates,
)
from vjepa_gym.world_models.poses import follow
from vjepa_gym.world_models.probing import (
    NOBODY_SAYS,
    Objects,
    Seen,
    area_under_curve,
    pooled,
    probe_figures,
)
from vjepa_gym.world_models.vjepa2_ac import Persistence

FEW = GateConfig(transitions=64, candidates=16, landscapes=8)


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


def gripping_walks(episodes: int = 8, rows: int = 12) -> Frames:
    """The same, with a gripper that opens and closes now and then; a third pixel shows it."""
    frames = random_walks(episodes, rows)
    closed = np.random.default_rng(1).integers(0, 3, len(frames.poses)) / 2
    frames.poses[:, 6] = closed
    frames.images[:, 1, 0] = np.rint(200 * closed)[:, None].astype(np.uint8)
    return frames


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


class Gripping(Oracle):
    """Also sees the gripper, and knows what it will do, or that it never does anything."""

    def __init__(self, *, sees: bool = True) -> None:
        super().__init__()
        self.sees = sees

    def encode(self, images: Tensor) -> Tensor:
        latents = super().encode(images)
        latents[:, 1] = images[:, 1, 0].float() / 200
        return latents

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        imagined = super().imagine(context, actions)
        if self.sees:
            imagined.latents[..., 1, :] += actions.cumsum(2)[..., 6:]
        return imagined


def test_a_world_model_that_is_right_passes() -> None:
    gates = measure_gates(Oracle(), random_walks(), seed=0, config=FEW)
    assert gates.true_action_percentile == 0.0
    assert max(gates.prediction_over_persistence) < 0.01
    assert max(gates.prediction_over_persistence_changed) < 0.01
    assert max(gates.ridge_error_mm) < 1.0 < min(gates.chance_error_mm)
    assert 0.4 < gates.shuffled_action_percentile < 0.6
    assert gates.shuffled_over_persistence > 1.0
    assert len(gates.prediction_over_persistence) == 4
    assert gates.landscape_argmin_mm is not None
    assert gates.landscape_argmin_mm < 5.0
    assert gates.landscape_monotone == 1.0
    assert (gates.transitions, gates.episodes, gates.landscapes) == (64, 8, 8)
    assert gates.failures() == []


def test_predicting_no_change_is_chance() -> None:
    gates = measure_gates(Persistence(Oracle()), random_walks(), seed=0, config=FEW)
    assert gates.true_action_percentile == 0.5
    assert gates.shuffled_action_percentile == 0.5
    assert gates.prediction_over_persistence == pytest.approx([1.0] * 4)
    assert gates.prediction_over_persistence_changed == pytest.approx([1.0] * 4)
    changed = "prediction / persistence"
    first, *rest = gates.failures()
    assert first == "percentile of the true action: 0.5, at most 0.05 is wanted"
    assert rest[:2] == [
        f"{changed}, one step ahead: 1, at most 0.5 is wanted",
        f"{changed}, four steps ahead: 1, at most 0.5 is wanted",
    ]
    assert rest[2].startswith("least energy from the true action")
    assert rest[3].startswith("energy falls on the way to it")
    assert rest[4:] == ["error given another's action / the true: 1, at least 1.2 is wanted"]


def test_moving_the_wrong_way_is_worse_than_chance() -> None:
    gates = measure_gates(Oracle(gain=-1.0), random_walks(), seed=0, config=FEW)
    assert gates.true_action_percentile > 0.9
    assert gates.prediction_over_persistence == pytest.approx([2.0] * 4, abs=0.01)
    assert gates.landscape_monotone == 0.0


def test_latents_that_show_nothing_fail_the_probe() -> None:
    class Blind(Oracle):
        def encode(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 4, 3)

    gates = measure_gates(Blind(), random_walks(), seed=0, config=FEW)
    assert gates.ridge_error_mm == pytest.approx(gates.chance_error_mm, rel=0.01)
    # Where nothing ever changes there is no ratio, and what is no number does not pass.
    assert any("end effector" in sentence for sentence in gates.failures())
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
    lenient = GateThresholds(
        true_action_percentile=0.6,
        prediction_over_persistence=1.1,
        landscape_argmin_mm=1000.0,
        landscape_monotone=0.0,
        shuffled_over_true=1.0,
    )
    assert gates.failures(lenient) == []


@pytest.mark.parametrize(
    "frames",
    [random_walks(episodes=1), random_walks(rows=2), random_walks(step=1e-4)],
    ids=["one episode", "too short", "nothing moves"],
)
def test_too_little_data_is_refused(frames: Frames) -> None:
    with pytest.raises(DatasetError, match="two or more held-out episodes"):
        measure_gates(Oracle(), frames, seed=0, config=FEW)


@pytest.mark.parametrize("wrong", [{"candidates": 0}, {"landscapes": 0}, {"probe_share": 1.0}])
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


def test_what_the_gripper_did_is_ranked_among_what_it_did_not() -> None:
    gates = measure_gates(Gripping(), gripping_walks(), seed=0, config=FEW)
    assert gates.gripper_percentile == 0.0
    assert gates.gripper_moves is not None
    assert gates.gripper_moves > 20
    assert gates.gripper_r2 == pytest.approx(1.0, abs=0.02)
    assert gates.failures() == []


def test_an_energy_that_is_flat_over_the_gripper_is_chance() -> None:
    gates = measure_gates(Gripping(sees=False), gripping_walks(), seed=0, config=FEW)
    assert gates.gripper_percentile == 0.5
    assert [row.split(":")[0] for row in gates.failures() if "gripper" in row] == [
        "percentile of the true gripper action"
    ]


def test_what_the_data_do_not_say_is_not_measured_and_says_why() -> None:
    gates = measure_gates(Oracle(), random_walks(), seed=0, config=FEW)
    assert gates.object_error_mm is gates.lifted_auc is gates.gripper_r2 is None
    assert gates.gripper_percentile is None
    assert gates.not_measured == {
        "object_error_mm": NOBODY_SAYS,
        "lifted_auc": NOBODY_SAYS,
        "gripper_r2": "the gripper does not move in these episodes",
        "gripper_percentile": "the gripper moves by 0.1 in 0 steps only",
        "oracle_success": "it was not asked for",
    }


def test_short_episodes_are_judged_as_far_ahead_as_they_go() -> None:
    gates = measure_gates(Oracle(), random_walks(rows=4), seed=0, config=FEW)
    assert len(gates.prediction_over_persistence) == 3
    assert gates.failures() == []
    (row,) = [row for row in gates.rows() if "four steps" in row.gate]
    assert row.measured == "not measured: measured 3 steps ahead at most"


def test_it_says_what_comes_next() -> None:
    told: list[tuple[int, str]] = []
    measure_gates(
        Oracle(), random_walks(), seed=0, config=FEW, on_part=lambda *part: told.append(part)
    )
    assert told == list(enumerate(PARTS))


def test_only_the_frames_that_are_needed_are_encoded() -> None:
    class Counting(Oracle):
        encoded = 0

        def encode(self, images: Tensor) -> Tensor:
            self.encoded += len(images)
            return super().encode(images)

    model, frames = Counting(), random_walks(episodes=40)
    few = dataclasses.replace(FEW, transitions=2, probe_episodes=1, landscapes=1)
    measure_gates(model, frames, seed=0, config=few)
    assert model.encoded <= 2 * 12 + 2 * 5


def objects_for(frames: Frames) -> Objects:
    """A cup and a box that lie at 45 and 35 mm; the cup is in the hand that is shut."""
    rng = np.random.default_rng(2)
    positions = rng.uniform(0.3, 0.6, (len(frames.poses), 2, 3)).astype(np.float32)
    positions[..., 2] = [0.045, 0.035]
    held = frames.poses[:, 6] == 1.0
    positions[held, 0] = frames.poses[held, :3]
    return Objects(names=("cup", "box"), positions=positions)


class Shown:
    """Sees objects as well as they are told it; a third token is a picture of them."""

    def __init__(self, objects: Objects) -> None:
        self.latents = torch.from_numpy(objects.positions).flatten(1)
        self.row = 0

    def encode(self, images: Tensor) -> Tensor:
        rows = slice(self.row, self.row + len(images))
        self.row += len(images)
        shut = (images[:, 1, 0].float() / 200)[:, None]
        shown = [self.latents[rows], Oracle().encode(images)[:, 2], shut[:, 0]]
        return torch.cat(shown, 1)[..., None]

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        raise NotImplementedError


def test_objects_are_read_where_the_data_say_where_they_are() -> None:
    frames = gripping_walks(episodes=30)
    whole = Seen(frames=frames, objects=objects_for(frames))
    fitted, judged = whole.split(10)
    assert judged.objects is not None
    np.testing.assert_array_equal(judged.objects.positions, whole.objects.positions[-120:])
    found, reasons = probe_figures(
        Shown(whole.objects), fitted, judged, torch.Generator().manual_seed(0)
    )
    assert reasons == {}
    assert set(found["object_error_mm"]) == {"cup", "box"}
    for name, errors in found["object_error_mm"].items():
        assert len(errors) == 2
        assert max(errors) < 0.2 * min(found["object_chance_mm"][name])
    # The box never leaves the table, so that there is nothing to tell apart.
    assert list(found["lifted_auc"]) == ["cup"]
    assert found["lifted_auc"]["cup"] == pytest.approx(1.0, abs=0.02)


def test_objects_that_stay_on_the_table_cannot_be_told_from_lifted_ones() -> None:
    frames = random_walks(episodes=30)
    whole = Seen(frames=frames, objects=objects_for(frames))
    found, reasons = probe_figures(
        Shown(whole.objects), *whole.split(10), torch.Generator().manual_seed(0)
    )
    assert "lifted_auc" not in found
    assert "on the table and off it" in reasons["lifted_auc"]
    assert "object_error_mm" in found


def test_the_area_under_the_curve_counts_pairs() -> None:
    scores = torch.tensor([0.1, 0.4, 0.35, 0.8, 0.4])
    positive = torch.tensor([False, False, True, True, True])
    # Of six pairs, 0.35 and 0.1, 0.8 and both, 0.4 and 0.1 are right, and 0.4 and 0.4 are a tie.
    assert area_under_curve(scores, positive) == pytest.approx(4.5 / 6)
    assert area_under_curve(-scores, positive) == pytest.approx(1.5 / 6)


def test_a_world_model_that_imagines_no_numbers_is_not_judged() -> None:
    class Broken(Oracle):
        def imagine(self, context: Context, actions: Tensor) -> Imagined:
            imagined = super().imagine(context, actions)
            return dataclasses.replace(imagined, latents=imagined.latents * torch.nan)

    with pytest.raises(PlanningError, match="not finite"):
        measure_gates(Broken(), random_walks(), seed=0, config=FEW)
