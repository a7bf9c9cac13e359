"""An energy in what is read off latents: where the hand is in a view, and how far it is closed."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vjepa_gym.agents.base import Imagined, Target


@runtime_checkable
class Reader(Protocol):
    """Reads the pose of the hand off the latents of a view."""

    def read(self, latents: Float[Tensor, "n tokens dim"]) -> Float[Tensor, "n 7"]:
        """Return poses, each number in units of how much it varies in the data."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReadDistance:
    """How far apart the poses are that are read off imagined views and off the goal's image.

    Energies of latents compare all that is seen, of which fingers are a hundredth. This one
    compares what the arm can do something about, and is told nothing but images.

    Attributes:
        reader: Reads poses.
        summed: Add up the distances of the whole horizon instead of taking its last step.
    """

    reader: Reader
    summed: bool = True

    @property
    def needs_poses(self) -> bool:
        """Never: the goal's pose is read off its image."""
        return False

    def __call__(self, imagined: Imagined, target: Target) -> Float[Tensor, "n samples"]:
        """Return the mean absolute difference of each sample, in units of how much poses vary."""
        latents = imagined.latents if self.summed else imagined.latents[:, :, -1:]
        n, samples, steps = latents.shape[:3]
        poses = self.reader.read(latents.flatten(0, 2)).unflatten(0, (n, samples, steps))
        goal = self.reader.read(target.latents)
        return (poses - goal[:, None, None]).abs().mean(-1).sum(-1)
