"""Latents of whole datasets: computed once by a frozen encoder, and kept on disk."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor, nn

from vjepa_gym.types import Frames
from vjepa_gym.world_models.latent_files import LatentFile, amount, check_room

TOGETHER = 64
"""Frames encoded at once."""
LOOK_EVERY = 1.0
"""How often a process that waits for another's latents looks whether they are there [s]."""

OnProgress = Callable[[int, int], None]
"""Called with the frames that are encoded, and with all."""

logger = logging.getLogger(__name__)


@runtime_checkable
class ImageEncoder(Protocol):
    """What gives the latents of single images, such as a world model."""

    def encode(self, images: UInt8[Tensor, "n height width 3"]) -> Float[Tensor, "n tokens dim"]:
        """Return the latents of images of any size."""
        ...


def encoded(
    encoder: ImageEncoder, frames: Frames, first: int = 0
) -> Iterator[Float[Tensor, "together tokens dim"]]:
    """Yield the latents of all frames from row `first` on, some at a time, in order."""
    for row in range(first, len(frames.images), TOGETHER):
        # Copied, because the images may be a read-only memory map.
        yield encoder.encode(torch.from_numpy(frames.images[row : row + TOGETHER].copy()))


def cached_latents(
    encoder: ImageEncoder,
    modules: Sequence[nn.Module],
    frames: Frames,
    folder: Path,
    *,
    facts: str = "",
    encodes: bool = True,
    on_progress: OnProgress | None = None,
) -> Float16[np.ndarray, "rows tokens dim"]:
    """Return the latents of all frames from a memory map in `folder`, computed the first time.

    Its name tells the encoder and the frames, so that runs may share the folder, and it is given
    only when the file is complete. Encoding that was broken off goes on where it was; nothing is
    ever removed but what this made unfinished. A second run that wants the same waits.

    Args:
        encoder: Encodes.
        modules: What the latents depend on: their weights and buffers are part of the name.
        frames: What is encoded.
        folder: Made if need be.
        facts: Whatever else the latents depend on, in words.
        encodes: Whether this process does it; the others of a run wait for the first.
        on_progress: Told how far it is, if there is something to encode.

    Raises:
        DatasetError: There is too little room on the disk; says how much is needed.
    """
    file = LatentFile(folder, _fingerprint(modules, frames, facts))
    told = False
    while not file.path.exists():
        if encodes and _fill(file, encoder, frames, on_progress):
            break
        if not told:
            logger.info("Waiting for another process to encode into %s.", file.path)
            told = True
        time.sleep(LOOK_EVERY)
    return file.open()


def _fill(
    file: LatentFile, encoder: ImageEncoder, frames: Frames, on_progress: OnProgress | None
) -> bool:
    """Encode what is missing; return False if another process is at it."""
    try:
        with file.alone() as handle:
            if file.path.exists():
                file.drop_leftover()
                return True
            tokens, dim = encoder.encode(torch.from_numpy(frames.images[:1].copy())).shape[1:]
            shape = (len(frames.images), tokens, dim)
            done = file.done(shape)
            needed = check_room(file.path.parent, shape, done)
            logger.info(
                "Encoding %d of %d frames into %s (%s); later runs on the same encoder and data"
                " share it.",
                *(shape[0] - done, shape[0], file.path, amount(needed)),
            )
            file.write(handle, _told(encoder, frames, done, on_progress), shape, done)
    except BlockingIOError:
        return False
    return True


def _told(
    encoder: ImageEncoder, frames: Frames, done: int, on_progress: OnProgress | None
) -> Iterator[Float16[np.ndarray, "together tokens dim"]]:
    """Yield latents in 16 bits, telling how far they are."""
    tell = on_progress or (lambda _done, _total: None)
    total = len(frames.images)
    tell(done, total)
    for part in encoded(encoder, frames, done):
        yield part.half().cpu().numpy()
        done += len(part)
        tell(done, total)


def _fingerprint(modules: Sequence[nn.Module], frames: Frames, facts: str) -> str:
    """Return what tells these latents from others; of the images, a sample is looked at."""
    digest = hashlib.sha256(repr((frames.images.shape, facts)).encode())
    sample = np.linspace(0, len(frames.images) - 1, 64).astype(int)
    for array in (frames.offsets, frames.poses, frames.images[sample]):
        digest.update(np.ascontiguousarray(array).tobytes())
    for module in modules:
        for name, tensor in chain(module.named_parameters(), module.named_buffers()):
            digest.update(f"{name} {tensor.dtype}".encode())
            # As bytes, since NumPy knows no bfloat16.
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return f"latents-{digest.hexdigest()[:16]}"
