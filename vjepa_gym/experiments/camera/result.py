"""What a sweep of the camera measured, and what of it stands in its table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vjepa_gym.agents.camera_rotation import RotationEstimate
from vjepa_gym.experiments.camera.inferred import Inferred
from vjepa_gym.experiments.results import Evaluation, Summary

PLAIN, CORRECTED = "uncorrected", "corrected"
"""The agent as if the camera stood where it did in training, and corrected for the estimate."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """What was measured with the camera at one place.

    Attributes:
        offset: Its azimuth, counted from that of the training [deg].
        azimuth: Its azimuth [deg].
        inferred: The paper's study: inferred actions against true ones.
        estimates: Of the rotation, each from moves of its own; plans are corrected for the first.
        evaluation: Episodes without and with the correction, on the same seeds, if there were any.
    """

    offset: float
    azimuth: float
    inferred: Inferred
    estimates: tuple[RotationEstimate, ...]
    evaluation: Evaluation | None = None

    @property
    def estimate(self) -> float:
        """The estimate that plans are corrected for [deg]."""
        return float(np.degrees(self.estimates[0].angle))

    @property
    def spread(self) -> float:
        """Its standard error [deg]."""
        return float(np.degrees(self.estimates[0].spread))

    @property
    def wrong(self) -> float:
        """How far the estimates are from the truth, on average over the trials [deg]."""
        found = np.degrees([one.angle for one in self.estimates])
        return float(np.abs(found - self.offset).mean())

    def summaries(self) -> dict[str, Summary]:
        """Return the figures of the episodes by agent; none without episodes."""
        if self.evaluation is None:
            return {}
        return {row.agent: row for row in self.evaluation.summaries()}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that was measured, and what it depended on.

    Attributes:
        title: What was swept.
        positions: By growing offset.
        facts: What is known about the model.
        configuration: What the run was told.
    """

    title: str
    positions: Sequence[Position]
    facts: Mapping[str, Any]
    configuration: Mapping[str, Any]

    def recovered(self, position: Position) -> float | None:
        """Return the part of the lost success that the correction wins back; None if none is lost.

        Lost is what the agent succeeds in less than with the camera of the training.
        """
        rates = {
            one.offset: {name: row.rate for name, row in one.summaries().items()}
            for one in self.positions
        }
        here, there = rates[position.offset], rates.get(0.0)
        if not here or not there or there[PLAIN] <= here[PLAIN]:
            return None
        return (here[CORRECTED] - here[PLAIN]) / (there[PLAIN] - here[PLAIN])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values: degrees and metres."""
        return {
            "title": self.title,
            "positions": [self._position(one) for one in self.positions],
        }

    def _position(self, position: Position) -> dict[str, Any]:
        inferred = position.inferred
        return {
            "offset": position.offset,
            "azimuth": position.azimuth,
            "inferred": {
                "matrix": inferred.matrix.tolist(),
                "rotation": float(np.degrees(inferred.rotation)),
                "condition": _or_none(inferred.condition),
                "error": inferred.error,
                "remaining": inferred.remaining,
                "way": inferred.way,
            },
            "estimate": position.estimate,
            "spread": _or_none(position.spread),
            "wrong": position.wrong,
            "estimates": [_estimate(one) for one in position.estimates],
            "episodes": {
                name: asdict(row) | {"recovered": self.recovered(position)}
                if name == CORRECTED
                else asdict(row)
                for name, row in position.summaries().items()
            },
            "succeeded": _succeeded(position.evaluation),
        }


def _estimate(estimate: RotationEstimate) -> dict[str, Any]:
    return {
        "angle": float(np.degrees(estimate.angle)),
        "spread": _or_none(float(np.degrees(estimate.spread))),
        "angles": np.degrees(estimate.angles).tolist(),
        "errors": estimate.errors.tolist(),
    }


def _succeeded(evaluation: Evaluation | None) -> dict[str, dict[int, bool]]:
    """Return which seeds succeeded, by agent."""
    if evaluation is None:
        return {}
    return {
        name: {record.seed: record.success for record in evaluation.counted(name)}
        for name in evaluation.records
    }


def _or_none(number: float) -> float | None:
    """Return a number, None if it is infinite: JSON has no word for that."""
    return number if np.isfinite(number) else None
