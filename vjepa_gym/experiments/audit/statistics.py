"""What the data of a whole dataset are like, added up episode by episode."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from vjepa_gym.datasets.droid.defects import ClipNeeds
from vjepa_gym.experiments.audit.counts import Histogram, Places
from vjepa_gym.experiments.audit.episode import Facts

MOST_NAMES = 200
"""So many tasks, policies or labs are told apart in what is written; the rest is added up."""
OTHERS = "others"


@dataclass(kw_only=True)
class Outcomes:
    """How many episodes there were, and how many of them succeeded."""

    episodes: int = 0
    successes: int = 0

    def add(self, success: bool) -> None:
        """Count one more episode."""
        self.episodes += 1
        self.successes += success

    def merge(self, other: "Outcomes") -> None:
        """Count those of another as well."""
        self.episodes += other.episodes
        self.successes += other.successes

    def to_json(self) -> dict[str, int]:
        """Return everything."""
        return {"episodes": self.episodes, "successes": self.successes}


@dataclass(kw_only=True)
class Header:
    """Episodes whose videos say the same number of frames a second.

    Attributes:
        rate: What they say.
        episodes: How many there are.
        sampled: From how many of them the loader could take a clip.
        steps: How many steps from row to row they have.
        seconds: How long those took together [s].
    """

    rate: Fraction
    episodes: int = 0
    sampled: int = 0
    steps: int = 0
    seconds: float = 0.0

    @property
    def step_seconds(self) -> float | None:
        """How long a step from row to row truly takes in the mean [s]; None without any."""
        return self.seconds / self.steps if self.steps else None

    def stride(self, loader: ClipNeeds) -> int:
        """Return every how many rows a loader takes one."""
        return (loader.rows(self.rate) - 1) // loader.frames

    def to_json(self, loader: ClipNeeds | None) -> dict[str, Any]:
        """Return everything, with what `loader` would make of it."""
        told: dict[str, Any] = {
            "header_fps": float(self.rate),
            "episodes": self.episodes,
            "true_rows_per_second": 1 / self.step_seconds if self.step_seconds else None,
        }
        if loader is not None:
            stride = self.stride(loader)
            told |= {
                "stride": stride,
                "rows_needed": loader.rows(self.rate),
                "sampled_episodes": self.sampled,
                "nominal_step_seconds": 1 / loader.fps,
                "true_step_seconds": self.step_seconds and self.step_seconds * stride,
            }
        return told


Shape: TypeAlias = tuple[str, int, int, Fraction]
"""The name of a camera, width and height [px], frames a second by the header."""
UNKNOWN = Fraction(0)
"""What a header says that says no rate."""


@dataclass(kw_only=True)
class Statistics:
    """What the data of many episodes are like.

    Attributes:
        loader: Whose clips are counted.
        episodes: How many episodes were added.
        rows: Observations in them.
        seconds: Their true time [s].
        size: Of their files [bytes].
        outcome: Of all.
        tasks: By task.
        policies: By behaviour.
        labs: By who recorded.
        lengths: Rows of an episode.
        times: True time of an episode [s].
        cameras: How many episodes have such a video.
        headers: By what the videos say of their rate.
        translation: From row to row [m].
        rotation: From row to row [rad].
        gripper: Change of closedness from row to row.
        duration: From row to row [s].
        places: Where the flange went, in the base frame.
    """

    loader: ClipNeeds | None = None
    episodes: int = 0
    rows: int = 0
    seconds: float = 0.0
    size: int = 0
    outcome: Outcomes = field(default_factory=Outcomes)
    tasks: dict[str, Outcomes] = field(default_factory=lambda: defaultdict(Outcomes))
    policies: dict[str, Outcomes] = field(default_factory=lambda: defaultdict(Outcomes))
    labs: dict[str, Outcomes] = field(default_factory=lambda: defaultdict(Outcomes))
    lengths: Histogram = field(default_factory=lambda: Histogram(0.0, 20_000.0, 20_000))
    times: Histogram = field(default_factory=lambda: Histogram(0.0, 3600.0, 36_000))
    cameras: Counter[Shape] = field(default_factory=Counter)
    headers: dict[Fraction, Header] = field(default_factory=dict)
    translation: Histogram = field(default_factory=lambda: Histogram(0.0, 1.0, 4000))
    rotation: Histogram = field(default_factory=lambda: Histogram(0.0, np.pi, 6000))
    gripper: Histogram = field(default_factory=lambda: Histogram(-1.0, 1.0, 8000))
    duration: Histogram = field(default_factory=lambda: Histogram(0.0, 10.0, 10_000))
    places: Places = field(default_factory=Places)

    def add(self, facts: Facts) -> None:
        """Add one more episode."""
        self.episodes += 1
        self.rows += facts.rows
        self.size += facts.size
        self.lengths.add(np.array([float(facts.rows)]))
        self.seconds += facts.seconds
        self.times.add(np.array([facts.seconds]))
        for outcomes in (
            self.outcome,
            self.tasks[facts.task],
            self.policies[facts.policy],
            self.labs[facts.lab],
        ):
            outcomes.add(facts.success)
        for values, histogram in zip(
            facts.moves.T, (self.translation, self.rotation, self.gripper), strict=True
        ):
            histogram.add(values)
        self.duration.add(facts.step_seconds)
        self.places.add(facts.positions)
        self._add_videos(facts)

    def _add_videos(self, facts: Facts) -> None:
        for name, video in facts.videos.items():
            self.cameras[name, video.width, video.height, video.rate or UNKNOWN] += 1
        for rate in {video.rate for video in facts.videos.values() if video.rate}:
            header = self.headers.setdefault(rate, Header(rate=rate))
            header.episodes += 1
            header.steps += len(facts.step_seconds)
            header.seconds += facts.seconds
            if self.loader is not None:
                frames = [video.frames for video in facts.videos.values() if video.rate == rate]
                header.sampled += min(frames) >= self.loader.rows(rate)

    def to_json(self) -> dict[str, Any]:
        """Return everything under stable keys; what nobody knows is None."""
        headers = [self.headers[rate] for rate in sorted(self.headers)]
        return {
            "episodes": self.episodes,
            "rows": self.rows,
            "hours": round(self.seconds / 3600, 6),
            "bytes": self.size,
            "bytes_per_episode": round(self.size / self.episodes) if self.episodes else None,
            "outcome": self.outcome.to_json(),
            "tasks": _told(self.tasks),
            "policies": _told(self.policies),
            "labs": _told(self.labs),
            "rows_per_episode": self.lengths.to_json(),
            "seconds_per_episode": self.times.to_json(),
            "cameras": [
                {
                    "camera": name,
                    "width": width,
                    "height": height,
                    "header_fps": float(rate) or None,
                    "episodes": count,
                }
                for (name, width, height, rate), count in sorted(self.cameras.items())
            ],
            "headers": [header.to_json(self.loader) for header in headers],
            "steps": {
                "translation_m": self.translation.to_json(),
                "rotation_rad": self.rotation.to_json(),
                "gripper": self.gripper.to_json(),
                "seconds": self.duration.to_json(),
            },
            "workspace_m": self.places.to_json(),
        }


def said(rate: Fraction) -> str:
    """Return what a header says of the frames a second."""
    return "not said" if rate == UNKNOWN else f"{float(rate):g}/s"


def most_common(groups: Mapping[str, Outcomes], most: int = MOST_NAMES) -> dict[str, Outcomes]:
    """Return the groups with most episodes in front, and those beyond `most` as one."""
    ordered = sorted(groups.items(), key=lambda item: (-item[1].episodes, item[0]))
    if len(ordered) <= most:
        return dict(ordered)
    rest = Outcomes()
    for _, outcomes in ordered[most:]:
        rest.merge(outcomes)
    return {**dict(ordered[:most]), f"{len(ordered) - most} {OTHERS}": rest}


def _told(groups: Mapping[str, Outcomes]) -> dict[str, dict[str, int]]:
    return {name: outcomes.to_json() for name, outcomes in most_common(groups).items()}
