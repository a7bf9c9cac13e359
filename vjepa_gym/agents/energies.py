"""Energies: how far imagined latents are from those of the goal.

The tokens that a world model encodes and imagines are layer-normed, so that distances mean the
same everywhere in the picture.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vjepa_gym.world_models.base import Imagined


@dataclass(frozen=True, kw_only=True)
class L1:
    """Mean absolute difference: the energy of V-JEPA 2-AC (arXiv 2506.09985, eq. 5).

    Attributes:
        summed: Add up the energies of the whole horizon instead of taking its last step, which
            says nothing about the way there: beyond a horizon of one a robot then dithers.
    """

    summed: bool = True

    def __call__(
        self, imagined: Imagined, goal: Float[Tensor, "n tokens dim"]
    ) -> Float[Tensor, "n samples"]:
        """Return the energy of each sample."""
        return _difference(imagined, goal, self.summed).abs_().mean((-2, -1)).sum(-1)


@dataclass(frozen=True, kw_only=True)
class L2:
    """Mean squared difference; steeper far from the goal, smoother near it than `L1`.

    Attributes:
        summed: As in `L1`.
    """

    summed: bool = True

    def __call__(
        self, imagined: Imagined, goal: Float[Tensor, "n tokens dim"]
    ) -> Float[Tensor, "n samples"]:
        """Return the energy of each sample."""
        return _difference(imagined, goal, self.summed).square_().mean((-2, -1)).sum(-1)


ENERGIES = {"l1": L1, "l2": L2}
"""The energies by name."""


def _difference(
    imagined: Imagined, goal: Float[Tensor, "n tokens dim"], summed: bool
) -> Float[Tensor, "n samples steps tokens dim"]:
    latents = imagined.latents if summed else imagined.latents[:, :, -1:]
    return latents - goal[:, None, None]
