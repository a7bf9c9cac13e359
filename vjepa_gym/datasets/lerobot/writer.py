"""Writes a LeRobot v3.0 dataset, each episode in files of its own, `info.json` last."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_gym.datasets.droid.layout import DroidFolder
from vjepa_gym.datasets.droid.writing import header_rate
from vjepa_gym.datasets.lerobot import format as names
from vjepa_gym.datasets.lerobot import stats
from vjepa_gym.datasets.lerobot.kept import folder_of, write_kept
from vjepa_gym.datasets.lerobot.parquet import write_columns, write_records, write_tasks
from vjepa_gym.datasets.lerobot.rows import columns_of, views_of
from vjepa_gym.datasets.lerobot.video import describe, header_of
from vjepa_gym.datasets.video.copying import remux
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

RECORDS_IN_FILE = 1000
"""Descriptions of episodes are written out by the thousand, so that memory holds no more."""


class LeRobotWriter:
    """Adds episodes one by one; nothing can be read before `finish`."""

    def __init__(self, root: Path) -> None:
        """Begin a dataset in an empty folder."""
        self._root = root
        self._episodes = self._rows = 0
        self._tasks: dict[str, int] = {}
        self._records: list[dict[str, Any]] = []
        self._totals: dict[str, stats.Statistics] = {}
        self._rate = Fraction(0)
        self._features: dict[str, Any] = {}

    def add(self, folder: DroidFolder, episode: Episode) -> None:
        """Write one episode.

        Args:
            folder: Where it lies.
            episode: What was read from there; its cameras are written.

        Raises:
            DatasetError: It is damaged, or has another rate or image size than those before.
        """
        views = {
            camera: view for camera, view in views_of(folder).items() if camera in episode.images
        }
        rate = self._check(folder, episode, views)
        number, rows = self._episodes, len(episode.poses)
        columns = {
            **columns_of(folder, episode, views, rate),
            "episode_index": np.full(rows, number),
            "index": np.arange(self._rows, self._rows + rows),
            names.TASK: np.full(rows, self._tasks.setdefault(episode.task, len(self._tasks))),
        }
        write_columns(self._root / names.DATA.format(**names.place(number)), columns)
        for camera, view in views.items():
            video = names.VIDEO.format(video_key=names.IMAGES + view, **names.place(number))
            (self._root / video).parent.mkdir(parents=True, exist_ok=True)
            remux(folder.video(camera), self._root / video, rate)
        self._keep(folder, episode, views)
        self._record(episode, views, columns)
        self._episodes, self._rows = number + 1, self._rows + rows

    def finish(self) -> None:
        """Write what describes all episodes.

        Raises:
            DatasetError: There is none.
        """
        if not self._episodes:
            raise DatasetError("There is no episode to write.")
        self._write_records()
        write_tasks(self._root / names.TASKS, list(self._tasks))
        totals = {name: _to_lists(values) for name, values in self._totals.items()}
        _write_json(self._root / names.STATISTICS, totals)
        info = names.describe_dataset(
            self._features,
            self._rate,
            episodes=self._episodes,
            rows=self._rows,
            tasks=len(self._tasks),
        )
        _write_json(self._root / names.INFO, info)

    def _check(self, folder: DroidFolder, episode: Episode, views: Mapping[str, str]) -> Fraction:
        """Return the rate; the first episode says which rate and image sizes all have."""
        rate = header_rate(episode, "physical")
        videos = {
            view: {
                **describe(folder.video(camera)),
                "video.fps": int(rate) if rate.denominator == 1 else float(rate),
            }
            for camera, view in sorted(views.items(), key=lambda item: item[1])
        }
        features = names.describe_features(videos)
        if not self._episodes:
            self._rate, self._features = rate, features
        if rate != self._rate:
            raise DatasetError(
                f"{folder.path}: has {float(rate):g} rows a second, episodes before it "
                f"{float(self._rate):g}; a LeRobot dataset has one rate."
            )
        for name, feature in features.items():
            if feature["shape"] != self._features[name]["shape"]:
                raise DatasetError(
                    f"{folder.path}: {name} has shape {feature['shape']}, in episodes before it "
                    f"{self._features[name]['shape']}; a LeRobot dataset has one."
                )
        return rate

    def _keep(self, folder: DroidFolder, episode: Episode, views: Mapping[str, str]) -> None:
        headers = {header_of(folder.video(camera)) for camera in views}
        write_kept(
            folder_of(self._root, self._episodes),
            episode,
            index=(folder.sidecar or {}).get("index"),
            header="droid60" if episode.record_hz == 15 and headers == {60} else "physical",
            views=views,
        )

    def _record(
        self, episode: Episode, views: Mapping[str, str], columns: Mapping[str, np.ndarray]
    ) -> None:
        number, rows = self._episodes, len(episode.poses)
        place, end = names.place(number), rows / float(self._rate)
        numbers = {name: values for name, values in columns.items() if values.dtype.kind != "U"}
        told = {name: stats.of_rows(values) for name, values in numbers.items()}
        for camera, view in views.items():
            told[names.IMAGES + view] = stats.of_images(episode.images[camera])
        self._totals = {
            name: stats.merge(self._totals[name], values) if number else values
            for name, values in told.items()
        }
        record: dict[str, Any] = {
            "episode_index": number,
            "tasks": [episode.task],
            "length": rows,
            **{f"data/{key}": value for key, value in place.items()},
            "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + rows,
        }
        for view in sorted(views.values()):
            video = {**place, "from_timestamp": 0.0, "to_timestamp": end}
            record |= {f"videos/{names.IMAGES}{view}/{k}": value for k, value in video.items()}
        for name in sorted(told):
            record |= {f"stats/{name}/{k}": value for k, value in _to_lists(told[name]).items()}
        chunk = names.place(number // RECORDS_IN_FILE)
        self._records.append(record | {f"meta/episodes/{k}": value for k, value in chunk.items()})
        if len(self._records) == RECORDS_IN_FILE:
            self._write_records()

    def _write_records(self) -> None:
        if self._records:
            first = {name: self._records[0][f"meta/episodes/{name}"] for name in names.place(0)}
            write_records(self._root / names.EPISODES.format(**first), self._records)
        self._records = []


def _to_lists(statistics: stats.Statistics) -> dict[str, list[Any]]:
    return {name: values.tolist() for name, values in statistics.items()}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
