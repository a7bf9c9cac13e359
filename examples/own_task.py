"""A task of your own, made from one of ours: `python examples/own_task.py`."""

import gymnasium as gym
import numpy as np

from vjepa_gym.envs.placement import ANYWHERE, Placement
from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.envs.tasks.reach import Reach
from vjepa_gym.sim.world import World

CEILING = 0.30  # the hand may not end higher than this [m]


class ReachLow(Reach):
    """As reaching, but low: what makes a task is listed in `vjepa_gym/envs/task.py`."""

    description = "Bring the hand to where the goal image shows it, below 30 cm."

    def begin(
        self, world: World, rng: np.random.Generator, placement: Placement = ANYWHERE
    ) -> None:
        """Begin with a goal that lies low enough."""
        super().begin(world, rng, placement)
        if self.desired_goal(world)[2] > CEILING:
            self.begin(world, rng, placement)


gym.register("mine/ReachLow-v0", lambda **chosen: TabletopEnv(ReachLow(), **chosen))


def main() -> None:
    env = gym.make("mine/ReachLow-v0", expert_actions=True)
    _, info = env.reset(seed=0)
    for _ in range(10):
        *_, info = env.step(info["expert_action"])
    print("done:", info["is_success"])


if __name__ == "__main__":
    main()
