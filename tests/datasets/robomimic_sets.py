"""Small datasets with all that a file for robomimic may hold."""

import dataclasses

import numpy as np
from episodes import make_episode

from vjepa_gym.datasets.droid.episodes import DroidEpisodes
from vjepa_gym.datasets.storage.store import EpisodeStore

LENGTHS = (4, 1, 6, 3)
LOW_DIM = {
    "robot0_eef_pos": 3,
    "robot0_eef_quat": 4,
    "robot0_gripper_closedness": 1,
    "robot0_joint_pos": 7,
}


def make_dataset(root):
    """Return four episodes, the third of them a failure."""
    made = [
        with_objects(make_episode(seed=index, steps=steps, success=index != 2, size=48))
        for index, steps in enumerate(LENGTHS)
    ]
    return open_dataset(root, made)


def with_objects(episode, *, count=2):
    rng = np.random.default_rng(episode.seed)
    rows = len(episode.poses)
    poses = rng.normal(size=(rows, count, 7))
    poses[..., 3:] /= np.linalg.norm(poses[..., 3:], axis=-1, keepdims=True)
    extras = {"object_poses": poses, "sim_state": rng.normal(size=(rows, 11))}
    done = [step == rows - 2 and episode.success for step in range(rows - 1)]
    info = {"env": "vjepa_gym/Reach-v0", "objects": ["cup", "box"][:count], "successes": done}
    return dataclasses.replace(episode, extras=extras, info=info)


def open_dataset(root, episodes):
    store = EpisodeStore(root)
    for index, episode in enumerate(episodes):
        store.write(index, episode)
    return DroidEpisodes(root)
