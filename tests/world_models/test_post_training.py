"""Post-training as a whole: it learns, resumes exactly, and says what it cannot begin with."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from post_training_cases import some_encoder, some_model, walks
from torch import Tensor

from vjepa_gym.errors import CheckpointError, DatasetError
from vjepa_gym.world_models.post_training import Latents, post_train, train_predictor
from vjepa_gym.world_models.post_training_config import POST_TRAINING, PostTrainingConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.starting_model import StartingModel, starting_model
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    return some_encoder(tmp_path / "encoder")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(other[name], x) for name, x in one.items())


def losses_of(folder: Path) -> np.ndarray:
    rows = np.genfromtxt(folder / "losses.csv", delimiter=",", names=True)
    return rows["loss"]


def test_training_lowers_the_loss_and_leaves_a_world_model(
    encoder_folder: Path, tmp_path: Path
) -> None:
    losses: list[float] = []
    training = PostTrainingConfig(steps=40, batch_size=8, learning_rate=1e-2)
    trained = post_train(
        walks(),
        encoder_folder,
        debug(),
        training,
        folder=tmp_path / "run",
        seed=0,
        on_step=lambda _step, _steps, metrics: losses.append(metrics["loss"]),
    )
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    assert not any(parameter.requires_grad for parameter in trained.parameters())
    assert same(trained.state_dict(), VJEPA2AC.load(tmp_path / "run").state_dict())


def run(encoder: Path, folder: Path, stop: int | None = None, **changes: Any) -> dict[str, Tensor]:
    def on_step(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    training = POST_TRAINING["debug"]()
    for name, value in changes.items():
        setattr(training, name, value)
    return post_train(
        walks(), encoder, None, training, folder=folder, seed=1, on_step=on_step
    ).state_dict()


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    encoder_folder: Path, tmp_path: Path
) -> None:
    whole = run(encoder_folder, tmp_path / "whole", random_start=True)
    with pytest.raises(KeyboardInterrupt):
        run(encoder_folder, tmp_path / "stopped", stop=3, random_start=True)
    assert same(whole, run(encoder_folder, tmp_path / "stopped", random_start=True))
    np.testing.assert_array_equal(losses_of(tmp_path / "whole"), losses_of(tmp_path / "stopped"))


@pytest.mark.parametrize(
    "changes",
    [{"accumulate": 2}, {"activation_checkpointing": True}, {"prefetch": 0}, {"accumulate": 4}],
)
def test_how_it_is_computed_changes_nothing_but_rounding(
    encoder_folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run(encoder_folder, tmp_path / "plain")
    run(encoder_folder, tmp_path / "changed", **changes)
    plain, changed = losses_of(tmp_path / "plain"), losses_of(tmp_path / "changed")
    np.testing.assert_allclose(changed, plain, rtol=1e-5)


def test_bfloat16_follows_float32(encoder_folder: Path, tmp_path: Path) -> None:
    run(encoder_folder, tmp_path / "plain")
    run(encoder_folder, tmp_path / "half", bfloat16=True)
    plain, half = losses_of(tmp_path / "plain"), losses_of(tmp_path / "half")
    assert not np.array_equal(plain, half)
    np.testing.assert_allclose(half, plain, rtol=2e-2)


def test_a_compiled_predictor_is_only_asked_for_when_it_is_wanted() -> None:
    assert not any(make().compile for make in POST_TRAINING.values())


def train_on(latents: Latents, folder: Path, **extra: Any) -> VJEPA2AC:
    start = StartingModel(world_model=some_model(), trained=False)
    training = POST_TRAINING["debug"]()
    return train_predictor(
        walks(), start, training, folder=folder, seed=0, latents=latents, **extra
    )


def test_online_latents_train_as_cached_ones_do(tmp_path: Path) -> None:
    train_on(Latents.cache, tmp_path / "cache")
    train_on(Latents.online, tmp_path / "online")
    assert (tmp_path / "cache" / "latents").is_dir()
    assert not (tmp_path / "online" / "latents").exists()
    cached, online = losses_of(tmp_path / "cache"), losses_of(tmp_path / "online")
    np.testing.assert_allclose(online, cached, rtol=1e-3)


def test_another_encoder_of_equal_sizes_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    run(encoder_folder, tmp_path / "run")
    other = debug()
    other.encoder.heads = 1
    for name, wrong in (("weights", some_model(seed=5)), ("settings", some_model(other))):
        wrong.save(tmp_path / name)
        before = (tmp_path / "run" / "model.safetensors").read_bytes()
        with pytest.raises(CheckpointError) as caught:
            run(tmp_path / name, tmp_path / "run", steps=6)
        expected = {"weights": "encoder.weights ", "settings": "model.encoder.heads 2 -> 1"}[name]
        (told,) = str(caught.value).splitlines()[1:-1]
        assert told.startswith(f"  {expected}")
        assert str(tmp_path / "run") in str(caught.value)
        assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_another_precision_of_the_encoder_is_refused(tmp_path: Path) -> None:
    train_on(Latents.cache, tmp_path)
    train_on(Latents.online, tmp_path, precision="auto")
    with pytest.raises(CheckpointError, match=r"encoder\.precision float32 -> bfloat16"):
        train_on(Latents.cache, tmp_path, precision="bfloat16")


def test_going_on_with_other_episodes_is_told(
    encoder_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def train(episodes: int, steps: int) -> None:
        training = PostTrainingConfig(steps=steps, batch_size=4)
        post_train(walks(episodes), encoder_folder, None, training, folder=tmp_path / "r", seed=0)

    with caplog.at_level("INFO"):
        train(6, 2)
        train(7, 3)
        assert "data 6 episodes of 36 frames [" in caplog.text
        assert "] -> 7 episodes of 42 frames [" in caplog.text
        assert "Nothing is left" not in caplog.text
        train(7, 3)
    assert "3 steps of the 3 asked for are done, on 7 episodes of 42 frames [" in caplog.text


def test_runs_on_the_same_encoder_and_data_share_their_latents(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def train(name: str) -> None:
        shared = tmp_path / "shared"
        train_on(
            Latents.cache,
            tmp_path / name,
            latents_folder=shared,
            on_encoded=lambda *done: told.append(done),
        )

    train("one")
    assert told[-1] == (36, 36)
    (path,) = (tmp_path / "shared").iterdir()
    written = path.stat().st_mtime_ns
    told.clear()
    train("other")
    assert not told
    assert path.stat().st_mtime_ns == written
    assert not (tmp_path / "other" / "latents").exists()


def test_too_small_a_disk_stops_it_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=100))
    with pytest.raises(DatasetError, match="latents=online"):
        train_on(Latents.cache, tmp_path / "run")
    assert not (tmp_path / "run" / "losses.csv").exists()
    train_on(Latents.online, tmp_path / "run")


def test_clips_too_short_for_the_context_are_refused(encoder_folder: Path, tmp_path: Path) -> None:
    training = PostTrainingConfig(frames=3)
    with pytest.raises(ValueError, match=r"clips of 3 frames.*frames=4 or more"):
        post_train(walks(), encoder_folder, debug(), training, folder=tmp_path, seed=0)


# What it begins with.


def test_sizes_are_those_that_come_with_the_encoder(tmp_path: Path) -> None:
    model = debug()
    model.ac_predictor.depth = 3
    start = starting_model(some_encoder(tmp_path, model), seed=0)
    assert start.world_model.config == model
    assert len(start.world_model.predictor.predictor_blocks) == 3
    assert not start.trained


def test_a_new_predictor_is_drawn_from_the_seed(encoder_folder: Path) -> None:
    weights = [
        starting_model(encoder_folder, seed=seed).world_model.predictor.state_dict()
        for seed in (0, 0, 1)
    ]
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])


def test_sizes_of_a_new_predictor_may_be_given(encoder_folder: Path) -> None:
    model = debug()
    model.ac_predictor.depth = 1
    start = starting_model(encoder_folder, model, seed=0)
    assert len(start.world_model.predictor.predictor_blocks) == 1


def test_another_encoder_than_asked_for_is_refused(encoder_folder: Path) -> None:
    other = debug()
    other.encoder.depth += 1
    other.encoder.image_size = 32
    with pytest.raises(CheckpointError) as error:
        starting_model(encoder_folder, other, seed=0)
    assert "encoder.depth: 2, 3" in str(error.value)
    assert "encoder.image_size: 16, 32" in str(error.value)
    assert "encoder.width" not in str(error.value)
    assert str(encoder_folder) in str(error.value)


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """A world model of one's own, whose poses were scaled by other data."""
    model = some_model(seed=7)
    model.predictor.state_mean.fill_(0.125)
    model.predictor.action_scale.fill_(2.0)
    model.save(tmp_path / "own")
    return tmp_path / "own"


def test_a_whole_model_is_gone_on_from(own_model: Path, tmp_path: Path) -> None:
    start = starting_model(None, initial=own_model, seed=0)
    assert start.trained
    assert same(VJEPA2AC.load(own_model).state_dict(), start.world_model.state_dict())
    trained = post_train(
        walks(),
        None,
        None,
        POST_TRAINING["debug"](),
        folder=tmp_path / "run",
        seed=0,
        initial=own_model,
    )
    before = VJEPA2AC.load(own_model).state_dict()
    after = trained.state_dict()
    kept = {name for name, x in before.items() if torch.equal(x, after[name])}
    scales = {f"predictor.{name}" for name in ("state_mean", "state_scale", "action_scale")}
    assert scales <= kept
    assert kept - scales == {name for name in before if name.startswith("encoder.")}
    # Four small steps do not lead far from where it began.
    moved = max(
        float((after[name] - before[name]).abs().max()) for name in before if name not in kept
    )
    assert 0 < moved < 0.02


def test_an_encoder_may_take_the_place_of_that_of_the_whole_model(
    own_model: Path, encoder_folder: Path
) -> None:
    start = starting_model(encoder_folder, initial=own_model, seed=0)
    whole = start.world_model
    assert start.trained
    assert same(some_model().encoder.state_dict(), whole.encoder.state_dict())
    assert same(VJEPA2AC.load(own_model).predictor.state_dict(), whole.predictor.state_dict())


def test_an_encoder_that_does_not_fit_the_whole_model_is_refused(
    own_model: Path, tmp_path: Path
) -> None:
    wide = debug()
    wide.encoder.width = 48
    folder = some_encoder(tmp_path / "wide", wide)
    with pytest.raises(CheckpointError, match=r"encoder\.width: 48, 24"):
        starting_model(folder, initial=own_model, seed=0)


def test_a_trained_predictor_of_other_sizes_than_asked_for_is_refused(own_model: Path) -> None:
    other = debug()
    other.ac_predictor.heads = 1
    with pytest.raises(CheckpointError, match=r"ac_predictor\.heads: 2, 1"):
        starting_model(None, other, initial=own_model, seed=0)


def test_an_encoder_alone_is_nothing_to_go_on_from(encoder_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no action-conditioned predictor"):
        starting_model(None, initial=encoder_folder, seed=0)


def test_something_must_be_begun_with() -> None:
    with pytest.raises(ValueError, match="needs an encoder"):
        starting_model(None, seed=0)


def test_an_encoder_whose_training_was_broken_off_is_refused(tmp_path: Path) -> None:
    folder = some_encoder(tmp_path, step=3, steps=9)
    with pytest.raises(CheckpointError, match="after 3 of 9 steps"):
        starting_model(folder, seed=0)
    assert starting_model(folder, seed=0, unfinished=True).world_model is not None
    some_encoder(tmp_path, step=9, steps=9)
    starting_model(folder, seed=0)


# Recipes.


@pytest.mark.parametrize(
    "wrong",
    [{"rollout_steps": 4}, {"rollout_steps": 0}, {"loss_exponent": 0.0}, {"stride": 0}],
)
def test_a_loss_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        PostTrainingConfig(**wrong)


@pytest.mark.parametrize("name", list(POST_TRAINING))
def test_every_recipe_is_valid(name: str) -> None:
    recipe = POST_TRAINING[name]()
    assert recipe.rollout_steps == 2
    assert recipe.batch_size % recipe.accumulate == 0
    assert POST_TRAINING[name]() is not recipe


def test_the_published_rates_are_those_of_the_paper() -> None:
    for name in ("published", "paper"):
        recipe = POST_TRAINING[name]()
        rates = [recipe.rate_at(step / 94_500) for step in (0, 4_500, 90_000, 94_500)]
        assert rates == pytest.approx([7.5e-5, 4.25e-4, 4.25e-4, 0.0], abs=1e-12)


def test_clips_are_of_eight_frames_as_released_and_of_sixteen_as_in_the_paper() -> None:
    assert [POST_TRAINING[name]().frames for name in ("published", "paper")] == [8, 16]


# The precision of the encoder.


@pytest.mark.parametrize("latents", list(Latents))
def test_the_encoder_may_compute_in_bfloat16_and_is_kept_as_it_was(
    tmp_path: Path, latents: Latents
) -> None:
    train_on(latents, tmp_path / "float32")
    trained = train_on(latents, tmp_path / "bfloat16", precision="bfloat16")
    plain, half = losses_of(tmp_path / "float32"), losses_of(tmp_path / "bfloat16")
    assert not np.array_equal(plain, half)
    np.testing.assert_allclose(half, plain, rtol=2e-2)
    again = VJEPA2AC.load(tmp_path / "bfloat16")
    for model in (trained, again):
        assert same(some_model().encoder.state_dict(), model.encoder.state_dict())
    trained.save(tmp_path / "saved")


def test_latents_of_another_precision_are_others(tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16", "auto"):
        train_on(
            Latents.cache,
            tmp_path / precision,
            precision=precision,
            latents_folder=tmp_path / "latents",
        )
    # On a CPU, `auto` is float32.
    assert len(list((tmp_path / "latents").iterdir())) == 2
