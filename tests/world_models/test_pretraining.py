import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from films import moving_squares

from vjepa_gym.errors import CheckpointError, DatasetError, TrainingError
from vjepa_gym.learning.checkpoints import read_json, write_json
from vjepa_gym.world_models.encoder import Stem
from vjepa_gym.world_models.preprocessing import Framing
from vjepa_gym.world_models.presets import MODELS, ModelConfig
from vjepa_gym.world_models.pretraining import load_encoder, pretrain
from vjepa_gym.world_models.pretraining_config import MaskedBy, PretrainingConfig
from vjepa_gym.world_models.pretraining_presets import PRETRAINING
from vjepa_gym.world_models.run_facts import LOOKED_AT
from vjepa_gym.world_models.vjepa2 import VJEPA2

DENSE = {"context_weight": 0.5, "context_warmup": [0.1, 0.3]}


def recipe(**changes: Any) -> PretrainingConfig:
    return replace(PRETRAINING["debug"](), **changes)


def dense_model() -> ModelConfig:
    """The smallest model of V-JEPA 2.1: two depths, tokens for images, visible tokens too."""
    model = MODELS["debug"]()
    encoder = replace(model.encoder, levels=2, image_tokens=True)
    predictor = replace(model.predictor, levels=2, dense=True, image_tokens=True)
    return replace(model, encoder=encoder, predictor=predictor)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def losses(
    folder: Path, model: ModelConfig, training: PretrainingConfig, **others: Any
) -> list[dict[str, float]]:
    """Pretrain on the drifting squares; return the metrics of every step."""
    told: list[dict[str, float]] = []
    pretrain(
        moving_squares(),
        model,
        training,
        folder=folder,
        seed=0,
        on_step=lambda step, total, metrics: told.append(metrics),
        **others,
    )
    return told


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MODELS["debug"], {}),
        (MODELS["debug"], {"masked_by": MaskedBy.noise}),
        (dense_model, DENSE),
    ],
    ids=["v-jepa 2", "noise", "dense"],
)
def test_pretraining_learns_to_predict_what_is_masked_and_does_not_collapse(
    tmp_path: Path, model: Callable[[], ModelConfig], changes: dict
) -> None:
    training = recipe(
        steps=60, batch_size=8, learning_rate=0.01, ema_start=0.9, checkpoint_every=100, **changes
    )
    told = losses(tmp_path, model(), training)
    name = "masked_loss" if changes is DENSE else "loss"
    first, last = (np.mean([one[name] for one in part]) for part in (told[:8], told[-8:]))
    assert last < 0.6 * first
    assert told[-1]["latent_std"] > 0.1
    assert told[-1]["latent_rank"] > 1.5


def test_videos_and_images_are_learnt_from_together(tmp_path: Path) -> None:
    training = recipe(
        steps=60, batch_size=8, learning_rate=0.01, ema_start=0.9, checkpoint_every=100, **DENSE
    )
    images = moving_squares(episodes=9, rows=1, size=20)
    told = losses(tmp_path, dense_model(), training, images=images)
    first, last = (np.mean([one["masked_loss"] for one in part]) for part in (told[:8], told[-8:]))
    assert last < 0.6 * first
    assert len(images.asked) == 60 * 2 + LOOKED_AT


def test_two_runs_are_equal_bit_for_bit(tmp_path: Path) -> None:
    training = recipe(
        steps=6, random_crop=True, random_flip=True, masked_by=MaskedBy.noise, **DENSE
    )
    for name in ("one", "two"):
        images = moving_squares(episodes=3, rows=1)
        losses(tmp_path / name, dense_model(), training, images=images)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_encoder_that_is_saved_is_the_moving_average(tmp_path: Path) -> None:
    model = MODELS["debug"]()
    encoder = pretrain(moving_squares(), model, recipe(), folder=tmp_path, seed=0)
    loaded, config = load_encoder(tmp_path)
    assert config == model
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_what_is_saved_says_how_far_it_is_and_has_the_predictor(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == 3:
            raise Killed

    model, films = MODELS["debug"](), moving_squares()
    with pytest.raises(Killed):
        pretrain(films, model, recipe(), folder=tmp_path, seed=0, on_step=kill)
    assert read_json(tmp_path / "training.json") == {"step": 2, "steps": 4}
    pretrain(films, model, recipe(), folder=tmp_path, seed=0)
    assert read_json(tmp_path / "training.json") == {"step": 4, "steps": 4}
    assert VJEPA2.load(tmp_path).predictor is not None


def test_a_training_can_start_from_a_model(tmp_path: Path) -> None:
    model, films = MODELS["debug"](), moving_squares()
    pretrain(films, model, recipe(), folder=tmp_path / "first", seed=0)
    initial = VJEPA2.load(tmp_path / "first")
    still = recipe(steps=1, learning_rate=0.0, ema_start=1.0, ema_end=1.0)
    pretrain(films, model, still, folder=tmp_path / "second", seed=1, initial=initial)
    for name, tensor in VJEPA2.load(tmp_path / "second").state_dict().items():
        assert torch.equal(initial.state_dict()[name], tensor), name


def test_the_conv_stem_trains_too(tmp_path: Path) -> None:
    model = MODELS["debug"]()
    model.encoder.stem = Stem.conv
    pretrain(moving_squares(), model, recipe(steps=2), folder=tmp_path, seed=0)
    assert load_encoder(tmp_path)[1].encoder.stem is Stem.conv


@pytest.mark.parametrize("changes", [{}, {"random_crop": True}, {"masked_by": MaskedBy.noise}])
def test_a_run_that_was_killed_ends_with_the_same_bytes(tmp_path: Path, changes: dict) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == 10:
            raise Killed

    def run(folder: Path, on_step: Callable | None = None) -> None:
        training = recipe(steps=20, checkpoint_every=5, cooldown_frames=6, **changes)
        pretrain(
            moving_squares(), MODELS["debug"](), training, folder=folder, seed=3, on_step=on_step
        )

    run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill)
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import films, test_pretraining as this
def kill(step, total, metrics):
    if step == 13:
        os.kill(os.getpid(), signal.SIGKILL)
this.pretrain(films.moving_squares(), this.MODELS["debug"](),
              this.recipe(steps=20, checkpoint_every=5), folder=Path(sys.argv[2]), seed=3,
              on_step=kill)
"""


def test_sigkill_costs_at_most_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED_RUN, here, str(tmp_path / "killed")]
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


def test_another_model_of_equal_sizes_is_refused_by_its_fields(tmp_path: Path) -> None:
    model, films = MODELS["debug"](), moving_squares()
    pretrain(films, model, recipe(), folder=tmp_path, seed=0)
    other = replace(
        model,
        encoder=replace(model.encoder, heads=1),
        preprocessing=replace(model.preprocessing, framing=Framing.inner),
        ac_predictor=replace(model.ac_predictor, depth=5),
    )
    with pytest.raises(CheckpointError) as caught:
        pretrain(films, other, recipe(steps=8), folder=tmp_path, seed=0)
    assert str(caught.value).splitlines()[1:-1] == [
        "  model.encoder.heads 2 -> 1",
        f"  model.preprocessing.framing {model.preprocessing.framing.name} -> inner",
    ]


@pytest.mark.parametrize("what", ["data", "images", "weights", "initial", "held_out"])
def test_going_on_with_something_else_is_told_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    model = MODELS["debug"]()
    others: dict[str, dict[str, Any]] = {
        "data": {"videos": moving_squares(rows=9)},
        "images": {"images": moving_squares(episodes=3, rows=1)},
        "weights": {"weights": np.arange(1.0, 7.0)},
        "held_out": {"facts": {"held_out": 3}},
    }
    usual: dict[str, Any] = {"videos": moving_squares(), "facts": {"held_out": 2}}

    def train(folder: Path, **changes: Any) -> None:
        pretrain(model=model, training=recipe(), folder=folder, seed=0, **{**usual, **changes})

    train(tmp_path / "run")
    if what == "initial":
        others[what] = {"initial": VJEPA2.load(tmp_path / "run")}
    train(tmp_path / "run")
    assert "Not the same run" not in caplog.text
    train(tmp_path / "run", **others[what])
    (told,) = [one.getMessage() for one in caplog.records if "Not the same" in one.getMessage()]
    assert f"learns from something else: {what} " in told
    assert told.count("->") == 1
    if what == "data":
        assert "6 videos of 48 frames, first film-0.mp4 [" in told
        assert "-> 6 videos of 54 frames, first film-0.mp4 [" in told


def test_films_of_equal_names_and_lengths_are_told_apart_by_their_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, other = MODELS["debug"](), moving_squares()
    pretrain(moving_squares(), model, recipe(), folder=tmp_path, seed=0)
    other.films = [255 - film for film in other.films]
    pretrain(other, model, recipe(), folder=tmp_path, seed=0)
    assert "data 6 videos of 48 frames" in caplog.text


@pytest.mark.parametrize("stretch", [1.0, 1.25])
def test_the_weight_decay_is_stretched_like_the_learning_rate(stretch: float) -> None:
    training = recipe(final_weight_decay=0.4, stretch=stretch)
    part = 0.5 * (1 + np.cos(np.pi / stretch))
    assert training.weight_decay_at(0.0) == pytest.approx(0.04)
    assert training.weight_decay_at(1.0) == pytest.approx(0.4 - 0.36 * part)


def test_published_weight_decays_and_gradients() -> None:
    recipes = {name: make() for name, make in PRETRAINING.items()}
    rising = {name for name, one in recipes.items() if one.final_weight_decay is not None}
    assert rising == {"vjepa", "ijepa"}
    assert recipes["ijepa"].weight_decay_at(1.0) == pytest.approx(0.4)
    clipped = {name: one.clip_gradients for name, one in recipes.items() if one.clip_gradients}
    assert clipped == {"tiny_128": 5.0, "vjepa": 10.0}


def test_films_without_differences_raise_the_alarm(tmp_path: Path) -> None:
    films = moving_squares()
    films.films = [np.full_like(film, 100) for film in films.films]
    with pytest.raises(TrainingError, match="clips are not all alike"):
        pretrain(films, MODELS["debug"](), recipe(collapse_patience=3), folder=tmp_path, seed=0)


def test_episodes_that_are_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"6 of 6 videos .*film-0\.mp4 \(3 frames of 4\), .*, "):
        pretrain(moving_squares(rows=3), MODELS["debug"](), recipe(), folder=tmp_path, seed=0)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_video_that_cannot_be_read_is_named_or_replaced_if_asked(
    tmp_path: Path, prefetch: int, caplog: pytest.LogCaptureFixture
) -> None:
    films, model = moving_squares(), MODELS["debug"]()
    films.broken = {"film-2.mp4", "film-4.mp4"}
    with pytest.raises(DatasetError, match=r"film-[24].mp4 cannot be .*skip_bad=true takes"):
        pretrain(films, model, recipe(prefetch=prefetch), folder=tmp_path / "no", seed=0)
    for name in ("one", "two"):
        training = recipe(steps=10, prefetch=prefetch)
        pretrain(films, model, training, folder=tmp_path / name, seed=0, skip_bad=True)
    assert "2 videos could not be read and were replaced" in caplog.text
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_where_no_video_can_be_read_nothing_is_skipped(tmp_path: Path) -> None:
    films = moving_squares()
    films.broken = set(films.names)
    with pytest.raises(DatasetError, match=r"None of 5 clips drawn .* look at the data"):
        pretrain(films, MODELS["debug"](), recipe(), folder=tmp_path, seed=0, skip_bad=True)


def test_an_encoder_that_does_not_fit_its_configuration_is_refused(tmp_path: Path) -> None:
    pretrain(moving_squares(), MODELS["debug"](), recipe(), folder=tmp_path, seed=0)
    config = read_json(tmp_path / "config.json")
    assert isinstance(config, dict)
    config["encoder"]["depth"] = 3
    write_json(tmp_path / "config.json", config)
    with pytest.raises(CheckpointError, match=r"missing: encoder\.blocks\.2"):
        load_encoder(tmp_path)
