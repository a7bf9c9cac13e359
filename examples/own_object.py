"""A thing of your own on the table: `python examples/own_object.py`."""

from dataclasses import dataclass

import gymnasium as gym
import mujoco

from vjepa_gym.envs import env_id
from vjepa_gym.sim.objects import OBJECT_SETS, ObjectSet
from vjepa_gym.sim.solids import CYLINDER, FreeBody


@dataclass(frozen=True, kw_only=True)
class Puck:
    """A flat disc; `height`, `grip_width` and `grip_height` tell the expert where to grip it."""

    grip_width: float = 0.05
    height: float = 0.03
    grip_height: float = 0.015

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add the puck to a scene."""
        body = FreeBody(spec, name, self.height, (0.1, 0.1, 0.1, 1.0))
        body.add(CYLINDER, [self.grip_width / 2, self.height / 2, 0], mass=0.08)


def main() -> None:
    """Have the expert grasp it where a task says cup."""
    OBJECT_SETS["puck"] = ObjectSet(cup=Puck())
    env = gym.make(env_id("GraspCup"), variation={"object_set": "puck"}, expert_actions=True)
    _, info = env.reset(seed=0)
    for _ in range(12):
        *_, info = env.step(info["expert_action"])
    print("grasped:", info["is_success"])
    env.close()


if __name__ == "__main__":
    main()
