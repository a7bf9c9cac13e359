"""Decoded frames of a whole dataset in memory-mapped arrays: what training reads.

    <root>.cache/<key>/{images.npy, poses.npy, offsets.npy, meta.json}

The key is a digest of what the dataset holds, the size and the camera, so that a stale cache is
never found. It may be deleted at any time.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from vjepa_gym.datasets import droid
from vjepa_gym.datasets.staging import publish
from vjepa_gym.datasets.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.images import resize
from vjepa_gym.types import Frames

FORMAT = 1
"""Raised whenever the same dataset would give other bytes."""
Progress = Callable[[int, int], None]


def _ignore(done: int, total: int) -> None:
    pass


def open_frames(
    store: EpisodeStore,
    *,
    size: int,
    camera: str = "left",
    workers: int = 1,
    on_progress: Progress = _ignore,
) -> Frames:
    """Return all frames of one camera, decoding them first if that was not done before.

    Args:
        store: The dataset.
        size: Height and width of the frames [px]; `images.resize` makes them.
        camera: Whose frames.
        workers: Threads that decode.
        on_progress: Called with the number of episodes decoded, and of all.

    Raises:
        DatasetError: There is no episode, no such camera, or a file is damaged.
    """
    if not len(store):
        raise DatasetError(f"{store.root}: no episode; expected {store.root / 'index.jsonl'}.")
    folder = _folder(store, size, camera)
    if not folder.is_dir():
        _build(store, folder, size, camera, workers, on_progress)
    return Frames(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        poses=np.load(folder / "poses.npy", mmap_mode="r"),
        offsets=np.load(folder / "offsets.npy"),
    )


def _folder(store: EpisodeStore, size: int, camera: str) -> Path:
    content = [(entry.index, entry.digest) for entry in store.entries()]
    text = json.dumps([FORMAT, size, camera, content])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return store.root.with_name(f"{store.root.name}.cache") / key


def _build(
    store: EpisodeStore, target: Path, size: int, camera: str, workers: int, on_progress: Progress
) -> None:
    entries = store.entries()
    offsets = np.cumsum([0] + [entry.rows for entry in entries], dtype=np.int64)
    with store.staging.folder("cache") as folder:
        shape = (int(offsets[-1]), size, size, 3)
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        poses = np.empty((len(images), 7), np.float32)
        episodes = _decode([store.folder(entry) for entry in entries], size, camera, workers)
        for done, (frames, measured) in enumerate(episodes):
            rows = slice(offsets[done], offsets[done + 1])
            images[rows], poses[rows] = frames, measured
            on_progress(done + 1, len(entries))
        images.flush()
        np.save(folder / "poses.npy", poses)
        np.save(folder / "offsets.npy", offsets)
        meta = {"format": FORMAT, "size": size, "camera": camera, "episodes": len(entries)}
        (folder / "meta.json").write_text(json.dumps(meta) + "\n", encoding="utf-8")
        with store.staging.lock():
            # Another process may have built the same meanwhile.
            if not target.is_dir():
                publish(folder, target, target.parent)


def _decode(
    folders: Sequence[Path], size: int, camera: str, workers: int
) -> Iterator[tuple[UInt8[np.ndarray, "rows size size 3"], Float32[np.ndarray, "rows 7"]]]:
    decode = partial(_decode_one, size=size, camera=camera)
    if workers == 1:
        yield from map(decode, folders)
        return
    # Threads suffice: FFmpeg and the resizing run outside Python's lock.
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(decode, folders)


def _decode_one(
    folder: Path, size: int, camera: str
) -> tuple[UInt8[np.ndarray, "rows size size 3"], Float32[np.ndarray, "rows 7"]]:
    images, poses = droid.read_frames(folder, camera)
    return resize(images, size), poses
