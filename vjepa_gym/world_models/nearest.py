"""What latents look like, said by real frames: those of a dataset whose latents are nearest."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped, UInt8
from torch import Tensor

from vjepa_gym.types import Images

NUMBERS_TOGETHER = 2**25
"""Numbers of latents that are looked at together, which bounds memory: 128 MiB in float32."""


class Norm(Enum):
    """How far two views are apart, a mean over all features of all tokens."""

    l1 = "l1"
    """Of absolute differences, as the energy that plans are chosen by."""
    l2 = "l2"
    """Of squared differences, of which the root is taken."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The real frames that some latents are nearest to.

    Attributes:
        rows: Their numbers; of several that are equally near, the first.
        distances: How far away each is (see `Norm`), in the unit of the latents.
    """

    rows: Int64[np.ndarray, " n"]
    distances: Float32[np.ndarray, " n"]


class NearestFrames:
    """Looks up real frames by latents; every frame is compared, none is approximated.

    Attributes:
        latents: Of all frames, such as a memory map of 16 bits.
        images: The frames.
    """

    def __init__(
        self,
        latents: Shaped[np.ndarray, "rows tokens dim"],
        images: Images,
        *,
        norm: Norm = Norm.l1,
        numbers_together: int = NUMBERS_TOGETHER,
    ) -> None:
        """Keep what is looked up in; nothing is read yet.

        Args:
            latents: Of all frames.
            images: The frames.
            norm: How far two views are apart.
            numbers_together: Numbers of `latents` that are in memory as float32 at once.

        Raises:
            ValueError: There is no frame, or not one for each latent.
        """
        if len(latents) != len(images) or not len(latents):
            raise ValueError(
                "nearest frames are looked up among latents and their frames, one each and at least"
                f" one; got {len(latents)} latents of {len(images)} frames"
            )
        self.latents, self.images = latents, images
        self._norm = norm
        self._together = max(1, numbers_together // (latents.shape[1] * latents.shape[2]))

    def find(self, imagined: Float[Tensor, "n tokens dim"]) -> Nearest:
        """Return which frames are nearest to latents, computed where these are.

        Raises:
            ValueError: The latents are of another model, or are not finite.
        """
        if imagined.shape[1:] != self.latents.shape[1:]:
            raise ValueError(
                f"latents have {imagined.shape[1]} tokens of {imagined.shape[2]} features, those"
                f" that are looked up in {self.latents.shape[1]} of {self.latents.shape[2]}; take"
                " both from one model"
            )
        if not bool(imagined.isfinite().all()):
            raise ValueError("latents must be finite to be near to anything; the model is broken")
        wanted = imagined.detach().flatten(1).float()
        least = wanted.new_full((len(wanted),), torch.inf)
        rows = torch.zeros(len(wanted), dtype=torch.int64, device=wanted.device)
        for first in range(0, len(self.latents), self._together):
            part = np.array(self.latents[first : first + self._together], np.float32)
            known = torch.from_numpy(part).to(wanted.device).flatten(1)
            distances, found = self._distances(wanted, known).min(1)
            nearer = distances < least
            least = torch.where(nearer, distances, least)
            rows = torch.where(nearer, first + found, rows)
        return Nearest(rows=rows.cpu().numpy(), distances=least.cpu().numpy())

    def shown(self, nearest: Nearest) -> UInt8[np.ndarray, "n height width 3"]:
        """Return the frames that were found."""
        return np.stack([np.asarray(self.images[int(row)]) for row in nearest.rows])

    def _distances(
        self, wanted: Float[Tensor, "n numbers"], known: Float[Tensor, "rows numbers"]
    ) -> Float[Tensor, "n rows"]:
        if self._norm is Norm.l1:
            return torch.cdist(wanted, known, p=1.0) / wanted.shape[1]
        # As sums of squares: by products of matrices, equal latents would not be at distance 0.
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(wanted, known, compute_mode=exact) / wanted.shape[1] ** 0.5
