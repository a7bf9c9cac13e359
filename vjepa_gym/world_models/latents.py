"""Latents of whole datasets: computed once by a frozen encoder, and kept on disk."""

import hashlib
import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn

from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel

TOGETHER = 64
"""Frames encoded at once."""

logger = logging.getLogger(__name__)


def encoded(
    world_model: WorldModel, frames: Frames
) -> Iterator[Float[Tensor, "together tokens dim"]]:
    """Yield the latents of all frames, some at a time, in order."""
    for row in range(0, len(frames.images), TOGETHER):
        # Copied, because the images may be a read-only memory map.
        yield world_model.encode(torch.from_numpy(frames.images[row : row + TOGETHER].copy()))


def cached_latents(
    world_model: WorldModel, modules: list[nn.Module], frames: Frames, folder: Path
) -> Float16[np.ndarray, "rows tokens dim"]:
    """Return the latents of all frames from a memory map in `folder`, computed the first time.

    Its name tells the encoder and the frames, and it is given only when the file is complete: what
    a killed run leaves is not taken for it. Those of other encoders or frames are removed.

    Args:
        world_model: Encodes.
        modules: What the latents depend on: their weights and buffers are part of the name.
        frames: What is encoded.
        folder: Made if need be.
    """
    path = folder / f"latents-{_fingerprint(modules, frames)}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("latents-*"):
            logger.info("Removing %s, which is unfinished or of other latents.", stale)
            stale.unlink()
        logger.info("Encoding %d frames into %s.", len(frames.images), path)
        partial = path.with_suffix(".partial")
        _write(partial, encoded(world_model, frames), len(frames.images))
        partial.replace(path)
    return np.load(path, mmap_mode="r")


def _write(path: Path, parts: Iterator[Float[Tensor, "together tokens dim"]], rows: int) -> None:
    store, row = None, 0
    for part in parts:
        if store is None:
            shape = (rows, *part.shape[1:])
            store = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        store[row : row + len(part)] = part.cpu().numpy()
        row += len(part)
    if store is not None:
        store.flush()


def _fingerprint(modules: list[nn.Module], frames: Frames) -> str:
    """Return what tells these latents from others; of the images, a sample is looked at."""
    digest = hashlib.sha256(repr(frames.images.shape).encode())
    sample = np.linspace(0, len(frames.images) - 1, 64).astype(int)
    for array in (frames.offsets, frames.poses, frames.images[sample]):
        digest.update(np.ascontiguousarray(array).tobytes())
    for module in modules:
        for name, tensor in chain(module.named_parameters(), module.named_buffers()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
