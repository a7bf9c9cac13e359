"""A task of your own, a way of failing at an old one included: `python examples/own_task.py`."""

import gymnasium as gym
import numpy as np

from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.envs.tasks.reach import Reach


class HoverLow(Reach):
    """As reaching, but the hand may never go higher than `CEILING` on its way."""

    description = "Bring the hand to where the goal image shows it, and stay below 30 cm."
    CEILING = 0.30

    def begin(self, world, rng, placement):
        """Begin with a start and a goal that lie low enough."""
        while True:
            super().begin(world, rng, placement)
            if max(world.arm.tool[2], self.desired_goal(world)[2]) < self.CEILING:
                return

    def success(self, world):
        """Return whether the hand has arrived, and low."""
        return super().success(world) and bool(world.arm.tool[2] < self.CEILING)


gym.register("mine/HoverLow-v0", lambda **kw: TabletopEnv(HoverLow(), **kw), max_episode_steps=10)


def main() -> None:
    """Have the expert do it."""
    env = gym.make("mine/HoverLow-v0", expert_actions=True, image_size=64)
    _, info = env.reset(seed=0)
    assert np.isfinite(info["distance"])
    for _ in range(10):
        *_, info = env.step(info["expert_action"])
    print("done:", info["is_success"])
    env.close()


if __name__ == "__main__":
    main()
