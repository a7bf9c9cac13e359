"""What describes a LeRobot v3.0 dataset: features, tasks, and where each episode's parts lie."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_gym.datasets.lerobot import format as names
from vjepa_gym.datasets.lerobot.parquet import read_column, read_table
from vjepa_gym.errors import DatasetError

CONVERTER = "python -m lerobot.scripts.convert_dataset_v21_to_v30"


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where one episode lies; it may share its files with others.

    Attributes:
        data: The table that has its rows.
        first: The first of them, by the column `index`.
        end: The row after the last.
        videos: For each view the file, and when in it the episode begins [s].
    """

    data: Path
    first: int
    end: int
    videos: Mapping[str, tuple[Path, float]]


@dataclass(frozen=True, kw_only=True)
class LeRobotFolder:
    """A dataset's description.

    Attributes:
        root: The folder that has `meta/info.json`.
        features: The names of all features.
        views: Those of `VIEWS` that there are.
        rate: Rows a second.
        tasks: What was to be done, by number.
        records: The episodes, in order.
    """

    root: Path
    features: tuple[str, ...]
    views: tuple[str, ...]
    rate: Fraction
    tasks: Mapping[int, str]
    records: tuple[Record, ...]


def open_lerobot(root: Path) -> LeRobotFolder:
    """Return what describes the dataset in `root`; neither rows nor videos are read.

    Raises:
        DatasetError: It is missing, damaged, of another format, or lacks features.
    """
    info = _read_info(root)
    views = _views_in(root, info["features"])
    records = _read_records(root, info, views)
    if len(records) != info.get("total_episodes"):
        raise DatasetError(
            f"{root / names.INFO}: speaks of {info.get('total_episodes')} episodes, but "
            f"{root / 'meta/episodes'} describes {len(records)}."
        )
    return LeRobotFolder(
        root=root,
        features=tuple(info["features"]),
        views=views,
        rate=Fraction(info["fps"]).limit_denominator(1001),
        tasks=_read_tasks(root / names.TASKS),
        records=records,
    )


def _read_info(root: Path) -> dict[str, Any]:
    path = root / names.INFO
    try:
        info = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{path}: not found; {root} is no LeRobot dataset.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: expected whole JSON, but {error}.") from error
    version = str(info.get("codebase_version")) if isinstance(info, dict) else "unknown"
    if version.startswith("v2"):
        raise DatasetError(
            f"{path}: LeRobot's format {version} is not read. Convert it to {names.VERSION} where "
            f"lerobot is installed: {CONVERTER} --repo-id=<name> --root=<folder>."
        )
    if version != names.VERSION:
        raise DatasetError(f"{path}: expected LeRobot's format {names.VERSION}, found {version}.")
    kinds = {"features": dict, "fps": (int, float), "data_path": str, "video_path": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(info.get(name), kind)]
    # Less than one row in a thousand seconds is a mistake, as is more than a thousand in one.
    if wrong or not 0.001 <= info["fps"] <= 1000:
        raise DatasetError(f"{path}: {', '.join(wrong or ['fps'])} missing or not as it should be.")
    return info


def _views_in(root: Path, features: Mapping[str, Any]) -> tuple[str, ...]:
    views = tuple(view for view in names.VIEWS if names.IMAGES + view in features)
    missing = [name for name in names.REQUIRED if name not in features]
    if not set(views) & set(names.VIEWS[:2]):
        missing.append(names.IMAGES + names.VIEWS[0])
    extrinsics = [names.EXTRINSICS + view for view in views]
    missing += [name for name in extrinsics if name not in features]
    if missing:
        raise DatasetError(
            f"{root}: without the features {', '.join(missing)} of LeRobot's DROID port no episode "
            f"can be made; there are {', '.join(features)}."
        )
    for view in views:
        if features[names.IMAGES + view].get("dtype") != "video":
            raise DatasetError(f"{root}: expected {names.IMAGES + view} to be a video.")
    return views


def _read_tasks(path: Path) -> dict[int, str]:
    table = read_table(path)
    # Before 0.6 lerobot left the column of texts without a name.
    text = "task" if "task" in table.column_names else "__index_level_0__"
    numbers = read_column(path, table, "task_index", int)
    return dict(zip(numbers.tolist(), read_column(path, table, text, str).tolist(), strict=True))


def _read_records(
    root: Path, info: Mapping[str, Any], views: tuple[str, ...]
) -> tuple[Record, ...]:
    paths = sorted((root / "meta/episodes").glob("*/*.parquet"))
    if not paths:
        raise DatasetError(f"{root / 'meta/episodes'}: no Parquet file; no episode is described.")
    found: dict[int, Record] = {}
    for path in paths:
        table = read_table(path)
        columns = ["episode_index", *_columns(views)]
        kinds = [float if name.endswith("_timestamp") else int for name in columns]
        values = [
            read_column(path, table, name, kind).tolist()
            for name, kind in zip(columns, kinds, strict=True)
        ]
        for row in zip(*values, strict=True):
            found[row[0]] = _record(root, info, views, dict(zip(columns, row, strict=True)))
    return tuple(found[number] for number in sorted(found))


def _columns(views: tuple[str, ...]) -> list[str]:
    places = ("chunk_index", "file_index")
    return [
        "dataset_from_index",
        "dataset_to_index",
        *[f"data/{place}" for place in places],
        *[
            f"videos/{names.IMAGES}{view}/{name}"
            for view in views
            for name in (*places, "from_timestamp")
        ],
    ]


def _record(
    root: Path, info: Mapping[str, Any], views: tuple[str, ...], row: Mapping[str, Any]
) -> Record:
    def file(template: str, part: str, **more: str) -> Path:
        place = {name: row[f"{part}/{name}"] for name in ("chunk_index", "file_index")}
        try:
            return root / info[template].format(**place, **more)
        except (KeyError, IndexError, ValueError) as error:
            raise DatasetError(
                f"{root / names.INFO}: {template} {info[template]!r} is no template of a path."
            ) from error

    keys = {view: names.IMAGES + view for view in views}
    moments = [row[f"videos/{key}/from_timestamp"] for key in keys.values()]
    if not np.isfinite(moments).all() or min(moments) < 0:
        raise DatasetError(f"{root / 'meta/episodes'}: a from_timestamp is not a time.")
    return Record(
        data=file("data_path", "data"),
        first=row["dataset_from_index"],
        end=row["dataset_to_index"],
        videos={
            view: (
                file("video_path", f"videos/{key}", video_key=key),
                row[f"videos/{key}/from_timestamp"],
            )
            for view, key in keys.items()
        },
    )
