import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_gym.errors import CheckpointError, DatasetError, TrainingError
from vjepa_gym.learning.checkpoints import read_json, write_json
from vjepa_gym.types import Frames
from vjepa_gym.world_models.encoder import Stem, normalise_tokens, take_tokens
from vjepa_gym.world_models.masking import MaskConfig, sample_masks, small_grid_masks
from vjepa_gym.world_models.presets import MODELS
from vjepa_gym.world_models.pretraining import (
    PRETRAINING,
    MaskedPretraining,
    PretrainingConfig,
    load_encoder,
    pretrain,
)


def moving_squares(episodes: int = 6, rows: int = 8, size: int = 16) -> Frames:
    """Films of a bright square that drifts over a dark ground."""
    rng = np.random.default_rng(0)
    images = np.full((episodes * rows, size, size, 3), 40, np.uint8)
    for row in range(len(images)):
        if row % rows == 0:
            x, y, dx, dy = rng.integers(0, size), rng.integers(0, size), *rng.integers(-3, 4, 2)
        x, y = (x + dx) % size, (y + dy) % size
        images[row, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = 220
    poses = np.zeros((len(images), 7), np.float32)
    return Frames(images=images, poses=poses, offsets=np.arange(0, len(images) + 1, rows))


def recipe(**changes: object) -> PretrainingConfig:
    return replace(PRETRAINING["debug"](), **changes)


def task(frames: Frames, training: PretrainingConfig) -> MaskedPretraining:
    generator = torch.Generator().manual_seed(0)
    return MaskedPretraining(frames, MODELS["debug"](), training, generator=generator, device="cpu")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_pretraining_learns_to_predict_what_is_masked_and_does_not_collapse(
    tmp_path: Path,
) -> None:
    told: list[dict[str, float]] = []
    pretrain(
        moving_squares(),
        MODELS["debug"](),
        recipe(steps=40, batch_size=8, learning_rate=0.01, ema_start=0.9, checkpoint_every=100),
        folder=tmp_path,
        seed=0,
        on_step=lambda step, total, metrics: told.append(metrics),
    )
    first, last = (np.mean([one["loss"] for one in part]) for part in (told[:8], told[-8:]))
    assert last < 0.5 * first
    assert told[-1]["latent_std"] > 0.1


def test_the_encoder_that_is_saved_is_the_moving_average(tmp_path: Path) -> None:
    model = MODELS["debug"]()
    encoder = pretrain(moving_squares(), model, recipe(), folder=tmp_path, seed=0)
    loaded, config = load_encoder(tmp_path)
    assert config == model
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_the_loss_is_the_mean_difference_from_the_teachers_normalised_tokens() -> None:
    training = recipe(masks=[MaskConfig(blocks=1, scale=0.3), MaskConfig(blocks=2, scale=0.2)])
    one = task(moving_squares(), training)
    loss, metrics = one.loss(torch.Generator().manual_seed(7))

    again = torch.Generator().manual_seed(7)
    video = one._video(again)
    targets = normalise_tokens(one.target(video))
    differences = []
    for index, kind in enumerate(training.masks):
        masks = sample_masks(kind, len(video), (2, 4, 4), again)
        context = one.encoder(video, masks.keep)
        predicted = one.predictor(
            context, masks.keep, masks.masked, grid=(2, 4, 4), mask_index=index
        )
        differences.append((predicted - take_tokens(targets, masks.masked)).abs().mean())
    torch.testing.assert_close(loss, sum(differences) / 2)
    torch.testing.assert_close(metrics["latent_std"], targets.std(0).mean())


def test_no_gradient_reaches_the_teacher() -> None:
    one = task(moving_squares(), recipe())
    one.loss(torch.Generator())[0].backward()
    assert all(weight.grad is None for weight in one.target.parameters())
    assert all(weight.grad is not None for weight in one.encoder.parameters())


def test_the_teacher_follows_at_a_rate_that_changes_linearly() -> None:
    one = task(moving_squares(), recipe(ema_start=0.5, ema_end=0.9))
    for weight in one.encoder.parameters():
        weight.data.fill_(1.0)
    for weight in one.target.parameters():
        weight.data.zero_()
    one.after_step(0.5)
    for weight in one.target.parameters():
        torch.testing.assert_close(weight, torch.full_like(weight, 0.3))


def test_clips_are_consecutive_frames_of_one_episode() -> None:
    frames = moving_squares(episodes=3, rows=8)
    stamps = np.arange(24, dtype=np.uint8)[:, None, None, None]
    frames = replace(frames, images=np.broadcast_to(stamps, frames.images.shape).copy())
    one = task(frames, recipe(stride=2, batch_size=200))
    red = one._video(torch.Generator().manual_seed(0))[:, 0, :, 0, 0]
    rows = ((red * 0.229 + 0.485) * 255).round().long()
    assert torch.equal(rows - rows[:, :1], torch.tensor([0, 2, 4, 6]).expand(200, -1))
    assert torch.equal(rows[:, 0] // 8, rows[:, -1] // 8)
    assert rows[:, 0].unique().tolist() == [0, 1, 8, 9, 16, 17]


def test_frames_of_another_size_are_scaled() -> None:
    one = task(moving_squares(size=24), recipe())
    assert one._video(torch.Generator()).shape == (4, 3, 4, 16, 16)


def test_random_crops_are_off_unless_asked_for() -> None:
    plain, cropped = (
        task(moving_squares(), recipe(random_crop=crop))._video(torch.Generator())
        for crop in (False, True)
    )
    assert plain.shape == cropped.shape
    assert not torch.allclose(plain, cropped)
    assert not any(make().random_crop for name, make in PRETRAINING.items() if name != "published")


def test_the_conv_stem_trains_too(tmp_path: Path) -> None:
    model = MODELS["debug"]()
    model.encoder.stem = Stem.conv
    pretrain(moving_squares(), model, recipe(steps=2), folder=tmp_path, seed=0)
    assert load_encoder(tmp_path)[1].encoder.stem is Stem.conv


@pytest.mark.parametrize("changes", [{}, {"random_crop": True}])
def test_a_run_that_was_killed_ends_with_the_same_bytes(
    tmp_path: Path, changes: dict[str, bool]
) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == 10:
            raise Killed

    def run(folder: Path, on_step: Callable | None = None) -> None:
        training = recipe(steps=20, checkpoint_every=5, **changes)
        pretrain(
            moving_squares(), MODELS["debug"](), training, folder=folder, seed=3, on_step=on_step
        )

    run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill)
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


KILLED_RUN = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("this", sys.argv[1])
this = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this)
def kill(step, total, metrics):
    if step == 13:
        os.kill(os.getpid(), signal.SIGKILL)
this.pretrain(this.moving_squares(), this.MODELS["debug"](),
              this.recipe(steps=20, checkpoint_every=5), folder=Path(sys.argv[2]), seed=3,
              on_step=kill)
"""


def test_sigkill_costs_at_most_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_RUN, __file__, str(tmp_path / "killed")]
    assert subprocess.run(command, env=os.environ, check=False).returncode == -signal.SIGKILL
    steps: list[int] = []
    for folder in ("killed", "whole"):
        pretrain(
            moving_squares(),
            MODELS["debug"](),
            recipe(steps=20, checkpoint_every=5),
            folder=tmp_path / folder,
            seed=3,
            on_step=lambda step, total, metrics: steps.append(step),
        )
    assert steps == [*range(11, 21), *range(1, 21)]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_films_without_differences_raise_the_alarm(tmp_path: Path) -> None:
    frames = moving_squares()
    frames = replace(frames, images=np.full_like(frames.images, 100))
    with pytest.raises(TrainingError, match="clips are not all alike"):
        pretrain(frames, MODELS["debug"](), recipe(collapse_patience=3), folder=tmp_path, seed=0)


def test_episodes_that_are_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="episode of 4 rows; the longest of 6 has 3"):
        pretrain(moving_squares(rows=3), MODELS["debug"](), recipe(), folder=tmp_path, seed=0)


def test_an_encoder_that_does_not_fit_its_configuration_is_refused(tmp_path: Path) -> None:
    pretrain(moving_squares(), MODELS["debug"](), recipe(), folder=tmp_path, seed=0)
    config = read_json(tmp_path / "config.json")
    config["encoder"]["depth"] = 3
    write_json(tmp_path / "config.json", config)
    with pytest.raises(CheckpointError, match=r"missing: encoder\.blocks\.2"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"frames": 0}, {"stride": 0}, {"masks": []}, {"ema_start": 1.1}, {"ema_end": -0.1}]
)
def test_impossible_recipes_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"|".join(["frames", "ema_"])):
        recipe(**changes)


def test_recipes_are_the_published_ones_and_their_small_kin() -> None:
    published, tiny = PRETRAINING["published"](), PRETRAINING["tiny"]()
    assert published.rate_at(0.0) == pytest.approx(1e-4)
    assert published.rate_at(0.5) == pytest.approx(5.25e-4)
    assert published.rate_at(1.0) == pytest.approx(1e-6)
    assert (published.ema_start, published.ema_end, published.weight_decay) == (
        0.99925,
        0.99925,
        0.04,
    )
    assert tiny.masks == small_grid_masks()
