"""Recipes of pretraining by name: for tests, for two cores, for one GPU, and the published ones.

The numbers of published recipes are those of the public configurations: V-JEPA 2
(`configs/train/vitl16`), V-JEPA 2.1 (`configs/train_2_1/vitl16`), both of facebookresearch/vjepa2;
V-JEPA (facebookresearch/jepa, `configs/pretrain/vitl16.yaml`); I-JEPA (facebookresearch/ijepa,
`configs/in1k_vith14_ep300.yaml`). An epoch there is 300 steps of all GPUs together.
"""

from collections.abc import Callable

from vjepa_gym.world_models.masking import (
    ijepa_masks,
    published_image_masks,
    small_grid_masks,
)
from vjepa_gym.world_models.pretraining_config import Difference, PretrainingConfig, Schedule
from vjepa_gym.world_models.recovery import RecoveryConfig


def tiny() -> PretrainingConfig:
    """Return what the model `tiny` was trained with on two cores: short clips, a 4 x 4 grid."""
    return PretrainingConfig(
        frames=4, masks=small_grid_masks(), ema_start=0.99, ema_end=0.999, steps=3000
    )


def tiny_128() -> PretrainingConfig:
    """Return a recipe for the model `tiny_128` on two cores: data must have poses.

    Batches are small, since early on a step of few samples is worth as much as one of many. The
    recovery of poses is what makes it see the hand soon, and masks come late (docs/results.md).
    """
    return PretrainingConfig(
        frames=4,
        masks=small_grid_masks(),
        ema_start=0.99,
        ema_end=0.999,
        steps=18_000,
        warmup=0.01,
        batch_size=4,
        decay=0.3,
        clip_gradients=5.0,
        jitter=0.2,
        recovery=RecoveryConfig(weight=1.0, alone=0.8, warp=0.12, episodes=12, views=4, pairs=6),
        checkpoint_every=1000,
    )


def tiny_21() -> PretrainingConfig:
    """Return `tiny` with the dense loss of V-JEPA 2.1, for the model `tiny_21`."""
    return PretrainingConfig(
        frames=4,
        masks=small_grid_masks(),
        image_masks=small_grid_masks(),
        ema_start=0.99,
        ema_end=0.999,
        steps=3000,
        context_weight=0.5,
        context_warmup=[0.05, 0.10],
    )


def debug() -> PretrainingConfig:
    """Return four steps, for tests."""
    return PretrainingConfig(
        frames=4, masks=small_grid_masks(), steps=4, batch_size=4, checkpoint_every=2, log_every=1
    )


def small() -> PretrainingConfig:
    """Return what one GPU does in a day: the published recipe in short, for robot video.

    No crops and no mirroring, so that what is where in metres stays in the features.
    """
    return PretrainingConfig(
        steps=50_000,
        batch_size=128,
        learning_rate=5e-4,
        start_rate=0.2,
        final_rate=0.002,
        decay=0.1,
        ema_start=0.998,
        ema_end=0.9998,
        bfloat16=True,
        checkpoint_every=1000,
        readers=8,
    )


def published() -> PretrainingConfig:
    """Return V-JEPA 2 (arXiv 2506.09985): 240 k steps of 16 frames, 12 k of 64 at 384 px.

    Images, if any, are videos of 16 equal frames, a quarter of the mixture.
    """
    return PretrainingConfig(
        steps=252_000,
        batch_size=3072,
        learning_rate=5.25e-4,
        start_rate=1e-4 / 5.25e-4,
        final_rate=1e-6 / 5.25e-4,
        warmup=12 / 252,
        decay=12 / 252,
        fps=4.0,
        mask_token_each=False,
        random_crop=True,
        random_flip=True,
        cooldown_frames=64,
        cooldown_image_size=384,
        image_frames=16,
        bfloat16=True,
        activation_checkpointing=True,
        checkpoint_every=1000,
        readers=8,
    )


def vjepa_21() -> PretrainingConfig:
    """Return V-JEPA 2.1 (arXiv 2603.14482): 300 k steps of 16 frames, 12 k of 64, a dense loss.

    Half of the GPUs have 72 images each and half 48 videos, and gradients are averaged over GPUs:
    six tenths of a batch are images, and half of the loss. In the cooldown all visible tokens count
    alike.
    """
    return PretrainingConfig(
        steps=312_000,
        batch_size=7680,
        learning_rate=6e-4,
        start_rate=1e-4 / 6e-4,
        final_rate=1e-6 / 6e-4,
        warmup=12 / 312,
        decay=12 / 312,
        fps=4.0,
        mask_token_each=False,
        random_crop=True,
        random_flip=True,
        context_weight=0.5,
        context_warmup=[15 / 312, 30 / 312],
        cooldown_by_distance=False,
        cooldown_frames=64,
        image_share=0.6,
        image_weight=0.5,
        image_masks=published_image_masks(),
        bfloat16=True,
        activation_checkpointing=True,
        checkpoint_every=1000,
        readers=8,
    )


def vjepa() -> PretrainingConfig:
    """Return V-JEPA (arXiv 2404.08471): 90 k steps, every fourth frame of a video, a cosine.

    The schedules, of the weight decay too, are 1.25 times as long as the training. The public code
    clips the gradients of encoder and predictor apart, from the end of the warm-up on; here they
    are clipped together, and always.
    """
    return PretrainingConfig(
        steps=90_000,
        batch_size=3072,
        learning_rate=6.25e-4,
        start_rate=2e-4 / 6.25e-4,
        final_rate=1e-6 / 6.25e-4,
        warmup=12 / 90,
        decay=0.0,
        final_weight_decay=0.4,
        clip_gradients=10.0,
        schedule=Schedule.cosine,
        stretch=1.25,
        ema_start=0.998,
        ema_end=0.998 + 0.002 / 1.25,
        stride=4,
        random_crop=True,
        random_flip=True,
        bfloat16=True,
        checkpoint_every=1000,
        readers=8,
    )


def ijepa() -> PretrainingConfig:
    """Return I-JEPA (arXiv 2301.08243): 300 epochs of ImageNet, one frame, four targets."""
    return PretrainingConfig(
        steps=187_500,
        batch_size=2048,
        learning_rate=1e-3,
        start_rate=0.2,
        final_rate=1e-3,
        warmup=40 / 300,
        decay=0.0,
        final_weight_decay=0.4,
        schedule=Schedule.cosine,
        difference=Difference.smooth_l1,
        ema_start=0.996,
        ema_end=1.0,
        frames=1,
        masks=ijepa_masks(),
        random_crop=True,
        crop_aspect=[3 / 4, 4 / 3],
        bfloat16=True,
        checkpoint_every=1000,
        readers=8,
    )


PRETRAINING: dict[str, Callable[[], PretrainingConfig]] = {
    "debug": debug,
    "tiny": tiny,
    "tiny_128": tiny_128,
    "tiny_21": tiny_21,
    "small": small,
    "published": published,
    "vjepa_21": vjepa_21,
    "vjepa": vjepa,
    "ijepa": ijepa,
}
"""Recipes by name."""
