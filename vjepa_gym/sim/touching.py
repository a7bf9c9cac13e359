"""What the robot touches."""

import mujoco
import numpy as np


class Touching:
    """Says whether the robot touches anything other than what is between its fingers."""

    def __init__(self, model: mujoco.MjModel, fingers: tuple[tuple[int, ...], ...]) -> None:
        """Watch the robot whose two fingers have these geoms."""
        self._root = model.body_rootid[model.geom_bodyid]
        self._robot = self._root[fingers[0][0]]
        self._finger = np.zeros(model.ngeom, int)
        for number, geoms in enumerate(fingers, start=1):
            self._finger[list(geoms)] = number

    def __call__(self, data: mujoco.MjData) -> bool:
        """Return whether it does in this state, after its contacts were found."""
        pairs = data.contact.geom
        roots = self._root[pairs]
        mine = roots == self._robot
        if not mine.any():
            return False
        for held in self._between_fingers(roots, self._finger[pairs]):
            mine |= roots == held
        return bool((mine[:, 0] != mine[:, 1]).any())

    def _between_fingers(self, roots: np.ndarray, fingers: np.ndarray) -> set[int]:
        """Return the bodies that both fingers touch; the world itself cannot be held."""
        first, second = (set(roots[:, ::-1][fingers == number].tolist()) for number in (1, 2))
        return (first & second) - {0}
