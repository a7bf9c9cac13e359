"""Small episodes whose every frame says which it is."""

import numpy as np

from vjepa_gym import kinematics
from vjepa_gym.types import Episode

BITS = 8


def stamped_frame(number: int, size: int) -> np.ndarray:
    """Return an image with `number` in binary as black and white columns in its upper half."""
    image = np.full((size, size, 3), 90, np.uint8)
    for bit in range(BITS):
        columns = slice(bit * size // BITS, (bit + 1) * size // BITS)
        image[: size // 2, columns] = 255 if number >> bit & 1 else 0
    return image


def read_stamp(image: np.ndarray) -> int:
    """Return the number that `stamped_frame` drew."""
    height, width, _ = image.shape
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(middles) if image[height // 4, x].mean() > 128)


def make_episode(
    *,
    steps: int = 4,
    size: int = 64,
    seed: int = 0,
    success: bool = True,
    camera: str = "left",
    cameras: tuple[str, ...] = (),
    policy: str = "scripted",
    record_hz: float | None = None,
) -> Episode:
    """Return a random walk near roll = pi, where the gripper looks down."""
    rng = np.random.default_rng(seed)
    limits = np.array([0.05] * 3 + [0.2] * 3 + [0.4]) * (1.0 if record_hz is None else 0.3)
    commands = rng.uniform(-limits, limits, (steps, 7)).astype(np.float32)
    pose = np.array([0.5, 0.0, 0.3, np.pi - 0.02, 0.0, 0.1, 0.5], np.float32)
    poses = [pose]
    for command in commands:
        poses.append(kinematics.integrate(poses[-1], command))
    rows = steps + 1
    cameras = cameras or (camera,)
    frames = np.stack([stamped_frame(row, size) for row in range(rows)])
    return Episode(
        commands=commands,
        poses=np.stack(poses),
        images=dict.fromkeys(cameras, frames),
        joints=rng.normal(size=(rows, 7)).astype(np.float32),
        step_seconds=(
            rng.uniform(0.2, 0.6, steps) if record_hz is None else np.full(steps, 1 / record_hz)
        ).astype(np.float32),
        cameras={
            name: {"extrinsics": np.arange(6.0), "intrinsics": np.eye(3) * 200} for name in cameras
        },
        success=success,
        task="reach the pose in the picture",
        policy=policy,
        seed=seed,
        extras={"qpos": rng.normal(size=(rows, 9)), "grasped": np.zeros(rows, bool)},
        info={"lab": "train", "distance": 0.1},
        record_hz=record_hz,
    )
