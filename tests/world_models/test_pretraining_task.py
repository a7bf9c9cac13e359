"""What a batch is: which frames, cropped how, at which size, and alike however it is split."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from films import Films, moving_squares, numbered
from torch import Tensor

from vjepa_gym.errors import DatasetError, TrainingError
from vjepa_gym.learning.training import Task
from vjepa_gym.world_models.masking import draw_masks
from vjepa_gym.world_models.presets import MODELS, ModelConfig
from vjepa_gym.world_models.pretraining_batches import SPARES
from vjepa_gym.world_models.pretraining_config import MaskedBy, PretrainingConfig
from vjepa_gym.world_models.pretraining_presets import PRETRAINING
from vjepa_gym.world_models.pretraining_task import MaskedPretraining

STEPS = 100


def recipe(**changes: Any) -> PretrainingConfig:
    return replace(PRETRAINING["debug"](), **changes)


def task(
    films: Films, training: PretrainingConfig, model: ModelConfig | None = None, **others: Any
) -> MaskedPretraining:
    generator = torch.Generator().manual_seed(0)
    chosen = MODELS["debug"]() if model is None else model
    return MaskedPretraining(films, chosen, training, generator=generator, **others)


def batch(one: MaskedPretraining, step: int = 1, part: slice | None = None) -> dict:
    plan = one.plan(step, STEPS, torch.Generator().manual_seed(step))
    return one.load(plan, slice(0, plan.size) if part is None else part)


def greys(clips: Tensor) -> Tensor:
    """The grey level of the first pixel of each frame."""
    return ((clips[:, 0, :, 0, 0] * 0.229 + 0.485) * 255).round().long()


def tiny_21() -> ModelConfig:
    model = MODELS["debug"]()
    return replace(
        model,
        encoder=replace(model.encoder, levels=2, image_tokens=True),
        predictor=replace(model.predictor, levels=2, dense=True, image_tokens=True),
    )


def test_it_is_a_task() -> None:
    assert isinstance(task(moving_squares(), recipe()), Task)


def test_clips_are_frames_of_one_video_a_stride_apart() -> None:
    one = task(numbered([8, 8, 8]), recipe(stride=2, batch_size=200))
    rows = greys(batch(one)["video"]["clips"])
    assert torch.equal(rows - rows[:, :1], torch.tensor([0, 2, 4, 6]).expand(200, -1))
    assert rows[:, 0].unique().tolist() == [0, 1, 50, 51, 100, 101]


def test_clips_at_a_rate_are_as_long_in_every_video() -> None:
    films = numbered([31, 16, 40], rates=[10.0, 5.0, 12.5])
    rows = greys(batch(task(films, recipe(fps=5.0, batch_size=100)))["video"]["clips"])
    for film, offsets in enumerate([[0, 2, 4, 6], [0, 1, 2, 3], [0, 3, 5, 8]]):
        mine = rows[(rows[:, 0] >= 50 * film) & (rows[:, 0] < 50 * (film + 1))]
        assert len(mine) > 10
        assert torch.equal(mine - mine[:, :1], torch.tensor(offsets).expand(len(mine), -1))


def test_a_video_slower_than_the_clip_is_told_to_repeats_frames() -> None:
    films = numbered([8], rates=[2.0])
    rows = greys(batch(task(films, recipe(fps=4.0)))["video"]["clips"])
    assert torch.equal(rows - rows[:, :1], torch.tensor([0, 1, 1, 2]).expand(4, -1))
    assert all(asked == sorted(set(asked)) for _, asked in films.asked)


def test_a_single_frame_is_repeated_to_fill_a_tubelet() -> None:
    one = task(numbered([5, 5]), recipe(frames=1, batch_size=50))
    clips = batch(one)["video"]["clips"]
    assert clips.shape == (50, 3, 2, 16, 16)
    assert torch.equal(clips[:, :, 0], clips[:, :, 1])
    assert greys(clips)[:, 0].unique().tolist() == [*range(5), *range(50, 55)]


def test_videos_of_other_sizes_are_cut_to_their_centre_and_scaled() -> None:
    films = moving_squares(size=24)
    films.films[2:] = [film[:, :, :20] for film in films.films[2:]]
    films.films[4:] = [np.repeat(film, 2, 2) for film in films.films[4:]]
    assert batch(task(films, recipe(batch_size=20)))["video"]["clips"].shape == (20, 3, 4, 16, 16)


def test_crops_and_mirrors_are_the_same_for_all_frames_and_differ_between_clips() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, None, :, None] * 8, (4, 32, 32, 3))
    films = Films([ramp.copy()])
    cropped = batch(task(films, recipe(random_crop=True, batch_size=30)))["video"]["clips"]
    assert torch.equal(cropped, cropped[:, :, :1].expand_as(cropped))
    assert len(cropped[:, 0, 0, 0, 0].unique()) > 10
    assert (cropped[..., -1] > cropped[..., 0]).all()
    mirrored = batch(task(films, recipe(random_flip=True, batch_size=30)))["video"]["clips"]
    falls = (mirrored[..., -1] < mirrored[..., 0]).flatten(1)
    assert torch.equal(falls, falls[:, :1].expand_as(falls))
    assert 5 < falls[:, 0].sum() < 25


def test_contrast_is_changed_alike_for_all_of_a_clip_and_apart_for_each_colour() -> None:
    one = task(numbered([8]), recipe(jitter=0.3, batch_size=30))
    plan = one.plan(1, STEPS, torch.Generator().manual_seed(1))
    gains = plan.groups["video"].gains
    assert gains.shape == (30, 3)
    assert len(gains.unique()) == 90
    assert gains.min() >= 0.7
    assert gains.max() <= 1.3
    assert gains.max() - gains.min() > 0.4
    level = replace(plan, groups={"video": replace(plan.groups["video"], gains=torch.ones(30, 3))})
    changed, before = (one.load(each, slice(0, 30))["video"]["clips"] for each in (plan, level))
    torch.testing.assert_close(changed, before * gains[:, :, None, None, None])


def test_without_jitter_nothing_is_drawn_for_it() -> None:
    films, generator = moving_squares(), torch.Generator().manual_seed(5)
    one = task(films, recipe())
    plan = one.plan(1, STEPS, generator).groups["video"]
    assert torch.equal(plan.gains, torch.ones(4, 3))
    # What was drawn before there were gains: clips, mirrors, masks, and no more.
    again, group = torch.Generator().manual_seed(5), one._groups["video", False]
    video, start = group.space.draw((4, 1 + SPARES), again)
    torch.rand(4, generator=again)
    masks = [draw_masks(kind, 4, group.form.grid, again) for kind in group.form.masks]
    assert np.array_equal(video, plan.video)
    assert np.array_equal(start, plan.start)
    for mine, drawn in zip(masks, plan.masks, strict=True):
        assert torch.equal(mine.take(slice(0, 4)).keep, drawn.take(slice(0, 4)).keep)
    assert torch.equal(again.get_state(), generator.get_state())


def test_clips_get_longer_and_larger_while_the_learning_rate_falls() -> None:
    training = recipe(decay=0.2, cooldown_frames=8, cooldown_image_size=24, batch_size=2)
    one = task(moving_squares(rows=9), training)
    for step, shape in ((80, (4, 16, 16)), (81, (8, 24, 24))):
        loaded = batch(one, step)
        assert loaded["video"]["clips"].shape == (2, 3, *shape)
        tokens = shape[0] // 2 * (shape[1] // 4) ** 2
        seen = [keep.shape[1] + masked.shape[1] for keep, masked in masks(loaded["video"])]
        assert all(tokens / 2 < one <= tokens for one in seen)
        one.objective(**loaded)[0].backward()


def masks(group: dict) -> list[tuple[Tensor, Tensor]]:
    return list(zip(group["keep"], group["masked"], strict=True))


def test_videos_too_short_for_the_cooldown_are_refused_at_the_start() -> None:
    with pytest.raises(DatasetError, match=r"6 of 6 videos hold no clip of 16 frames"):
        task(moving_squares(), recipe(cooldown_frames=16))


def test_weights_choose_the_videos() -> None:
    films = numbered([8, 5, 8])
    weights = np.array([0.0, 3.0, 1.0])
    rows = greys(batch(task(films, recipe(batch_size=400), weights=weights))["video"]["clips"])
    assert not (rows[:, 0] < 50).any()
    assert 0.65 < float((rows[:, 0] < 100).float().mean()) < 0.85


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_a_batch_is_the_same_however_it_is_split(parts: int) -> None:
    training = recipe(
        batch_size=24,
        random_crop=True,
        random_flip=True,
        masked_by=MaskedBy.noise,
        context_weight=0.5,
        image_share=0.4,
    )
    images = moving_squares(episodes=9, rows=1)
    one = task(moving_squares(), training, tiny_21(), images=images)
    plan = one.plan(50, STEPS, torch.Generator().manual_seed(0))
    whole = one.load(plan, slice(0, 24))
    split = [one.load(plan, slice(i, i + 24 // parts)) for i in range(0, 24, 24 // parts)]
    for kind in ("video", "image"):
        for name in ("clips", "noise"):
            joined = torch.cat([part[kind][name] for part in split])
            assert torch.equal(joined, whole[kind][name])
        for name in ("keep", "masked", "weights"):
            for i in range(2):
                joined = torch.cat([part[kind][name][i] for part in split])
                assert torch.equal(joined, whole[kind][name][i])
    losses = [one.objective(**part)[0].item() for part in split]
    assert np.mean(losses) == pytest.approx(one.objective(**whole)[0].item(), rel=1e-5)
    told = [one.describe(plan, slice(i, i + 24 // parts)) for i in range(0, 24, 24 // parts)]
    assert [name for part in told for name in part] == one.describe(plan, slice(0, 24))


def test_images_have_their_share_of_the_batch_and_their_weight_in_the_loss() -> None:
    training = recipe(batch_size=10, image_share=0.6, image_weight=0.5)
    one = task(moving_squares(), training, images=moving_squares(episodes=3, rows=1))
    loaded = batch(one)
    assert len(loaded["image"]["clips"]) == 6
    assert loaded["image"]["clips"].shape[2] == 2
    assert (float(loaded["video"]["share"]), float(loaded["image"]["share"])) == (0.5, 0.5)


def test_images_may_be_frames_of_videos_and_repeated_to_a_clip() -> None:
    films = numbered([3, 3])
    one = task(moving_squares(), recipe(batch_size=400, image_frames=4), images=films)
    clips = batch(one)["image"]["clips"]
    assert clips.shape == (100, 3, 4, 16, 16)
    assert torch.equal(clips, clips[:, :, :1].expand_as(clips))
    assert greys(clips)[:, 0].unique().tolist() == [0, 1, 2, 50, 51, 52]


def test_a_part_without_images_says_what_to_change() -> None:
    one = task(moving_squares(), recipe(batch_size=8), images=moving_squares(rows=1))
    with pytest.raises(TrainingError, match="use a larger batch_size, a smaller accumulate"):
        batch(one, part=slice(0, 1))


def test_clips_are_told_by_video_and_frame_in_the_order_of_the_batch() -> None:
    films, images = numbered([8, 8]), numbered([1, 1, 1])
    images.names = ["a.jpg", "b.jpg", "c.jpg"]
    one = task(films, recipe(batch_size=8), images=images)
    plan = one.plan(1, STEPS, torch.Generator().manual_seed(0))
    loaded, told = one.load(plan, slice(0, 8)), one.describe(plan, slice(0, 8))
    expected = {
        f"film-{grey // 50}.mp4 from frame {grey % 50}"
        for grey in greys(loaded["video"]["clips"])[:, 0].tolist()
    }
    assert expected == {name for name in told if name.startswith("film")}
    assert [i for i, name in enumerate(told) if ".jpg from frame 0" in name] == [1, 5]


def test_short_videos_are_left_out_if_asked_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    films = numbered([8, 3, 8, 2])
    with pytest.raises(DatasetError, match=r"2 of 4 videos .*film-1.mp4 \(3 frames of 4\), film-3"):
        task(films, recipe())
    rows = greys(batch(task(films, recipe(batch_size=50), skip_bad=True))["video"]["clips"])
    assert set((rows[:, 0] // 50).tolist()) == {0, 2}
    assert "2 of 4 videos hold no clip of 4 frames, 1 apart and are left out" in caplog.text


def test_what_takes_the_place_of_a_broken_clip_depends_on_the_plan_alone() -> None:
    films = moving_squares()
    films.broken = {"film-1.mp4"}
    one = task(films, recipe(batch_size=30), skip_bad=True)
    first, second = batch(one), batch(one)
    assert torch.equal(first["video"]["clips"], second["video"]["clips"])
    assert list(one.unreadable) == ["film-1.mp4"]
    films.broken = set()
    assert not torch.equal(batch(one)["video"]["clips"], first["video"]["clips"])


def test_several_readers_read_the_same() -> None:
    films = moving_squares()
    films.broken = {"film-1.mp4"}
    one, many = (
        task(films, recipe(batch_size=30, random_crop=True, readers=readers), skip_bad=True)
        for readers in (1, 4)
    )
    assert torch.equal(batch(one)["video"]["clips"], batch(many)["video"]["clips"])
    with pytest.raises(DatasetError, match=r"film-1\.mp4"):
        batch(task(films, recipe(batch_size=30, readers=4)))


def test_clips_of_broken_tubelets_are_refused() -> None:
    with pytest.raises(ValueError, match="whole tubelets"):
        task(moving_squares(), recipe(frames=5))
    with pytest.raises(ValueError, match="whole tubelets"):
        task(moving_squares(), recipe(cooldown_image_size=18))


def test_the_teacher_follows_at_a_rate_that_changes_linearly() -> None:
    one = task(moving_squares(), recipe(ema_start=0.5, ema_end=0.9))
    for weight in one.encoder.parameters():
        weight.data.fill_(1.0)
    for weight in one.target.parameters():
        weight.data.zero_()
    one.after_step(0.5)
    for weight in one.target.parameters():
        torch.testing.assert_close(weight, torch.full_like(weight, 0.3))


def test_activations_are_computed_again_if_asked() -> None:
    one = task(moving_squares(), recipe(activation_checkpointing=True))
    assert one.encoder.checkpointing
    assert one.predictor.checkpointing
    plain = task(moving_squares(), recipe())
    for each in (one, plain):
        each.objective(**batch(each))[0].backward()
    for mine, other in zip(one.encoder.parameters(), plain.encoder.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, other.grad)
