"""A lab of your own, seen by a camera of your own: `python examples/own_lab.py`."""

from pathlib import Path

import gymnasium as gym
import imageio.v3 as iio

from vjepa_gym.envs import REACH
from vjepa_gym.sim.cameras import CameraPose
from vjepa_gym.sim.labs import LABS, Lab, Light, Piece

LABS["attic"] = Lab(
    table_texture="wood",
    table_rgb=(0.55, 0.35, 0.22),
    wall_rgb=(0.60, 0.50, 0.42),
    light=Light(azimuth=150.0, elevation=50.0, direct=0.6, ambient=0.3),
    left=CameraPose(azimuth=135.0, elevation=35.0, distance=1.3),
    backdrop=(Piece(position=(-0.4, -1.4, -0.2), size=(0.5, 0.4, 0.6), rgb=(0.3, 0.2, 0.5)),),
)


def main(picture: Path = Path("attic.png")) -> None:
    """Save what the camera sees."""
    env = gym.make(REACH, lab="attic")
    observation, _ = env.reset(seed=0)
    iio.imwrite(picture, observation["image"])
    position = LABS["attic"].left.position()
    print("camera at [m]:", position.round(2).tolist(), "picture in", picture)
    env.close()


if __name__ == "__main__":
    main()
