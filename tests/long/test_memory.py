"""What takes minutes: `make test-long`."""

import gc
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from vjepa_gym.envs import env_id

RESETS = 10_000
GROWTH = 30.0
"""Resident memory may differ by as much between the first tenth and the end [MB]."""


def resident() -> float:
    """Return the memory of this process [MB]."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.parametrize(("variation", "goal_images"), [("none", False), ("wide", False)])
def test_memory_is_flat_over_ten_thousand_resets(variation, goal_images, record_property):
    env = gym.make(
        env_id("PickPlaceCup"), image_size=64, variation=variation, goal_images=goal_images
    )
    seen = []
    for seed in range(RESETS):
        env.reset(seed=seed)
        if seed % (RESETS // 20) == 0:
            seen.append(resident())
    seen.append(resident())
    env.close()
    record_property("resident", seen)
    print("resident memory [MB]:", np.round(seen).tolist())
    assert max(seen[2:]) - min(seen[2:]) < GROWTH
