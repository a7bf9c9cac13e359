"""What fine-tuning takes: the arithmetic behind "a GPU of 24 GB must do", and that it is right.

Sizes are counted on tensors without data (torch's device `meta`), so that the largest models can be
looked at anywhere; docs/fine_tuning.md has the sums.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from post_training_cases import some_model, walks
from torch import Tensor, nn

from vjepa_gym.learning.training import fit
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.post_training_config import POST_TRAINING, PostTrainingConfig
from vjepa_gym.world_models.post_training_task import PostTraining
from vjepa_gym.world_models.presets import MODELS, debug
from vjepa_gym.world_models.rollout_loss import prediction_losses
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

GB = 1e9
TOKENS = 256


def weights_of(module: nn.Module) -> int:
    return sum(x.numel() for x in module.parameters())


@contextmanager
def counted(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the bytes that autograd keeps for the backward pass, each memory once."""
    own = {x.untyped_storage()._cdata for x in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        memory = x.untyped_storage()
        if memory._cdata not in own:
            kept[memory._cdata] = memory.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield lambda: sum(kept.values())


@pytest.fixture(scope="module")
def largest() -> tuple[VisionTransformer, ACPredictor]:
    """ViT-g and the predictor on top of it, without data."""
    model = MODELS["vit_g"]()
    with torch.device("meta"):
        encoder = VisionTransformer(model.encoder)
        predictor = ACPredictor(model.ac_predictor, model.encoder.width)
    return encoder, predictor.bfloat16()


def activations(predictor: ACPredictor, training: PostTrainingConfig, clips: int) -> int:
    """Return what is kept for the backward pass of so many clips, computed in bfloat16 [bytes]."""
    predictor.checkpointing = training.activation_checkpointing
    width = predictor.predictor_embed.in_features
    empty: dict[str, Any] = {"device": "meta", "dtype": torch.bfloat16}
    latents = torch.empty(clips, training.frames, TOKENS, width, **empty)
    poses = torch.empty(clips, training.frames, 7, **empty)
    with counted(predictor) as count:
        losses = prediction_losses(predictor, latents, poses, poses[:, 1:])
        total = count()
        del losses
    return total


def test_weights_gradients_and_optimiser_are_what_the_recipe_says(
    largest: tuple[VisionTransformer, ACPredictor],
) -> None:
    encoder, predictor = largest
    assert weights_of(encoder) * 2 / GB == pytest.approx(2.02, abs=0.01)  # frozen, bfloat16
    # Weights, gradients and AdamW's two means, in float32.
    assert weights_of(predictor) * 4 * 4 / GB == pytest.approx(4.88, abs=0.01)


def test_the_largest_encoder_fits_24_gb(largest: tuple[VisionTransformer, ACPredictor]) -> None:
    encoder, predictor = largest
    training = POST_TRAINING["fine_tune_24gb"]()
    clips = training.batch_size // training.accumulate
    assert (clips, training.frames, training.bfloat16) == (8, 8, True)
    kept = activations(predictor, training, clips)
    assert kept / GB == pytest.approx(1.20, abs=0.05)
    # The blocks are computed again one at a time; at worst attention is written out in full.
    training.activation_checkpointing = False
    block = activations(predictor, training, clips) / predictor.config.depth
    assert block / GB < 2.7
    # The encoder may even be in float32.
    whole = 4 * weights_of(encoder) + 16 * weights_of(predictor) + kept + block
    assert whole / GB < 13.5


def test_accumulation_divides_the_memory(largest: tuple[VisionTransformer, ACPredictor]) -> None:
    training = POST_TRAINING["fine_tune_24gb"]()
    one, two = (activations(largest[1], training, clips) for clips in (4, 8))
    assert two / one == pytest.approx(2, abs=0.05)


def test_sixteen_frames_take_twice_as_much(largest: tuple[VisionTransformer, ACPredictor]) -> None:
    training = POST_TRAINING["fine_tune_24gb"]()
    short = activations(largest[1], training, 8)
    training.frames = 16
    assert activations(largest[1], training, 8) / short == pytest.approx(1.95, abs=0.1)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_checkpointing_keeps_a_fraction_and_gives_the_same_gradients(bfloat16: bool) -> None:
    model = debug()
    model.ac_predictor.depth = 8
    frames = walks()
    found: list[tuple[int, Tensor]] = []
    for wanted in (False, True):
        training = PostTrainingConfig(batch_size=4, activation_checkpointing=wanted)
        world_model = some_model(model)
        task = PostTraining(frames, world_model, training)
        task.latents = np.random.default_rng(0).normal(size=(36, 16, 24)).astype(np.float16)
        batch = task.load(task.plan(1, 1, torch.Generator().manual_seed(0)), slice(None))
        with (
            counted(task.objective) as count,
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            loss, _ = task.objective(**batch)
            kept = count()
        loss.backward()
        gradients = [x.grad for x in task.objective.parameters() if x.grad is not None]
        found.append((kept, torch.cat([x.flatten() for x in gradients])))
    (plain, expected), (checkpointed, gradient) = found
    assert checkpointed < 0.3 * plain
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6)


@pytest.mark.gpu
def test_a_step_of_the_recipe_stays_within_24_gb(tmp_path: Path) -> None:
    model = MODELS["vit_g"]()
    with torch.device("cuda"):
        encoder = VisionTransformer(model.encoder)
        predictor = ACPredictor(model.ac_predictor, model.encoder.width)
    world_model = VJEPA2AC(model, encoder, predictor)
    training = POST_TRAINING["fine_tune_24gb"]()
    training.steps, training.checkpoint_every = 2, 100
    frames = walks(episodes=2, rows=10)
    task = PostTraining(frames, world_model, training)
    task.latents = np.random.default_rng(0).normal(size=(20, TOKENS, 1408)).astype(np.float16)
    torch.cuda.reset_peak_memory_stats()
    fit(task, training, folder=tmp_path, seed=0, device="cuda")
    assert torch.cuda.max_memory_reserved() / GB < 22
