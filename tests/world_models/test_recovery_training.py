"""Whole trainings with recovery beside masked prediction."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from films import moving_squares
from recovery_cases import recipe, recovering, seen_hand

from vjepa_gym.errors import TrainingError
from vjepa_gym.learning.checkpoints import load_weights, read_json
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.pretraining import load_encoder, pretrain
from vjepa_gym.world_models.pretraining_config import PretrainingConfig
from vjepa_gym.world_models.recovery import POSE_ERROR
from vjepa_gym.world_models.vjepa2 import VJEPA2


def run(
    folder: Path, training: PretrainingConfig | None = None, on_step: Callable | None = None
) -> None:
    pretrain(
        moving_squares(),
        debug(),
        training or recipe(jitter=0.2),
        folder=folder,
        seed=3,
        on_step=on_step,
        episodes=seen_hand(),
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_is_kept_is_an_encoder_and_its_predictor_and_nothing_of_the_head(
    tmp_path: Path,
) -> None:
    told: list[dict[str, float]] = []
    run(tmp_path, on_step=lambda step, total, metrics: told.append(metrics))
    assert {"loss", "masked", "recovery", POSE_ERROR} <= told[0].keys()
    assert told[0]["loss"] == pytest.approx(told[0]["masked"] + told[0]["recovery"], rel=1e-5)
    names = {name.split(".")[0] for name in load_weights(tmp_path)}
    assert names == {"encoder", "predictor"}
    assert load_encoder(tmp_path)[1] == debug()
    assert VJEPA2.load(tmp_path).predictor is not None
    assert read_json(tmp_path / "training.json") == {"step": 4, "steps": 4}


def test_a_run_that_was_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == 5:
            raise Killed

    training = recipe(jitter=0.2, steps=8, checkpoint_every=3)
    run(tmp_path / "whole", training)
    with pytest.raises(Killed):
        run(tmp_path / "killed", training, kill)
    assert read_json(tmp_path / "killed/training.json") == {"step": 3, "steps": 8}
    run(tmp_path / "killed", training)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_nothing_is_masked_in_the_first_steps_if_that_is_wished(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    training = recipe(recovery=recovering(alone=0.5))
    run(tmp_path, training, lambda step, total, metrics: told.append(metrics))
    assert ["masked" in metrics for metrics in told] == [False, False, True, True]
    assert all(metrics["recovery"] > 0 for metrics in told)
    assert told[0]["loss"] == pytest.approx(told[0]["recovery"])


def test_a_batch_may_be_computed_in_parts(tmp_path: Path) -> None:
    seen: dict[int, list[float]] = {}
    for parts in (1, 2):
        losses = seen.setdefault(parts, [])
        run(
            tmp_path / str(parts),
            recipe(accumulate=parts),
            lambda step, total, metrics, losses=losses: losses.append(metrics["loss"]),
        )
    assert seen[1] == pytest.approx(seen[2], abs=1e-3)
    with pytest.raises(TrainingError, match="6 episodes of recovery cannot be shared out"):
        run(tmp_path / "uneven", recipe(accumulate=4, recovery=recovering(episodes=6)))


def test_the_encoder_is_another_than_without_it(tmp_path: Path) -> None:
    run(tmp_path / "with", recipe())
    run(tmp_path / "without", recipe(recovery=recovering(weight=0.0)))
    pairs = [load_weights(tmp_path / name) for name in ("with", "without")]
    assert not pairs[0]["encoder.blocks.0.attn.qkv.weight"].equal(
        pairs[1]["encoder.blocks.0.attn.qkv.weight"]
    )


def test_a_term_without_weight_changes_nothing_and_needs_no_episodes(tmp_path: Path) -> None:
    off = recipe(recovery=recovering(weight=0.0))
    run(tmp_path / "given", off)
    pretrain(moving_squares(), debug(), off, folder=tmp_path / "none", seed=3)
    assert contents(tmp_path / "given") == contents(tmp_path / "none")


def test_a_recipe_with_recovery_needs_episodes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs episodes with poses: pass episodes="):
        pretrain(moving_squares(), debug(), recipe(), folder=tmp_path / "run", seed=0)
    assert not (tmp_path / "run").exists()


def test_the_dense_loss_of_images_and_videos_goes_with_it(tmp_path: Path) -> None:
    model = debug()
    shared = {"levels": 2, "image_tokens": True}
    model = replace(
        model,
        encoder=replace(model.encoder, **shared),
        predictor=replace(model.predictor, dense=True, **shared),
    )
    told: list[dict[str, float]] = []
    pretrain(
        moving_squares(),
        model,
        recipe(context_weight=0.5, steps=2, batch_size=8),
        folder=tmp_path,
        seed=0,
        images=moving_squares(episodes=3, rows=1),
        episodes=seen_hand(),
        on_step=lambda step, total, metrics: told.append(metrics),
    )
    assert {"masked_loss", "context_loss", "recovery"} <= told[0].keys()
