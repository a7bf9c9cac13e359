"""Decodes a dataset into the files of a cache; see `cache` for what they are."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from vjepa_gym.datasets.caching.growing_array import GrowingArray
from vjepa_gym.datasets.caching.in_order import in_order
from vjepa_gym.datasets.caching.packed_jpeg import JpegWriter, encode
from vjepa_gym.datasets.caching.recordings import Recordings
from vjepa_gym.datasets.caching.room import choose_packing
from vjepa_gym.datasets.sampling.times import clock_rows
from vjepa_gym.datasets.storage.staging import Staging, publish
from vjepa_gym.errors import DatasetError
from vjepa_gym.images import resize
from vjepa_gym.types import Episode

FORMAT = 2
"""Raised whenever the same dataset would give other bytes."""
SAMPLE = 16
"""Frames by which the size of JPEG is judged."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Decoded:
    """One episode as it goes into the cache: pixels or JPEG of each view."""

    images: Mapping[str, Any]
    poses: Float32[np.ndarray, "rows 7"]
    times: Float64[np.ndarray, " rows"]


class Plan:
    """What is decoded, and how."""

    def __init__(
        self,
        there: Recordings,
        shape: tuple[int, int] | None,
        stride: int,
        views: tuple[str, ...],
        hz: float | None = None,
    ) -> None:
        self._there, self._shape, self._stride, self._views = there, shape, stride, views
        self._hz = hz

    def packing(self, asked: str) -> str:
        """Return how frames will be kept, judging by the first episode what they need."""
        first = self._there.read(self._there.folders[0], self._views)
        rows = sum(len(range(0, rows, self._stride)) for rows in self._there.rows())
        if self._hz is not None:
            rows = rows * len(first.times[self._kept(first.times)]) // len(first.times)
        raw = jpeg = 0
        for view in self._views:
            images = self._image(first, view)
            sample = images[:: max(1, len(images) // SAMPLE)]
            raw += rows * images[0].size
            jpeg += rows * sum(map(len, encode(sample))) // len(sample)
        return choose_packing(asked, self._there.root.parent, raw=raw, jpeg=jpeg)

    def build(self, target: Path, packing: str, workers: int, on_progress: Progress) -> None:
        """Decode everything into `target`."""
        staging = Staging(self._there.root.with_name(f"{self._there.root.name}.staging"))
        staging.sweep()
        with staging.folder("cache") as folder:
            self._write(folder, packing, workers, on_progress)
            with staging.lock():
                # Another process may have built the same meanwhile.
                if not target.is_dir():
                    publish(folder, target, target.parent)

    def _write(self, folder: Path, packing: str, workers: int, on_progress: Progress) -> None:
        poses, times, offsets = [], [], [0]
        with ExitStack() as files:
            writers = {
                view: files.enter_context(
                    GrowingArray(folder / f"{view}.npy")
                    if packing == "raw"
                    else JpegWriter(folder / f"{view}.jpeg")
                )
                for view in self._views
            }
            for episode in self._decoded(packing, workers):
                for view, writer in writers.items():
                    writer.append(episode.images[view])
                poses.append(episode.poses)
                times.append(episode.times)
                offsets.append(offsets[-1] + len(episode.poses))
                on_progress(len(poses), len(self._there))
        np.save(folder / "poses.npy", np.concatenate(poses))
        np.save(folder / "times.npy", np.concatenate(times))
        np.save(folder / "offsets.npy", np.array(offsets, np.int64))
        meta = {
            "format": FORMAT,
            "packing": packing,
            "size": self._shape,
            "stride": self._stride,
            **({} if self._hz is None else {"hz": self._hz}),
            "views": self._views,
            "names": self._there.names,
        }
        (folder / "meta.json").write_text(json.dumps(meta) + "\n", encoding="utf-8")

    def _decoded(self, packing: str, workers: int) -> Iterator[_Decoded]:
        sizes: dict[str, tuple[int, ...]] = {}

        def decode(folder: Path) -> _Decoded:
            episode = self._there.read(folder, self._views)
            images = {view: self._image(episode, view) for view in self._views}
            for view, found in images.items():
                if found.shape[1:] != sizes.setdefault(view, found.shape[1:]):
                    height, width = sizes[view][:2]
                    raise DatasetError(
                        f"{folder}: the video of {view!r} has {found.shape[1]} x {found.shape[2]} "
                        f"px, others {height} x {width}; give a size that all are brought to."
                    )
            kept = self._kept(episode.times)
            return _Decoded(
                images if packing == "raw" else {v: encode(i) for v, i in images.items()},
                episode.poses[kept],
                episode.times[kept],
            )

        return in_order(decode, self._there.folders, workers)

    def _image(self, episode: Episode, view: str) -> UInt8[np.ndarray, "rows height width 3"]:
        images = episode.images[view][self._kept(episode.times)]
        return images if self._shape is None else resize(images, self._shape)

    def _kept(self, times: Float64[np.ndarray, " rows"]) -> slice | Int64[np.ndarray, " kept"]:
        """Return which rows of an episode are kept."""
        return slice(None, None, self._stride) if self._hz is None else clock_rows(times, self._hz)
