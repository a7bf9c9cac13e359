"""Key poses of episodes: where the hand opened or closed (James and Davison, arXiv 2105.14829)."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vjepa_gym.world_models.heads.inverse import GRIPPER_MOVES


class KeyPoses:
    """The key poses of episodes: where the hand opened or closed."""

    def __init__(
        self, poses: Float[Tensor, "rows 7"], offsets: Int64[np.ndarray, "episodes_plus_one"]
    ) -> None:
        """Look when each hand opened or closed.

        Args:
            poses: Of all rows.
            offsets: Episode `i` has the rows `offsets[i]:offsets[i + 1]`.
        """
        closedness = poses[:, 6].numpy()
        moves = np.append(np.abs(np.diff(closedness)) > GRIPPER_MOVES, True)
        # A row before another episode, or the end, is an event, beyond which nobody looks.
        moves[np.asarray(offsets[1:]) - 1] = True
        events = np.flatnonzero(moves)
        self._poses = poses
        self._next = events[np.searchsorted(events, np.arange(len(poses)))]

    def between(
        self, rows: Int64[np.ndarray, "*n"], later: Int64[np.ndarray, "*n"]
    ) -> Float[Tensor, "*n 7"]:
        """Return the first key pose from each row on, or that of the later row if it comes first.

        Its closedness is that after the hand has moved.
        """
        key = np.minimum(self._next[rows], later)
        after = self._poses[np.minimum(key + 1, later)]
        return torch.cat([self._poses[key][..., :6], after[..., 6:]], -1)
