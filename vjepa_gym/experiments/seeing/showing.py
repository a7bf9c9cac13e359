"""A future in the ways in which latents can be shown: drawn by a decoder, or by real frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vjepa_gym.experiments.seeing.imagined import Future
from vjepa_gym.experiments.seeing.imagined_pictures import enlarged, error_panel
from vjepa_gym.experiments.seeing.patches import seen
from vjepa_gym.experiments.seeing.pca_video import Panel
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.decoder import Decoder
from vjepa_gym.world_models.nearest import NearestFrames
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Titles:
    """What the panels are called, from left to right; a narrow one has room for 26 letters."""

    seen: str = "what happened"
    drawn: str = "what happened, decoded"
    imagined: str = "imagined, decoded"
    nearest: str = "imagined, nearest frame"
    error: str = "error of latents"


OF_PLANS = Titles(
    seen="start, then the goal",
    drawn="the same, decoded",
    imagined="planned, decoded",
    nearest="planned, nearest frame",
    error="distance of latents",
)
"""What they are called if a plan is shown beside its goal."""


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What futures are shown with.

    Attributes:
        model: Whose futures they are.
        decoder: Draws its latents, if there is one.
        known: Real frames with their poses, if they are looked up.
        nearest: Looks them up.
        side: Height and width of a panel [px].
    """

    model: ModelConfig
    decoder: Decoder | None
    known: Frames | None
    nearest: NearestFrames | None
    side: int

    def panels(self, future: Future, titles: Titles) -> tuple[dict[str, Panel], dict[str, Any]]:
        """Return the panels of a future, and figures of each of its rows or steps."""
        film = future.film
        happened = seen(
            Preprocessing(self.model.preprocessing, self.model.encoder.image_size), film.images
        )
        shown = {titles.seen: happened}
        figures: dict[str, Any] = {
            "name": film.name,
            "error": future.errors.tolist(),
            "unchanged": future.unchanged.tolist(),
        }
        if self.decoder is not None:
            drawn = shown[titles.drawn] = self.decoder.images(future.seen).cpu().numpy()
            imagined = shown[titles.imagined] = self.decoder.images(future.imagined).cpu().numpy()
            figures["drawn_error"] = _colour_errors(drawn, happened)
            figures["imagined_error"] = _colour_errors(imagined, happened)
        if self.nearest is not None and self.known is not None:
            found = self.nearest.find(future.imagined)
            shown[titles.nearest] = self.nearest.shown(found)
            away = np.linalg.norm(self.known.poses[found.rows, :3] - film.poses[:, :3], axis=1)
            figures["nearest_rows"] = found.rows.tolist()
            figures["nearest_distance"] = found.distances.tolist()
            figures["nearest_hand_mm"] = (1000 * away).tolist()
        panels = {title: enlarged(images, self.side) for title, images in shown.items()}
        panels[titles.error] = error_panel(future.errors, future.unchanged, self.side)
        return panels, figures


def _colour_errors(
    these: UInt8[np.ndarray, "rows height width 3"], those: UInt8[np.ndarray, "rows height width 3"]
) -> list[float]:
    """Return the mean absolute difference of colours, from 0 to 255, row by row."""
    return np.abs(these.astype(np.float32) - those).mean((1, 2, 3)).tolist()
