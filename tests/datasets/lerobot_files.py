"""Small datasets for the tests of LeRobot's format, and what other writers make of them."""

import dataclasses
import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from episodes import make_episode, stamped_frame

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.lerobot.conversion import write_lerobot
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video

CAMERAS = ("left", "right", "wrist")
STEPS = (6, 9, 7)
TASKS = ("lift", "push", "lift")
INDICES = (0, 3, 5)
VIEWS = {"left": "exterior_1_left", "right": "exterior_2_left", "wrist": "wrist_left"}


def make_many(*, steps=6, seed=0, size=64, cameras=CAMERAS, **changes):
    """Return an episode whose frames say row and camera; the wrist's camera moves."""
    episode = make_episode(steps=steps, seed=seed)
    rng, rows = np.random.default_rng(seed), steps + 1
    images = {
        name: np.stack([stamped_frame(stamp_of(name, row), size) for row in range(rows)])
        for name in cameras
    }
    calibrations = {
        name: {
            "extrinsics": rng.normal(size=(rows, 6) if name == "wrist" else 6),
            "intrinsics": np.array([[200.1, 0, 32], [0, 200.1, 32], [0, 0, 1]]),
        }
        for name in cameras
    }
    return dataclasses.replace(episode, images=images, cameras=calibrations, **changes)


def stamp_of(camera, row):
    return 64 * CAMERAS.index(camera) + row


def make_store(root):
    """Write three episodes with gaps between their numbers; the second fails."""
    store = EpisodeStore(root)
    for number, index in enumerate(INDICES):
        episode = make_many(
            steps=STEPS[number], seed=number, task=TASKS[number], success=number != 1
        )
        store.write(index, episode)
    return store


def export(root, target, **options):
    write_lerobot(DroidEpisodes(root, **options), target)
    return target


def join_files(root, keyframes):
    """Make of our export one that lerobot could have written: one table, one video a view.

    Args:
        root: The dataset; it is changed.
        keyframes: Whether each episode begins at one.
    """
    shutil.rmtree(root / "vjg")
    tables = sorted((root / "data").glob("*/*.parquet"))
    joined = pa.concat_tables([pq.read_table(path) for path in tables])
    for path in tables[1:]:
        path.unlink()
    pq.write_table(joined, tables[0])
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    records = pq.read_table(path).to_pylist()
    for record in records:
        record |= {name: 0 for name in record if name.endswith("file_index")}
    for view in VIEWS.values():
        start = 0.0
        for record in records:
            record[f"videos/observation.images.{view}/from_timestamp"] = start
            start += record["length"] / 4
            record[f"videos/observation.images.{view}/to_timestamp"] = start
        videos = sorted((root / f"videos/observation.images.{view}").glob("*/*.mp4"))
        parts = [read_video(video) for video in videos]
        first = {int(n) for n in np.cumsum([0] + [len(part) for part in parts])}
        encode(videos[0], np.concatenate(parts), keyframes=first if keyframes else {0})
        for video in videos[1:]:
            video.unlink()
    pq.write_table(pa.Table.from_pylist(records), path)


def encode(path, images, *, keyframes=(0,), reordered=0, rate=4):
    """Encode a video whose keyframes are where they are asked for."""
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width, stream.height = images.shape[2], images.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "crf": "18",
            "x264-params": f"keyint=250:scenecut=0:bframes={reordered}:b-adapt=0",
        }
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if number in keyframes:
                frame.pict_type = av.video.frame.PictureType.I
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def edit_info(root, **changes):
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_column(path, name, values):
    table = pq.read_table(path)
    place = table.column_names.index(name)
    column = pa.array(values, table.schema.field(name).type)
    pq.write_table(table.set_column(place, table.schema.field(name), column), path)


def assert_same(one, other):
    """Compare two episodes to the last bit."""
    for field in dataclasses.fields(one):
        _assert_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def _assert_equal(one, other, name):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one:
            _assert_equal(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, name)
    else:
        assert one == other, name
