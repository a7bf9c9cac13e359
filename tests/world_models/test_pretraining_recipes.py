"""Recipes: the published numbers, and what cannot be."""

from dataclasses import replace

import numpy as np
import pytest

from vjepa_gym.world_models.masking import small_grid_masks
from vjepa_gym.world_models.pretraining_config import Schedule
from vjepa_gym.world_models.pretraining_presets import PRETRAINING


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 0},
        {"stride": 0},
        {"fps": 0.0},
        {"readers": 0},
        {"masks": []},
        {"ema_start": 1.1},
        {"ema_end": -0.1},
        {"context_weight": -1.0},
        {"context_warmup": [0.5, 0.2]},
        {"image_share": 0.0},
        {"image_weight": 1.0},
        {"crop_scale": [0.0, 1.0]},
        {"crop_aspect": [2.0, 1.0]},
        {"cooldown_frames": 8, "decay": 0.0},
        {"stretch": 0.5},
        {"jitter": -0.1},
        {"jitter": 1.0},
    ],
)
def test_impossible_recipes_are_refused_by_the_names_of_their_fields(changes: dict) -> None:
    with pytest.raises(ValueError, match=min(changes).split("_")[0]):
        replace(PRETRAINING["debug"](), **changes)


def test_the_published_recipe_is_that_of_the_public_configuration() -> None:
    published = PRETRAINING["published"]()
    assert published.rate_at(0.0) == pytest.approx(1e-4)
    assert published.rate_at(12 / 252) == published.rate_at(240 / 252) == pytest.approx(5.25e-4)
    assert published.rate_at(1.0) == pytest.approx(1e-6)
    assert (published.ema_start, published.ema_end) == (0.99925, 0.99925)
    assert published.weight_decay == 0.04
    assert (published.frames, published.fps, published.cooldown_frames) == (16, 4.0, 64)
    assert not published.cooling(240_000, published.steps)
    assert published.cooling(240_001, published.steps)


def test_tiny_is_what_the_shipped_weights_were_trained_by() -> None:
    tiny = PRETRAINING["tiny"]()
    assert tiny.masks == small_grid_masks()
    assert (tiny.frames, tiny.stride, tiny.steps, tiny.batch_size) == (4, 1, 3000, 64)
    assert (tiny.ema_start, tiny.ema_end, tiny.learning_rate) == (0.99, 0.999, 1e-3)
    assert (tiny.random_crop, tiny.random_flip, tiny.mask_token_each) == (False, False, True)


def test_tiny_128_recovers_actions_from_small_batches_whose_colours_differ() -> None:
    recipe = PRETRAINING["tiny_128"]()
    assert recipe.masks == small_grid_masks()
    assert recipe.batch_size <= 8
    assert (recipe.random_crop, recipe.random_flip, recipe.mask_token_each) == (False, False, True)
    assert recipe.jitter > 0
    assert recipe.recovery.weight > 0


@pytest.mark.parametrize("name", sorted(set(PRETRAINING) - {"tiny_128"}))
def test_labels_and_colours_are_left_alone_but_for_one(name: str) -> None:
    training = PRETRAINING[name]()
    assert (training.jitter, training.recovery.weight) == (0.0, 0.0)


def test_episodes_of_recovery_are_shared_out_among_two_or_four_parts_of_a_batch() -> None:
    tiny = PRETRAINING["tiny_128"]()
    for parts in (2, 4):
        assert tiny.batch_size % parts == tiny.recovery.episodes % parts == 0


def test_the_dense_loss_of_the_21_recipe_comes_in_between_15_and_30_thousand_steps() -> None:
    training = PRETRAINING["vjepa_21"]()
    weights = [training.context_weight_at(step / 312_000) for step in (0, 15e3, 22.5e3, 30e3, 3e5)]
    assert weights == pytest.approx([0.0, 0.0, 0.25, 0.5, 0.5])
    assert training.rate_at(0.5) == pytest.approx(6e-4)
    clips, images = 0.4 * training.batch_size, 0.6 * training.batch_size
    assert (clips, images) == (3072, 4608)


def test_v_jepa_and_i_jepa_follow_a_cosine_that_is_stretched() -> None:
    vjepa, ijepa = PRETRAINING["vjepa"](), PRETRAINING["ijepa"]()
    assert vjepa.schedule is ijepa.schedule is Schedule.cosine
    assert vjepa.rate_at(0.0) == pytest.approx(2e-4)
    assert vjepa.rate_at(12 / 90) == pytest.approx(6.25e-4)
    # After 78 k of 100.5 k steps of the whole cosine.
    part = 0.5 * (1 + np.cos(np.pi * 78 / 100.5))
    assert vjepa.rate_at(1.0) == pytest.approx(1e-6 + (6.25e-4 - 1e-6) * part)
    assert ijepa.rate_at(1.0) == pytest.approx(1e-6)
    assert vjepa.ema_start + (vjepa.ema_end - vjepa.ema_start) * 0.5 == pytest.approx(0.9988)


@pytest.mark.parametrize("name", PRETRAINING)
def test_crops_and_mirrors_are_off_but_for_published_recipes(name: str) -> None:
    training = PRETRAINING[name]()
    public = name in ("published", "vjepa_21", "vjepa", "ijepa")
    assert training.random_crop is public
    assert training.random_flip is (public and name != "ijepa")
