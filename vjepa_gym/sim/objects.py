"""Which things stand on the table of a lab."""

from dataclasses import dataclass, field

from vjepa_gym.errors import UnknownNameError, VariationError
from vjepa_gym.sim.shapes import Box, Can, Corner, Cup, Prop
from vjepa_gym.sim.solids import FRICTION as FRICTION
from vjepa_gym.sim.solids import GRIP as GRIP

MOST_DISTRACTORS = 4


@dataclass(frozen=True, kw_only=True)
class ObjectSet:
    """What may stand on the table of a lab.

    Attributes:
        cup: The thing that tasks call the cup.
        box: The thing that tasks call the box.
        distractors: Things that no task asks for, at most `MOST_DISTRACTORS`.
    """

    cup: Prop = field(default_factory=Cup)
    box: Prop = field(default_factory=Box)
    distractors: tuple[Prop, ...] = ()

    def shapes(self, distractors: int) -> dict[str, Prop]:
        """Return the things by name, the first few distractors among them.

        Raises:
            VariationError: There are not so many.
        """
        if not 0 <= distractors <= len(self.distractors):
            raise VariationError(
                f"There can be 0 to {len(self.distractors)} distractors, not {distractors}."
            )
        further = self.distractors[:distractors]
        named = {f"distractor{i}": shape for i, shape in enumerate(further, start=1)}
        return {"cup": self.cup, "box": self.box, **named}


TRAIN = ObjectSet(
    distractors=(
        Can(),
        Cup(radius=0.055, height=0.045, facets=14, rgba=(0.55, 0.08, 0.10, 1.0), mass=0.15),
        Box(size=(0.16, 0.11, 0.025), rgba=(0.35, 0.42, 0.36, 1.0), mass=0.25),
        Corner(),
    )
)
UNSEEN = ObjectSet(
    cup=Cup(
        radius=0.029, height=0.105, facets=12, rgba=(0.20, 0.50, 0.55, 1.0), mass=0.12, handle=0.026
    ),
    box=Box(size=(0.065, 0.034, 0.052), rgba=(0.90, 0.62, 0.12, 1.0), mass=0.08),
    distractors=(
        Can(radius=0.045, height=0.03, rgba=(0.85, 0.85, 0.80, 1.0)),
        Box(size=(0.05, 0.035, 0.14), rgba=(0.55, 0.25, 0.50, 1.0), mass=0.15),
        Corner(size=(0.09, 0.03, 0.09), rgba=(0.80, 0.30, 0.12, 1.0)),
        Can(radius=0.022, height=0.15, rgba=(0.25, 0.30, 0.28, 1.0)),
    ),
)
OBJECT_SETS = {"train": TRAIN, "unseen": UNSEEN}


def object_set(chosen: str | ObjectSet) -> ObjectSet:
    """Return the set of that name, or the set itself.

    Raises:
        UnknownNameError: There is none.
    """
    if isinstance(chosen, ObjectSet):
        return chosen
    if chosen not in OBJECT_SETS:
        raise UnknownNameError("object set", chosen, OBJECT_SETS)
    return OBJECT_SETS[chosen]
