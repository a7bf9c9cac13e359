"""Training of heads on the frozen latents of a finished world model."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vjepa_gym.learning.checkpoints import JSON, to_json
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.settings import DATA
from vjepa_gym.learning.tasks import step_generator
from vjepa_gym.learning.training import OnStep, TrainingConfig, fit
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.files import facts_of_encoder, save_head
from vjepa_gym.world_models.heads.registry import HEADS, HeadData
from vjepa_gym.world_models.latents import OnProgress
from vjepa_gym.world_models.post_training import LATENTS_FOLDER, frame_latents
from vjepa_gym.world_models.run_facts import facts_of_frames
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

RUNS = "heads"
"""Where the checkpoints and losses of heads are, within the folder of the world model."""
JUDGED = 8
"""Batches that a head is judged by."""


def train_head(
    name: str,
    world_model: VJEPA2AC,
    frames: Frames,
    *,
    folder: Path,
    training: TrainingConfig | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    config: Any = None,
    latents_folder: Path | None = None,
    precision: str = "float32",
    half: bool = False,
    on_encoded: OnProgress | None = None,
    facts: Mapping[str, JSON] | None = None,
) -> nn.Module:
    """Train a head of a world model; continue a training that was stopped.

    Args:
        name: Which of `HEADS`.
        world_model: Finished, on the device that is to compute; it stays as it is.
        frames: Episodes.
        folder: Of the world model: gets the head, and `heads/<name>/` with `losses.csv` and
            `checkpoints/`.
        training: How to train; the head's own way if None.
        seed: Of the weights and the batches.
        on_step: Told of every step.
        config: Sizes of the head; the usual ones if None.
        latents_folder: Where the latents of all frames are kept, for all that learns from the same
            encoder and frames. A folder of its own within `folder` if None.
        precision: In what the encoder computes, see `Frozen.lower`.
        half: Whether to store the head in 16 bits.
        on_encoded: Told of the frames that are encoded beforehand.
        facts: What else the head learns from, in words; see `learning.training.fit`.

    Returns:
        The head, frozen.

    Raises:
        UnknownNameError: There is no kind of head of this name.
        CheckpointError: The weights of the world model were rounded by `lower`, or `heads/<name>`
            holds a head of other sizes or of another encoder.
        DatasetError: No episode is long enough, or the disk too small for the latents.
        TrainingError: The loss is not finite.
    """
    kind, encoder = HEADS[name], facts_of_encoder(world_model)
    training = training or kind.training()
    head = _new_head(kind.module, config or kind.sizes(), world_model, seed)
    latents = frame_latents(
        world_model,
        frames,
        latents_folder or folder / LATENTS_FOLDER,
        precision=precision,
        on_encoded=on_encoded,
    )
    data = facts_of_frames(frames) if current_world().is_first else ""
    fit(
        kind.task(HeadData(latents=latents, frames=frames), head, training),
        training,
        folder=folder / RUNS / name,
        seed=seed,
        device=world_model.device,
        on_step=on_step,
        facts={DATA: data, **(facts or {})},
        identity={"head": to_json(head.config), "encoder": encoder},
    )
    head.eval().requires_grad_(False)
    if current_world().is_first:
        save_head(name, head, folder, world_model, half=half)
    return head


def judge_head(
    name: str,
    head: nn.Module,
    world_model: VJEPA2AC,
    frames: Frames,
    *,
    latents_folder: Path,
    training: TrainingConfig | None = None,
    seed: int = 0,
    precision: str = "float32",
) -> dict[str, float]:
    """Return the loss of a head, and what its training tells besides, on episodes it has not seen.

    Args:
        name: Which of `HEADS`.
        head: The head; it stays as it is.
        world_model: What its latents come from.
        frames: The episodes.
        latents_folder: Where their latents are kept.
        training: How it was trained; the head's own way if None.
        seed: Of the batches.
        precision: In what the encoder computes.

    Raises:
        DatasetError: No episode is long enough.
    """
    kind, copy = HEADS[name], deepcopy(head)
    training = training or kind.training()
    latents = frame_latents(world_model, frames, latents_folder, precision=precision)
    task = kind.task(HeadData(latents=latents, frames=frames), copy, training)
    # A new task fits the scales of poses and actions to its data; a head is judged as it was.
    copy.load_state_dict(head.state_dict())
    sums: dict[str, float] = {}
    for batch in range(1, JUDGED + 1):
        plan = task.plan(batch, JUDGED, step_generator(seed, batch))
        loaded = {
            key: x.to(world_model.device) if isinstance(x, torch.Tensor) else x
            for key, x in task.load(plan, slice(None)).items()
        }
        with torch.no_grad():
            loss, metrics = task.objective(**loaded)
        for key, value in {"loss": loss, **metrics}.items():
            sums[key] = sums.get(key, 0.0) + float(value) / JUDGED
    return sums


def _new_head(
    module: Callable[..., nn.Module], config: Any, world_model: VJEPA2AC, seed: int
) -> Any:
    """Return a head with weights that are a function of `seed`; torch's own chance goes on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return module(config, world_model.config).to(world_model.device)
