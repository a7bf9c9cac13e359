"""Where the metrics of a training go: part of the configuration of each job that trains."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class WatchConfig:
    """Where the metrics of a training go, besides `losses.csv` and `curves.png` in its folder."""

    tensorboard: bool = True
    """Whether to write them for TensorBoard as well: `tensorboard --logdir <folder>`."""
    wandb: str = ""
    """Project of Weights & Biases that they are sent to; empty sends nothing. Needs the extra
    `wandb`; `WANDB_MODE=offline` keeps them here."""
