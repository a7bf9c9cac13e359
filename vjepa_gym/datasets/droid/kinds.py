"""What can be wrong with an episode, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vjepa_gym.errors import DatasetError

Value = TypeVar("Value")

KINDS = {
    "missing_file": "a file that every episode has is not there",
    "several_descriptions": "there is more than one JSON file; readers take any of them",
    "description": "the metadata cannot be read, or are not those of an episode",
    "missing_key": "a key that readers look for is not there",
    "wrong_type": "something else than the numbers, text or truth value that belongs there",
    "wrong_shape": "a column has another shape, or not one entry a row",
    "frame_mismatch": "a video has not one frame a row",
    "not_finite": "a number is NaN or infinite",
    "pose_jump": "the pose changes faster than any arm moves",
    "gripper_range": "the closedness of the gripper lies outside of 0 to 1",
    "time": "the timestamps do not increase",
    "too_short": "there are fewer frames than a clip of the loader takes",
    "unreadable_video": "a video is truncated, damaged, or none",
    "unreadable_rows": "the trajectory.h5 is truncated, damaged, or none",
    "video_size": "the pictures of a video differ in size, or are larger than any camera's",
    "checksum": "a file is not what was written, by vjg/SHA256SUMS",
    "wrap_around": "an Euler angle leaps by a turn, and a reader that subtracts angles is wrong",
    "space_in_path": "the path has a blank, where public loaders split their lists",
    "missing_view": "the left, right or wrist view is not there",
    "null_value": "the metadata have a null, which DROID's own validator refuses",
    "length": "the metadata tell another number of rows than there are",
    "outcome": "the metadata and the folder's name disagree on success",
    "calibration": "the optical centre lies outside of the picture: other pixels were meant",
}
"""Each kind and what it means."""

NOTES = frozenset(
    {
        "wrap_around",
        "space_in_path",
        "missing_view",
        "null_value",
        "length",
        "outcome",
        "calibration",
    }
)
"""Kinds over which some readers stumble; with any other an episode cannot be used as it is."""


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One thing that is wrong with an episode.

    Attributes:
        kind: One of `KINDS`.
        detail: A sentence: where, what is there, and what was expected.
    """

    kind: str
    detail: str

    @property
    def severity(self) -> str:
        """`error` if the episode cannot be used as it is, else `note`."""
        return "note" if self.kind in NOTES else "error"


class DefectError(DatasetError):
    """An episode cannot be read; `defect` says why."""

    def __init__(self, defect: Defect) -> None:
        super().__init__(defect)
        self.defect = defect

    def __str__(self) -> str:
        return self.defect.detail


def defect(kind: str, path: Path, said: str) -> Defect:
    """Return a defect of a file or folder."""
    return Defect(kind=kind, detail=f"{path}: {said}.")


def errors(defects: Sequence[Defect]) -> list[Defect]:
    """Return those with which an episode cannot be used."""
    return [one for one in defects if one.severity == "error"]


def require(value: Value | None, defects: Sequence[Defect]) -> Value:
    """Return what was read.

    Raises:
        DefectError: It cannot be used; the first of the reasons.
    """
    for one in errors(defects):
        raise DefectError(one)
    if value is None:
        raise AssertionError("what could not be read has a defect")
    return value
