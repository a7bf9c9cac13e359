"""Steps of an arm to draw landscapes of: in a simulation, in a dataset, or in a file of frames."""

from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from vjepa_gym import kinematics
from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.frames import open_split
from vjepa_gym.experiments.seeing.frame_file import read_frame_file

LEAST_MOVE, LEAST_CLOSING = 0.001, 0.05
"""What moves less, both by hand [m] and by gripper, has no direction."""
CLEAR_MOVE = 0.01
"""What is looked for where no row is named [m]."""
FIRST_CLEAR = -1
"""The row that stands for the first from which the hand moves by that."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What was seen before and after a move.

    Attributes:
        name: Where it is from.
        images: Before, and after.
        poses: Then.
        action: The displacement that was achieved.
    """

    name: str
    images: UInt8[np.ndarray, "2 height width 3"]
    poses: Float32[np.ndarray, "2 7"]

    @property
    def action(self) -> Float32[np.ndarray, "7"]:
        """The displacement that was achieved, which is what models learn from."""
        return kinematics.difference(self.poses[0], self.poses[1])


def steps_of_file(path: Path, *, count: int, row: int, ahead: int) -> list[Step]:
    """Return one step of each of the first `count` episodes in a file of frames.

    Args:
        path: An archive of NumPy's with `observations` and `states`, as V-JEPA 2's example.
        count: How many.
        row: The frame before the move; -1 for the first that is followed by a clear one.
        ahead: Frames from there to the one after it.

    Raises:
        DatasetError: There is no such file, or it is not of this form.
        EvaluationError: It has no such frame, or nothing moves there.
    """
    images, poses = read_frame_file(path)
    if count > len(images):
        raise EvaluationError(
            f"{path} has {len(images)} episodes, so that job.count is at most {len(images)}; got"
            f" {count}."
        )
    names = [path.name if len(images) == 1 else f"{path.name}, episode {i}" for i in range(count)]
    return [
        _step(name, pictures, places, row, ahead)
        for name, pictures, places in zip(names, images, poses, strict=False)
    ]


def steps_of_dataset(
    folder: str, *, size: int, held_out: int, episode: int, count: int, row: int, ahead: int
) -> list[Step]:
    """Return one step of each of `count` held-out episodes of a dataset.

    Args:
        folder: A dataset of ours, or anybody's in DROID's layout.
        size: Height and width of the frames [px].
        held_out: Episodes at its end that no model was trained on.
        episode: The first, counted from the first of those.
        count: How many, one after another.
        row: The row before the move; -1 for the first that is followed by a clear one.
        ahead: Rows from there to the one after it.

    Raises:
        DatasetError: There are no such data.
        EvaluationError: There is no such episode or row, or nothing moves there.
    """
    _, frames = open_split(folder, size=size, held_out=held_out)
    if episode + count > frames.num_episodes:
        raise EvaluationError(
            f"{folder} has {frames.num_episodes} held-out episodes, so that job.episode + job.count"
            f" is at most {frames.num_episodes}; got {episode} + {count}."
        )
    steps = []
    for index in range(episode, episode + count):
        rows = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
        images, poses = np.asarray(frames.images[rows]), frames.poses[rows]
        name = f"{Path(folder).name}, held-out episode {index}"
        steps.append(_step(name, images, poses, row, ahead))
    return steps


def step_of_environment(
    envs: gym.vector.VectorEnv, *, seed: int, row: int, ahead: int, name: str
) -> Step:
    """Return a step of the environment's expert, and leave the one environment before it.

    Args:
        envs: One environment, which says what its expert would do.
        seed: Of its reset.
        row: Moves of the expert before the one that counts; -1 is none.
        ahead: Moves that count.
        name: What it is called.

    Raises:
        EvaluationError: Nothing moves there, or the episode ends before.
    """
    before = max(row, 0)
    images, poses = _follow_expert(envs, seed, before + ahead)
    step = _step(f"{name}, seed {seed}", images, poses, before, ahead)
    _follow_expert(envs, seed, before)  # the same seed leads to the same place
    return step


def _follow_expert(
    envs: gym.vector.VectorEnv, seed: int, moves: int
) -> tuple[UInt8[np.ndarray, "rows height width 3"], Float32[np.ndarray, "rows 7"]]:
    """Return what is seen, and where the hand is, at the beginning and after each move."""
    # Every vector environment takes one seed each, though their base class does not say so.
    observation, info = envs.reset(seed=[seed])  # pyright: ignore[reportArgumentType]
    images, poses = [observation["image"][0].copy()], [observation["pose"][0].copy()]
    for move in range(moves):
        if "expert_action" not in info:
            raise EvaluationError(
                "This environment has no expert who would say what is done next; choose one of"
                " ours, or name a dataset: job.data=<folder>."
            )
        observation, _, terminated, truncated, info = envs.step(info["expert_action"])
        images.append(observation["image"][0].copy())
        poses.append(observation["pose"][0].copy())
        if (terminated | truncated).any() and move + 1 < moves:
            raise EvaluationError(
                f"With seed {seed} the episode ends after {move + 1} moves, so that job.row +"
                f" job.ahead is at most {move + 1}; got {moves}."
            )
    return np.stack(images), np.stack(poses)


def _step(
    name: str,
    images: UInt8[np.ndarray, "rows height width 3"],
    poses: Float32[np.ndarray, "rows 7"],
    row: int,
    ahead: int,
) -> Step:
    if len(poses) <= max(row, 0) + ahead:
        raise EvaluationError(
            f"{name} has the rows 0 to {len(poses) - 1}, so that job.row + job.ahead is at most"
            f" {len(poses) - 1}; got {max(row, 0)} + {ahead}."
        )
    moved = np.linalg.norm(poses[ahead:, :3] - poses[:-ahead, :3], axis=1).astype(np.float64)
    closed = np.abs(poses[ahead:, 6] - poses[:-ahead, 6])
    clear = np.flatnonzero(moved >= CLEAR_MOVE)
    if row == FIRST_CLEAR:
        row = int(clear[0]) if len(clear) else int(moved.argmax())
    if moved[row] < LEAST_MOVE and closed[row] < LEAST_CLOSING:
        raise EvaluationError(_motionless(name, moved, row, ahead, clear.tolist()))
    pair = [row, row + ahead]
    return Step(name=f"{name}, row {row}", images=images[pair], poses=poses[pair])


def _motionless(
    name: str, moved: Float64[np.ndarray, " rows"], row: int, ahead: int, clear: list[int]
) -> str:
    said = (
        f"{name}: from row {row} to row {row + ahead} the hand moves by {1000 * moved[row]:.1f} mm"
        " and the gripper hardly, so that there is no true action to look around."
    )
    if clear:
        return f"{said} Rows from which it moves by a centimetre: job.row={clear[:8]}."
    return f"{said} It moves by a centimetre nowhere; try another episode, or a larger job.ahead."
