"""The simulator itself as a world model: what planning would achieve with perfect foresight.

If an agent fails with it, the energy or the search is at fault; if it succeeds and the learned
model does not, the dynamics are. It is slow, since each sample is simulated and drawn.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vjepa_gym.envs.tabletop import TabletopEnv
from vjepa_gym.errors import PlanningError
from vjepa_gym.sim.world import World
from vjepa_gym.world_models.base import Context, Imagined, WorldModel

SAME_PLACE = 1e-3
"""A lab whose hand is farther from the context's last pose than this [m] has moved on."""


class OracleDynamics:
    """Imagines by doing: a copy of each lab's state is moved, drawn and encoded.

    It sees through the observations of the moment to the state behind them, so that it can only
    imagine from the present.
    """

    def __init__(self, envs: Sequence[TabletopEnv], encoder: WorldModel) -> None:
        """Look into environments of this process.

        Args:
            envs: One a robot, in the order of the observations.
            encoder: Encodes what is drawn; its own dynamics are not asked.
        """
        self._envs = tuple(envs)
        self._encoder = encoder

    def encode(self, images: UInt8[Tensor, "n height width 3"]) -> Float[Tensor, "n tokens dim"]:
        """Return what the encoder makes of the images."""
        return self._encoder.encode(images)

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return what would really be seen after each of the actions.

        Raises:
            PlanningError: There are not as many robots as environments, or one of them is not
                where the context ends.
        """
        if len(actions) != len(self._envs):
            raise PlanningError(
                f"OracleDynamics was made for {len(self._envs)} environments and is asked about "
                f"{len(actions)} robots."
            )
        moves = actions.detach().cpu().numpy().astype(np.float32)
        latents, poses = [], []
        for env, pose, samples in zip(self._envs, context.poses[:, -1], moves, strict=True):
            _check_present(env.world, pose)
            futures = [_try(env.world, sample) for sample in samples]
            images = np.stack([image for seen, _ in futures for image in seen])
            encoded = self._encoder.encode(torch.from_numpy(images))
            latents.append(encoded.unflatten(0, samples.shape[:2]))
            poses.append(np.stack([reached for _, reached in futures]))
        return Imagined(
            context=context,
            actions=actions,
            latents=torch.stack(latents),
            poses=torch.from_numpy(np.stack(poses)).to(actions.device),
        )


def _try(
    world: World, actions: Float[np.ndarray, "horizon 7"]
) -> tuple[list[np.ndarray], Float[np.ndarray, "horizon 7"]]:
    """Return what is seen, and where the hand is, after each action; then take them back."""
    images, poses = [], []
    with world.undone():
        for action in actions:
            world.arm.move(action)
            images.append(world.image())
            poses.append(world.arm.pose)
    return images, np.stack(poses)


def _check_present(world: World, pose: Float[Tensor, "7"]) -> None:
    away = float(np.linalg.norm(world.arm.pose[:3] - pose[:3].cpu().numpy()))
    if away > SAME_PLACE:
        raise PlanningError(
            f"OracleDynamics imagines from where the environment is now, {1000 * away:.0f} mm from "
            "where the context ends."
        )
