"""What the literature reports of real Frankas in the same seven columns."""

from collections.abc import Mapping
from dataclasses import dataclass

TABLE_2 = "real robot (paper, Table 2)"
TABLE_3 = "real robot (paper, Table 3)"
HIERARCHY = "real robot (arXiv 2604.03208)"
FOOTNOTE = (
    "The paper is V-JEPA 2 (arXiv 2506.09985): ten trials a task and lab, Table 2 over two labs, "
    "Table 3 in the second; the intervals are ours, the times are on one RTX 4090. Real robots and "
    "rooms differ from simulated ones: these rows stand here for scale."
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row of somebody else's table.

    Attributes:
        agent: Whose.
        source: Where it stands.
        about: What else to know of it.
        rates: Share of successes by task.
        trials: How many there were in each; None if we do not know.
        seconds: Time of a decision [s]; None if that is not reported.
        evaluations: How many action sequences were imagined for one; None likewise.
    """

    agent: str
    source: str
    about: str = ""
    rates: Mapping[str, float]
    trials: int | None = None
    seconds: float | None = None
    evaluations: int | None = None


PUBLISHED = (
    Published(
        agent="V-JEPA 2-AC",
        source=TABLE_2,
        rates={
            "reach": 1.0,
            "grasp_cup": 0.65,
            "grasp_box": 0.25,
            "reach_with_cup": 0.75,
            "reach_with_box": 0.75,
            "pick_place_cup": 0.8,
            "pick_place_box": 0.65,
        },
        trials=20,
        seconds=16.0,
        evaluations=8000,
    ),
    Published(
        agent="Octo",
        source=TABLE_2,
        rates={
            "reach": 1.0,
            "grasp_cup": 0.15,
            "grasp_box": 0.0,
            "reach_with_cup": 0.15,
            "reach_with_box": 0.7,
            "pick_place_cup": 0.15,
            "pick_place_box": 0.1,
        },
        trials=20,
    ),
    Published(
        agent="Cosmos",
        source=TABLE_3,
        rates={
            "reach": 0.8,
            "grasp_cup": 0.0,
            "grasp_box": 0.2,
            "pick_place_cup": 0.0,
            "pick_place_box": 0.0,
        },
        trials=10,
        seconds=240.0,
        evaluations=800,
    ),
    Published(
        agent="V-JEPA 2-AC",
        source=HIERARCHY,
        about="flat",
        rates={"pick_place_cup:single": 0.0, "pick_place_box:single": 0.0},
    ),
    Published(
        agent="V-JEPA 2-AC",
        source=HIERARCHY,
        about="two levels",
        rates={"pick_place_cup:single": 0.7, "pick_place_box:single": 0.6},
    ),
)
"""The rows, those of a table together."""
