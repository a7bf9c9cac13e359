"""The table of gates: what was measured of a world model, what is wanted, and what passes.

The numbers are kept with the model as `gates.json`. What was not measured says why, and neither
passes nor fails.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vjepa_gym.world_models.gate_rows import FAILED, GateRow, GateThresholds

AHEAD = 4
"""How many steps ahead predictions are judged."""
NOISE = 0.6
"""Two deviations of a percentile that is drawn evenly; that of the mean of few steps is no leak."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What was measured. Predictions are one step ahead, two, and so on; hands are x, y and z.

    None is what was not measured; models of earlier versions lack some.

    Attributes:
        ridge_error_mm: Mean absolute error of the end effector read linearly from latents [mm].
        mlp_error_mm: The same read by a small network [mm].
        chance_error_mm: The same when always saying the mean position [mm].
        true_action_percentile: Share of random actions of the same length that lead closer to the
            next frame's latents than the true action: 0 is best, 0.5 is chance.
        prediction_over_persistence: Prediction error over that of predicting no change.
        prediction_over_persistence_changed: The same on the quarter of tokens that change most.
        shuffled_action_percentile: The percentile of another step's action instead of the true one:
            anything but 0.5 means that the ranking itself leaks.
        shuffled_over_persistence: Prediction error given another step's actions, one step ahead.
        transitions: How many control steps were judged.
        episodes: How many episodes these were drawn from.
        object_error_mm: Error along x and y of the better probe of each object, by name [mm].
        object_chance_mm: The same when always saying the mean position [mm].
        gripper_r2: Part of the variance of the gripper's closedness that the better probe explains.
        lifted_auc: By object, how often a view with it off the table is ranked above one with it on
            the table by the better probe: 1 is best, 0.5 is chance.
        gripper_percentile: Where the gripper moved, the share of {open, hold, close} without the
            true one that leads closer to the next frame's latents: 0 is best, 0.5 is chance.
        gripper_moves: In how many steps it moved.
        landscape_argmin_mm: Distance from the true action to the action of least energy, the median
            over steps [mm].
        landscape_monotone: On which part of the straight way from holding still to the true action
            the energy falls, on average.
        landscapes: How many steps these two are of.
        oracle_success: Share of episodes that succeed when the simulator itself imagines.
        model_success: The same when the model does, with the same search and seeds.
        oracle_episodes: How many episodes these two are of.
        not_measured: Why a number is None, by its name.
    """

    ridge_error_mm: list[float]
    mlp_error_mm: list[float]
    chance_error_mm: list[float]
    true_action_percentile: float
    prediction_over_persistence: list[float]
    prediction_over_persistence_changed: list[float]
    shuffled_action_percentile: float
    shuffled_over_persistence: float
    transitions: int
    episodes: int | None = None
    object_error_mm: dict[str, list[float]] | None = None
    object_chance_mm: dict[str, list[float]] | None = None
    gripper_r2: float | None = None
    lifted_auc: dict[str, float] | None = None
    gripper_percentile: float | None = None
    gripper_moves: int | None = None
    landscape_argmin_mm: float | None = None
    landscape_monotone: float | None = None
    landscapes: int | None = None
    oracle_success: float | None = None
    model_success: float | None = None
    oracle_episodes: int | None = None
    not_measured: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return dataclasses.asdict(self)

    def rows(self, thresholds: GateThresholds | None = None) -> list[GateRow]:
        """Return the table, a line for each gate."""
        limits = thresholds or GateThresholds()
        return [
            *_probes(self, limits),
            *_predictions(self, limits),
            *_landscapes(self, limits),
            *_controls(self, limits),
        ]

    def failures(self, thresholds: GateThresholds | None = None) -> list[str]:
        """Return a sentence for each gate that is not passed, with its number and threshold."""
        return [
            f"{row.gate}: {row.value:.3g}, {row.wanted} is wanted"
            for row in self.rows(thresholds)
            if row.verdict == FAILED
        ]

    def reason(self, name: str) -> str:
        """Return why a number was not measured."""
        return self.not_measured.get(name, "the model was judged by an earlier version")


def _probes(gates: Gates, limits: GateThresholds) -> list[GateRow]:
    hand = list(map(min, gates.ridge_error_mm, gates.mlp_error_mm))
    objects, lifted = gates.object_error_mm, gates.lifted_auc
    return [
        GateRow(
            gate="end effector read [mm]",
            value=_worst(hand),
            limit=limits.probe_error_mm,
            figures=_numbers(hand),
            chance=_numbers(gates.chance_error_mm),
        ),
        GateRow(
            gate="objects' x and y read [mm]",
            value=None if objects is None else _worst([x for xy in objects.values() for x in xy]),
            limit=limits.object_error_mm,
            figures=_by_name(objects),
            chance=_by_name(gates.object_chance_mm),
            reason=gates.reason("object_error_mm"),
        ),
        GateRow(
            gate="gripper's closedness read [R2]",
            value=gates.gripper_r2,
            limit=limits.gripper_r2,
            at_least=True,
            chance="0",
            reason=gates.reason("gripper_r2"),
        ),
        GateRow(
            gate="objects off the table told [AUC]",
            value=None if lifted is None else min(lifted.values()),
            limit=limits.lifted_auc,
            at_least=True,
            figures=_by_name(lifted),
            chance="0.5",
            reason=gates.reason("lifted_auc"),
        ),
    ]


def _predictions(gates: Gates, limits: GateThresholds) -> list[GateRow]:
    changed = gates.prediction_over_persistence_changed
    ahead = [
        GateRow(
            gate=f"prediction / persistence, {words} ahead",
            value=changed[steps - 1] if steps <= len(changed) else None,
            limit=limits.prediction_over_persistence,
            chance="1",
            reason=gates.not_measured.get(
                "prediction_over_persistence", f"measured {len(changed)} steps ahead at most"
            ),
        )
        for steps, words in ((1, "one step"), (AHEAD, "four steps"))
    ]
    return [
        GateRow(
            gate="percentile of the true action",
            value=gates.true_action_percentile,
            limit=limits.true_action_percentile,
            chance="0.5",
        ),
        GateRow(
            gate="percentile of the true gripper action",
            value=gates.gripper_percentile,
            limit=limits.gripper_percentile,
            chance="0.5",
            reason=gates.reason("gripper_percentile"),
        ),
        *ahead,
    ]


def _landscapes(gates: Gates, limits: GateThresholds) -> list[GateRow]:
    return [
        GateRow(
            gate="least energy from the true action [mm]",
            value=gates.landscape_argmin_mm,
            limit=limits.landscape_argmin_mm,
            reason=gates.reason("landscape_argmin_mm"),
        ),
        GateRow(
            gate="energy falls on the way to it [share]",
            value=gates.landscape_monotone,
            limit=limits.landscape_monotone,
            at_least=True,
            chance="0.5",
            reason=gates.reason("landscape_monotone"),
        ),
    ]


def _controls(gates: Gates, limits: GateThresholds) -> list[GateRow]:
    shuffled, true = gates.shuffled_over_persistence, gates.prediction_over_persistence[0]
    beside = "" if gates.model_success is None else f" (the model {gates.model_success:.3g})"
    return [
        GateRow(
            gate="percentile of another's action, from 0.5",
            value=abs(gates.shuffled_action_percentile - 0.5),
            limit=max(limits.shuffled_action_margin, NOISE / math.sqrt(gates.transitions)),
        ),
        GateRow(
            gate="error given another's action / the true",
            value=shuffled / true if true > 0 else (math.inf if shuffled > 0 else math.nan),
            limit=limits.shuffled_over_true,
            at_least=True,
            chance="1",
        ),
        GateRow(
            gate="oracle's successes, same energy",
            value=gates.oracle_success,
            limit=limits.oracle_success,
            at_least=True,
            figures="" if gates.oracle_success is None else f"{gates.oracle_success:.3g}{beside}",
            reason=gates.reason("oracle_success"),
        ),
    ]


def _worst(values: list[float]) -> float:
    """Return the largest; NaN if one of them is no number, which `max` would hide."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _by_name(values: Mapping[str, list[float] | float] | None) -> str:
    told = [
        f"{name} {_numbers(value if isinstance(value, list) else [value])}"
        for name, value in (values or {}).items()
    ]
    return ", ".join(told)
