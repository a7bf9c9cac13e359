"""How a model is trained, whatever it is."""

import math
from dataclasses import dataclass

from vjepa_gym.learning.sharding import Sharding


@dataclass(kw_only=True)
class TrainingConfig:
    """How any model is trained: AdamW; warm-up, constant, decay."""

    steps: int = 4000
    """Steps of the optimiser."""
    batch_size: int = 64
    """Clips in a batch, over all processes."""
    accumulate: int = 1
    """Parts in which a process computes its share of a batch, one by one, to save memory."""
    learning_rate: float = 1e-3
    """Learning rate between warm-up and decay."""
    start_rate: float = 0.0
    """Learning rate at the first step, as a part of `learning_rate`."""
    final_rate: float = 0.0
    """Learning rate at the last step, as a part of `learning_rate`."""
    warmup: float = 0.05
    """Part of the steps in which the learning rate rises."""
    decay: float = 0.2
    """Part of the steps, at the end, in which it falls."""
    weight_decay: float = 0.04
    """AdamW's; biases and norms are spared."""
    final_weight_decay: float | None = None
    """What it is at the last step, along half a cosine; `weight_decay` all along if None."""
    clip_gradients: float | None = None
    """Largest norm of the gradient, which is scaled down to it; of any length if None."""
    checkpoint_every: int = 250
    """Steps between checkpoints; a kill loses at most these."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept, newest first."""
    log_every: int = 10
    """Steps between rows of `losses.csv`."""
    bfloat16: bool = False
    """Whether to compute in bfloat16 where that is safe; slower than float32 on most CPUs."""
    sharding: Sharding = Sharding.replicate
    """What each process of several holds: all weights (DDP), or a share of them (FSDP2)."""
    activation_checkpointing: bool = False
    """Whether to compute activations again in the backward pass, which takes a third more time and
    a fraction of the memory."""
    compile: bool = False
    """Whether to compile the transformer blocks; takes minutes at the start."""
    prefetch: int = 2
    """Batches that are loaded ahead, in a thread; 0 loads each when it is needed."""
    collapse_below: float = 0.02
    """Deviation of latents between samples under which they count as collapsed."""
    collapse_patience: int = 200
    """Steps in a row that they may be so before training stops."""

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "accumulate", "checkpoint_every", "keep_checkpoints")
        for name in (*positive, "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.final_weight_decay is not None and not self.final_weight_decay >= 0:
            raise ValueError(f"final_weight_decay must be 0 or more, got {self.final_weight_decay}")
        if self.clip_gradients is not None and not self.clip_gradients > 0:
            raise ValueError(
                f"clip_gradients must be positive, got {self.clip_gradients}; leave it out, and"
                " gradients are of any length"
            )
        if self.prefetch < 0:
            raise ValueError(f"prefetch must be 0 or more, got {self.prefetch}")
        if self.warmup < 0 or self.decay < 0 or self.warmup + self.decay > 1:
            raise ValueError(
                f"warmup and decay are parts of the training, together at most 1; got"
                f" {self.warmup} and {self.decay}"
            )

    def rate_at(self, done: float) -> float:
        """Return the learning rate when a part `done` of the steps, in [0, 1], is over."""
        if done < self.warmup:
            part = self.start_rate + (1 - self.start_rate) * done / self.warmup
        elif done > 1 - self.decay:
            part = self.final_rate + (1 - self.final_rate) * (1 - done) / self.decay
        else:
            part = 1.0
        return self.learning_rate * part

    def weight_decay_at(self, done: float) -> float:
        """Return the weight decay when a part `done` of the steps, in [0, 1], is over."""
        if self.final_weight_decay is None:
            return self.weight_decay
        left = 0.5 * (1 + math.cos(math.pi * done))
        return self.final_weight_decay + (self.weight_decay - self.final_weight_decay) * left
