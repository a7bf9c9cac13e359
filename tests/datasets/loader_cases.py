"""What readers of DROID are tried with: every kind of rows and headers, every view."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from episodes import make_episode, read_stamp

from vjepa_gym import kinematics
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.types import Episode

CAMERAS = ("left", "right", "wrist")


@dataclass(frozen=True)
class Case:
    """A dataset of one episode, and how it is read.

    `frames` at `fps` a second leave room for five starts.
    """

    name: str
    record_hz: float | None
    header: str
    frames: int
    fps: int
    stride: int

    @property
    def rows(self) -> int:
        return self.frames * self.stride + 5


CASES = [
    Case("settled", None, "physical", 8, 4, 1),
    Case("clock", 15.0, "physical", 8, 4, 4),
    Case("released", 15.0, "droid60", 8, 4, 15),
    Case("five a second", 15.0, "physical", 16, 5, 3),
]


def episode_of(case: Case) -> Episode:
    """Return an episode of stamped frames that crosses roll = pi, of cameras one of which moves."""
    episode = make_episode(steps=case.rows - 1, cameras=CAMERAS, record_hz=case.record_hz)
    assert np.abs(np.diff(episode.poses[:, 3])).max() > np.pi, "this needs a wrap"
    moving = np.linspace(0, 1, case.rows)[:, None] + np.arange(6.0)
    episode.cameras["wrist"]["extrinsics"] = moving
    return episode


def write_case(case: Case, root: Path) -> Path:
    """Write the dataset of a case and return the list of its episodes."""
    EpisodeStore(root / case.name).write(0, episode_of(case), header=case.header)
    return root / case.name / "droid_paths.csv"


def check_clip(case: Case, view: str, clip: dict[str, np.ndarray]) -> None:
    """Check what a reader returned: frames, states, actions, extrinsics and which rows they are."""
    episode, rows = episode_of(case), clip["rows"]
    assert np.diff(rows).tolist() == [case.stride] * (case.frames - 1)
    assert [read_stamp(image) for image in clip["images"]] == rows.tolist()
    np.testing.assert_array_equal(clip["states"].astype(np.float32), episode.poses[rows])
    extrinsics = np.broadcast_to(episode.cameras[view]["extrinsics"], (case.rows, 6))
    np.testing.assert_array_equal(clip["extrinsics"], extrinsics[rows])
    pose = clip["states"][0]
    for action, state in zip(clip["actions"], clip["states"][1:], strict=True):
        pose = kinematics.integrate(pose, action)
        np.testing.assert_allclose(kinematics.difference(pose, state), 0, atol=1e-6)
