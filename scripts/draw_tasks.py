"""Draw the pictures of docs/tasks.md: `python scripts/draw_tasks.py [folder]`.

Of every task in both labs the start and the goal views of one seed, and two rows of variations.
"""

import sys
from pathlib import Path

import gymnasium as gym
import imageio.v3 as iio
import numpy as np

from vjepa_gym.envs import SHORT

SEED, SIZE, GAP = 4, 224, 4
SWEPT = {
    "camera_azimuth": (80, 100, 120, 140),
    "light_brightness": (0.5, 0.8, 1.2, 1.5),
    "table_texture": ("plain", "wood", "speckled", "checked"),
    "distractors": (1, 2, 3, 4),
}


def row(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Return pictures side by side on white."""
    pictures = pictures + [np.full_like(pictures[0], 255)] * (columns - len(pictures))
    gap = np.full((SIZE, GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)], axis=1)


def draw_task(name: str) -> np.ndarray:
    """Return start and goal views of a task, one lab a row."""
    rows = []
    for lab in ("train", "test"):
        env = gym.make(SHORT[name], lab=lab, image_size=SIZE)
        observation, info = env.reset(seed=SEED)
        views = [observation["image"], *info["goal"]["images"]]
        rows.append(row(views, len(views)))
        env.close()
    return np.concatenate(rows)


def draw_variations() -> np.ndarray:
    """Return one episode under several values of a few factors, a factor a row."""
    env = gym.make(SHORT["pick_place_cup"], image_size=SIZE, goal_images=False)
    rows = []
    for factor, values in SWEPT.items():
        seen = [
            env.reset(seed=SEED, options={"variation": {factor: value}})[0]["image"]
            for value in values
        ]
        rows.append(row(seen, len(values)))
    env.close()
    return np.concatenate(rows)


def draw_cameras() -> np.ndarray:
    """Return what the three cameras see, with either gripper."""
    rows = []
    for gripper in ("panda", "robotiq"):
        env = gym.make(
            SHORT["grasp_cup"],
            gripper=gripper,
            image_size=SIZE,
            cameras=("left", "right", "wrist"),
            goal_images=False,
        )
        observation, _ = env.reset(seed=SEED)
        rows.append(row([observation[key] for key in ("image", "right", "wrist")], 3))
        env.close()
    return np.concatenate(rows)


def main(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {name: draw_task(name) for name in SHORT}
    pictures |= {"variations": draw_variations(), "cameras": draw_cameras()}
    for name, picture in pictures.items():
        iio.imwrite(folder / f"{name}.jpg", picture, quality=88)
        print(folder / f"{name}.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/media/tasks"))
