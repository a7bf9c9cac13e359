"""All that this package raises on purpose: a message says what was wrong and what would work."""

import difflib
from collections.abc import Iterable


class VJEPAGymError(Exception):
    """Base of all errors that this package raises on purpose."""


class InvalidActionError(VJEPAGymError, ValueError):
    """An action has the wrong shape or is not finite; nothing moved."""


class UnknownNameError(VJEPAGymError, KeyError):
    """A name is not among those that exist."""

    def __init__(self, kind: str, name: str, available: Iterable[str]) -> None:
        available = sorted(available)
        close = difflib.get_close_matches(name, available, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(available)}.")
        self._told = (kind, name, available)

    def __reduce__(self) -> tuple[type, tuple[str, str, list[str]]]:
        # Without it an error could not leave the process in which it was raised.
        return type(self), self._told

    def __str__(self) -> str:
        # KeyError would show the repr of the message.
        return str(self.args[0])


class CheckpointError(VJEPAGymError):
    """A model file is missing, truncated, foreign or does not fit the model it is loaded into."""


class DatasetError(VJEPAGymError):
    """A dataset or an episode on disk is missing, incomplete or not what it claims to be."""


class GoalError(VJEPAGymError):
    """A goal made by hand is missing, damaged, foreign, or shows what cannot be."""


class RenderingError(VJEPAGymError):
    """No picture can be drawn on this machine; the message names the command that mends it."""


class WorkspaceError(VJEPAGymError):
    """The arm was asked to be where it cannot or must not be."""


class PlacementError(WorkspaceError, ValueError):
    """Something was to be put where it cannot be; the message says where it can."""


class UnsolvableError(VJEPAGymError):
    """No episode of this kind can be done, even by the expert."""


class EvaluationError(VJEPAGymError, ValueError):
    """Nothing was measured; the message says what to change."""


class VariationError(VJEPAGymError, ValueError):
    """A variation is outside of what is possible; the message says what is."""


class EpisodeOverError(VJEPAGymError):
    """A step was asked for after the end of an episode, or before its beginning."""


class TrainingError(VJEPAGymError):
    """A training diverged or collapsed; the message says what to try."""


class PlanningError(VJEPAGymError):
    """No plan can be found, since what is imagined is not finite."""
