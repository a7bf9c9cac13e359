"""What each gate wants, and one line of their table."""

from dataclasses import dataclass

PASSED, FAILED, NOT_MEASURED = "passed", "failed", "not measured"


@dataclass(kw_only=True)
class GateThresholds:
    """What counts as passed."""

    probe_error_mm: float = 5.0
    """Largest error along an axis of the better probe of the end effector [mm]."""
    object_error_mm: float = 8.0
    """Largest error along x or y of the better probe of any object [mm]."""
    gripper_r2: float = 0.95
    """Least part of the variance of the gripper's closedness that the better probe explains."""
    lifted_auc: float = 0.98
    """Least chance that a view with an object off the table is told from one with it on it."""
    true_action_percentile: float = 0.05
    """Largest share of random actions that explain the next frame better than the true one."""
    gripper_percentile: float = 0.1
    """Largest share of other gripper actions that explain it better where the gripper moved."""
    prediction_over_persistence: float = 0.5
    """Largest prediction error on tokens that change, where predicting no change has 1."""
    landscape_argmin_mm: float = 10.0
    """Largest distance from the true action to the action of least energy [mm]."""
    landscape_monotone: float = 0.9
    """Least part of the straight way to the true action on which the energy falls."""
    shuffled_action_margin: float = 0.1
    """How far from chance (0.5) the percentile of another step's action may be."""
    shuffled_over_true: float = 1.2
    """Least prediction error given another step's action, where that given the true one has 1."""
    oracle_success: float = 0.8
    """Least share of episodes that succeed with perfect foresight."""


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """One line of the table.

    Attributes:
        gate: What is judged, with its unit.
        value: What is compared with the limit; None if it was not measured.
        limit: What is still good enough.
        at_least: Whether more is better.
        figures: All that was measured for it.
        chance: What a control has that knows nothing; empty where there is none.
        reason: Why it was not measured.
    """

    gate: str
    value: float | None
    limit: float
    at_least: bool = False
    figures: str = ""
    chance: str = ""
    reason: str = ""

    @property
    def wanted(self) -> str:
        """The limit in words."""
        return f"at {'least' if self.at_least else 'most'} {self.limit:.3g}"

    @property
    def verdict(self) -> str:
        """One of `PASSED`, `FAILED` and `NOT_MEASURED`; what is no number does not pass."""
        if self.value is None:
            return NOT_MEASURED
        good = self.value >= self.limit if self.at_least else self.value <= self.limit
        return PASSED if good else FAILED

    @property
    def measured(self) -> str:
        """What was measured; `not measured` and why, if it was not."""
        if self.value is None:
            return f"{NOT_MEASURED}: {self.reason}"
        return self.figures or f"{self.value:.3g}"
