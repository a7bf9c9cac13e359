"""From one of a goal's views to the next: by the clock, or when the energy has fallen."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64

RULES = ("steps", "energy")
"""When a view has had its turn."""
EnergyOf: TypeAlias = Callable[[Int64[np.ndarray, " n"]], Float64[np.ndarray, " n"]]
"""The energy that each robot's present view has with respect to one of its goal's views."""


@dataclass(frozen=True, kw_only=True)
class Switching:
    """When a robot turns to the next of its goal's views; the last one stays.

    Attributes:
        by: `steps`, after the steps allowed for the view, as in V-JEPA 2 (4 + 10 + 4 for
            pick-and-place); `energy`, as soon as the energy has fallen, but not much later.
        below: With `energy`: the part of the energy a robot had when the view became the current
            one, at which it has been made true.
        patience: With `energy`: how many times the steps allowed for a view it may take at most.
    """

    by: str = "steps"
    below: float = 0.3
    patience: float = 1.0

    def __post_init__(self) -> None:
        if self.by not in RULES:
            raise ValueError(f"by must be one of {', '.join(RULES)}, got {self.by!r}")
        if not 0 < self.below < 1:
            raise ValueError(f"below must lie between 0 and 1, got {self.below}")
        if not (math.isfinite(self.patience) and self.patience > 0):
            raise ValueError(f"patience must be finite and positive, got {self.patience}")


class Views:
    """Which view each robot is to make true now; every robot goes on by itself.

    Attributes:
        current: The number of the view.
        elapsed: Steps since it became the current one.
    """

    def __init__(self, switching: Switching, steps: tuple[int, ...], n: int) -> None:
        """Begin with the first view.

        Args:
            switching: When to go on.
            steps: Control steps allowed for each view.
            n: How many robots there are.
        """
        self.current = np.zeros(n, np.int64)
        self.elapsed = np.zeros(n, np.int64)
        self._steps = np.array(steps, np.int64)
        self._at_first = np.zeros(n)
        self._switching = switching

    @property
    def left(self) -> Int64[np.ndarray, " n"]:
        """How many control steps are left for the current view, the present one included."""
        return np.maximum(self._steps[self.current] - self.elapsed, 1)

    def begin(self, which: Bool[np.ndarray, " n"]) -> None:
        """Let some robots begin anew."""
        self.current[which] = 0
        self.elapsed[which] = 0

    def advance(self, energy_of: EnergyOf) -> Float64[np.ndarray, " n"]:
        """Go on to the next view where it is time.

        Args:
            energy_of: Of the present view, to a view of the goal.

        Returns:
            The energies to the views that are now current.
        """
        energies = energy_of(self.current)
        done = self._had_its_turn(energies) & (self.current < len(self._steps) - 1)
        if done.any():
            self.current[done] += 1
            self.elapsed[done] = 0
            energies = np.where(done, energy_of(self.current), energies)
        new = self.elapsed == 0
        self._at_first[new] = energies[new]
        return energies

    def step(self) -> None:
        """Count a control step."""
        self.elapsed += 1

    def _had_its_turn(self, energies: Float64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        allowed = self._steps[self.current]
        if self._switching.by == "steps":
            return self.elapsed >= allowed
        fallen = energies <= self._switching.below * self._at_first
        late = self.elapsed >= np.ceil(self._switching.patience * allowed)
        return ((self.elapsed > 0) & fallen) | late
