"""What an audit finds wrong: in an episode, in the list of episodes, or beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from vjepa_gym.datasets.droid.defects import KINDS, NOTES

ERROR, NOTE = "error", "note"
NO_TRAJECTORY = "no_trajectory"

OF_THE_AUDIT: Mapping[str, str] = {
    "crash": "the process that reads the episode dies of it",
    "timeout": "reading the episode does not end in time",
    "undescribed": "what the episode contains cannot be told",
    "empty": "there is no episode at all",
    NO_TRAJECTORY: "a folder has videos or a description, but no trajectory.h5",
    "unreadable_folder": "a folder may not be listed",
    "unreadable_list": "a list of episodes cannot be read",
    "moved": "a list names another root, as if the dataset had been copied or moved",
    "listed_twice": "a list names an episode more than once",
    "listed_not_there": "a list names an episode that is not there",
    "there_not_listed": "an episode is missing in a list",
    "listed_otherwise": "a list says of an episode what is not so",
    "same_uuid": "several episodes have one uuid",
    "same_number": "several episodes have one number",
    "unfinished": "a killed writer left a part of an episode",
    "being_written": "a process is writing here: an audit afterwards may find something else",
    "set_aside": "an earlier run found an episode broken and moved it out",
    "belongs_to_nothing": "a file is part of no episode",
}
"""Kinds of findings beyond `datasets.defects.KINDS`, and what they mean."""
MEANINGS: Mapping[str, str] = {**KINDS, **OF_THE_AUDIT}
"""All kinds of findings, and what they mean."""
HARMLESS = NOTES | {"moved", "unfinished", "being_written", "set_aside", "belongs_to_nothing"}
"""Kinds that leave every episode usable; all others are errors."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: One of `MEANINGS`.
        path: Where: relative to the dataset's root if it lies within.
        detail: What exactly, in words.
    """

    kind: str
    path: str
    detail: str

    @property
    def severity(self) -> str:
        """`ERROR`, or `NOTE` for what leaves every episode usable."""
        return NOTE if self.kind in HARMLESS else ERROR

    def to_json(self) -> dict[str, str]:
        """Return everything."""
        return {"severity": self.severity, **asdict(self)}
