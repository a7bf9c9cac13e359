"""What an audit found, as one value."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjepa_gym.datasets.droid.kinds import NOTES
from vjepa_gym.experiments.audit.examples import Example
from vjepa_gym.experiments.audit.findings import ERROR, MEANINGS, NOTE, Finding
from vjepa_gym.experiments.audit.statistics import Statistics

FORMAT = "vjepa_gym audit 1"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found in a dataset.

    Attributes:
        root: The dataset.
        settings: How it was checked.
        episodes: How many episodes there are, with those that lack their trajectory.h5.
        broken: How many of them have an error.
        findings: What is wrong, sorted by path.
        advice: How to mend damaged episodes, in sentences.
        statistics: What the data are like, of the episodes that can be described.
        examples: Episodes to look at.
        seconds: How long it took [s].
    """

    root: Path
    settings: Mapping[str, Any]
    episodes: int
    broken: int
    findings: Sequence[Finding]
    advice: Sequence[str]
    statistics: Statistics
    examples: Sequence[Example]
    seconds: float

    def by_kind(self) -> dict[str, list[Finding]]:
        """Return the findings by kind, errors first, and among those the most frequent."""
        groups: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            groups[finding.kind].append(finding)
        order = sorted(groups, key=lambda kind: (groups[kind][0].severity, -len(groups[kind])))
        return {kind: groups[kind] for kind in order}

    def concerns_most(self, kind: str) -> bool:
        """Return whether a kind is a note that most episodes have, so that no example is needed."""
        places = {finding.path for finding in self.findings if finding.kind == kind}
        return kind in NOTES and len(places) > max(1, self.episodes // 2)

    def count(self, severity: str) -> int:
        """Return how many findings have a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def verdict(self) -> str:
        """Return how many errors there are, without a full stop."""
        errors = self.count(ERROR)
        if not errors:
            return f"no error in {_count(self.episodes, 'episode')}"
        return (
            f"{_count(errors, 'error')}; {self.broken:,} of {_count(self.episodes, 'episode')} "
            f"{'is' if self.broken == 1 else 'are'} broken"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything under stable keys."""
        return {
            "format": FORMAT,
            "root": str(self.root.absolute()),
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 3),
            "episodes": self.episodes,
            "broken_episodes": self.broken,
            "errors": self.count(ERROR),
            "notes": self.count(NOTE),
            "kinds": {
                kind: {
                    "severity": findings[0].severity,
                    "meaning": MEANINGS.get(kind, ""),
                    "count": len(findings),
                    "places": len({finding.path for finding in findings}),
                }
                for kind, findings in self.by_kind().items()
            },
            "advice": list(self.advice),
            "findings": [finding.to_json() for finding in self.findings],
            "data": self.statistics.to_json(),
        }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
