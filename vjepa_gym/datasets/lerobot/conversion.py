"""DROID's raw layout to LeRobot v3.0 and back.

Ours goes there and back with every row, every decoded frame and all else that an episode holds;
what changes is named in `read_lerobot`. lerobot itself is not needed: it wants another torch.
"""

from collections.abc import Callable
from pathlib import Path

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.droid.layout import open_folder
from vjepa_gym.datasets.droid.trajectory import read_poses
from vjepa_gym.datasets.lerobot.parquet import require_pyarrow
from vjepa_gym.datasets.lerobot.reader import LeRobotEpisodes
from vjepa_gym.datasets.lerobot.rows import views_of
from vjepa_gym.datasets.lerobot.writer import LeRobotWriter
from vjepa_gym.datasets.storage.disk import told_if_full
from vjepa_gym.datasets.storage.staging import Staging, publish
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Episode

OnEpisode = Callable[[int, int], None]
"""Called with episodes converted, and episodes in all."""


def _ignore(done: int, total: int) -> None:
    pass


def write_lerobot(
    episodes: DroidEpisodes, target: Path, *, on_episode: OnEpisode = _ignore
) -> None:
    """Write a LeRobot v3.0 dataset; videos are copied, never encoded anew.

    `target` comes to be once all is written: an export that was killed leaves `<target>.staging`
    alone, which the next one clears away.

    Args:
        episodes: What to write, in this order; their cameras, of those chosen, must be the same.
        target: A folder that is not there yet.
        on_episode: Called after each episode.

    Raises:
        DiskFullError: It does not fit on the disk.
        DatasetError: `target` is there, an episode is damaged, episodes differ in cameras, image
            sizes or rate, or pyarrow is not installed.
    """
    require_pyarrow()
    target = Path(target).absolute()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise DatasetError(f"{target}: there is something already; remove it or name another.")
    _require_same_views(episodes)
    staging = Staging(target.with_name(f"{target.name}.staging"))
    staging.sweep()
    with told_if_full(target, lambda: _bytes_of(episodes)), staging.folder("lerobot") as folder:
        writer = LeRobotWriter(folder)
        for number, path in enumerate(episodes.folders):
            writer.add(open_folder(path), episodes[number])
            on_episode(number + 1, len(episodes))
        writer.finish()
        publish(folder, target, target.parent)


def read_lerobot(source: Path, target: Path, *, on_episode: OnEpisode = _ignore) -> None:
    """Write the episodes of a LeRobot v3.0 dataset in DROID's raw layout.

    Of our own exports everything that an `Episode` holds comes back, to the last bit and under the
    same numbers. The digests of pixels, and with them those in the index, are of the decoded
    videos; what else others had recorded, such as torques, is not in LeRobot's format. Anybody's
    dataset is read by the names of LeRobot's DROID port; of it the numbers are the positions, the
    exterior camera further to the left is `left`, and a time base that has no feature
    `observation.time` is taken as even. Videos are copied where an episode begins at a keyframe
    and DROID's readers know the codec, else encoded anew.

    Episodes that are in `target` already are kept, so that a conversion that was killed goes on.

    Args:
        source: The folder that has `meta/info.json`.
        target: The dataset's folder.
        on_episode: Called after each episode.

    Raises:
        DatasetError: Something is missing or damaged, the format is another one, `target` holds
            other episodes, or pyarrow is not installed.
    """
    require_pyarrow()
    there, store = LeRobotEpisodes(Path(source)), EpisodeStore(target)
    store.staging.sweep()
    for number in range(len(there)):
        index = there.indices[number]
        with store.staging.folder("lerobot") as folder:
            episode, header, videos = there.read(number, folder)
            if not _is_there(store, index, episode):
                store.write(index, episode, header=header, videos=videos)
        on_episode(number + 1, len(there))


def _require_same_views(episodes: DroidEpisodes) -> None:
    expected: set[str] = set()
    for path in episodes.folders:
        cameras = views_of(open_folder(path))
        found = {view for camera, view in cameras.items() if camera in episodes.cameras}
        if not found:
            raise DatasetError(f"{path}: none of the cameras {', '.join(episodes.cameras)}.")
        if expected and found != expected:
            raise DatasetError(
                f"{path} has the views {', '.join(sorted(found))}, episodes before it have "
                f"{', '.join(sorted(expected))}; choose cameras that all episodes have."
            )
        expected = found


def _bytes_of(episodes: DroidEpisodes) -> int:
    videos = (video for path in episodes.folders for video in path.glob("recordings/MP4/*.mp4"))
    return sum(video.stat().st_size for video in videos)


def _is_there(store: EpisodeStore, index: int, episode: Episode) -> bool:
    """Return whether an episode was converted before.

    Raises:
        DatasetError: There is another one of this number.
    """
    for entry in store.entries():
        if entry.index == index:
            poses = read_poses(store.folder(entry) / "trajectory.h5")
            if poses.shape == episode.poses.shape and (poses == episode.poses).all():
                return True
            raise DatasetError(
                f"{store.root}: there is another episode {index} already; name another target."
            )
    return False
