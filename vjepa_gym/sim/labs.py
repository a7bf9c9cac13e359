"""Labs: what a table, its surroundings, its light and its cameras look like."""

from dataclasses import dataclass

import numpy as np

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.backdrop import RGB, Piece
from vjepa_gym.sim.cameras import LEFT, RIGHT, CameraPose
from vjepa_gym.sim.textures import PATTERNS

TABLE_TEXTURES = tuple(PATTERNS)
FLOOR = -0.78
"""How high the floor lies; the table's top is at 0 [m]."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """Light from the ceiling, which casts the shadows, and light from everywhere.

    Attributes:
        azimuth: Where it comes from, counted as a camera's [deg].
        elevation: How steeply [deg].
        direct: How much comes from the ceiling.
        ambient: How much comes from everywhere.
        headlight: How much comes from where the camera stands, which gives shadows a shape.
    """

    azimuth: float = 60.0
    elevation: float = 70.0
    direct: float = 0.45
    ambient: float = 0.40
    headlight: float = 0.20

    def direction(self, turn: float = 0.0) -> np.ndarray:
        """Return where the ceiling's light goes, if it is turned by `turn` [deg]."""
        a, e = np.radians(self.azimuth + turn), np.radians(self.elevation)
        return np.array([np.cos(a) * np.cos(e), -np.sin(a) * np.cos(e), -np.sin(e)])


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A place to work in.

    Attributes:
        objects: Which of `objects.OBJECT_SETS` stands on the table.
        table_texture: Which of `TABLE_TEXTURES` its top has.
        table_rgb: What tints it.
        table_x: Where the table begins and ends [m]; the robot's base is at 0.
        table_y: Likewise, from its right to its left [m].
        floor_rgb: Colour of the floor.
        wall_rgb: Colour of the walls.
        walls: Where the walls are: x behind the robot, y on its right [m].
        light: Where light comes from.
        left: The exterior camera on the robot's left.
        right: The exterior camera on its right.
        backdrop: What stands behind the table.
    """

    objects: str = "train"
    table_texture: str = "perforated"
    table_rgb: RGB = (0.20, 0.21, 0.23)
    table_x: tuple[float, float] = (-0.30, 1.0)
    table_y: tuple[float, float] = (-0.60, 0.60)
    floor_rgb: RGB = (0.42, 0.42, 0.43)
    wall_rgb: RGB = (0.86, 0.86, 0.84)
    walls: tuple[float, float] = (-1.4, -1.9)
    light: Light = Light()
    left: CameraPose = LEFT
    right: CameraPose = RIGHT
    backdrop: tuple[Piece, ...] = ()

    def __post_init__(self) -> None:
        """Check the names."""
        if self.table_texture not in TABLE_TEXTURES:
            raise UnknownNameError("table texture", self.table_texture, TABLE_TEXTURES)


CARDBOARD, PINE, STEEL = (0.62, 0.45, 0.30), (0.86, 0.72, 0.55), (0.58, 0.60, 0.63)
BLACK, WHITE = (0.08, 0.08, 0.09), (0.88, 0.89, 0.90)

TRAIN = Lab(
    table_rgb=(0.31, 0.325, 0.345),
    table_y=(-0.50, 0.60),
    wall_rgb=(1.0, 1.0, 0.98),
    walls=(-1.8, -1.75),
    light=Light(azimuth=60.0, elevation=65.0, direct=0.36, ambient=0.42, headlight=0.38),
    backdrop=(
        # A shelf with two boards, on the robot's right.
        Piece(position=(-0.25, -1.5, -0.38), size=(1.6, 0.4, 0.03), rgb=STEEL),
        Piece(position=(-0.25, -1.5, 0.02), size=(1.6, 0.4, 0.03), rgb=STEEL),
        Piece(position=(0.53, -1.32, 0.0), size=(0.04, 0.04, 1.6), rgb=STEEL),
        Piece(position=(-0.72, -1.28, 0.0), size=(0.06, 0.06, 1.6), rgb=(0.14, 0.25, 0.34)),
        Piece(position=(0.32, -1.45, 0.14), size=(0.20, 0.24, 0.22), rgb=CARDBOARD, yaw=8.0),
        Piece(position=(0.08, -1.45, 0.16), size=(0.15, 0.20, 0.26), rgb=WHITE),
        Piece(position=(-0.18, -1.42, 0.10), size=(0.24, 0.20, 0.14), rgb=(0.45, 0.60, 0.72)),
        Piece(position=(-0.47, -1.45, 0.15), size=(0.22, 0.24, 0.24), rgb=CARDBOARD, yaw=-10.0),
        Piece(position=(0.22, -1.42, -0.24), size=(0.32, 0.25, 0.25), rgb=CARDBOARD, yaw=-6.0),
        Piece(position=(-0.17, -1.40, -0.28), size=(0.25, 0.20, 0.17), rgb=(0.62, 0.24, 0.20)),
        # A carton and a bench between shelf and table.
        Piece(position=(0.50, -1.02, -0.43), size=(0.42, 0.36, 0.70), rgb=CARDBOARD, yaw=14.0),
        Piece(position=(-0.05, -0.86, -0.06), size=(0.55, 0.34, 0.035), rgb=PINE, yaw=4.0),
        Piece(position=(0.17, -0.74, -0.42), size=(0.04, 0.04, 0.70), rgb=BLACK),
        Piece(position=(-0.28, -0.74, -0.42), size=(0.04, 0.04, 0.70), rgb=BLACK),
        # A desk and a cupboard on its left, for the camera on its right.
        Piece(position=(-0.30, 1.25, -0.20), size=(1.0, 0.5, 0.04), rgb=WHITE, yaw=-5.0),
        Piece(position=(-0.35, 1.35, 0.02), size=(0.45, 0.05, 0.30), rgb=BLACK, yaw=-12.0),
        Piece(position=(0.55, 1.40, -0.25), size=(0.45, 0.40, 1.1), rgb=(0.50, 0.53, 0.55)),
        Piece(position=(0.10, 1.20, -0.10), size=(0.09, 0.09, 0.16), rgb=(0.75, 0.30, 0.25)),
    ),
)
TEST = Lab(
    objects="unseen",
    table_texture="wood",
    table_rgb=(0.88, 0.70, 0.48),
    table_x=(-0.35, 1.05),
    table_y=(-0.55, 0.65),
    floor_rgb=(0.30, 0.33, 0.36),
    wall_rgb=(0.50, 0.62, 0.64),
    walls=(-1.5, -1.9),
    light=Light(azimuth=150.0, elevation=58.0, direct=0.42, ambient=0.38, headlight=0.28),
    left=CameraPose(target=(0.44, 0.0, 0.20), azimuth=108.0, elevation=33.0, distance=1.25),
    right=CameraPose(target=(0.44, 0.0, 0.20), azimuth=-108.0, elevation=33.0, distance=1.25),
    backdrop=(
        # Drawers, a window and a plant, on the robot's right.
        Piece(position=(-0.10, -1.35, -0.38), size=(0.80, 0.42, 0.80), rgb=(0.93, 0.92, 0.88)),
        Piece(position=(-0.10, -1.13, -0.14), size=(0.70, 0.02, 0.03), rgb=(0.35, 0.35, 0.36)),
        Piece(position=(0.62, -1.88, 0.25), size=(0.75, 0.02, 0.70), rgb=(0.80, 0.90, 0.98)),
        Piece(position=(0.62, -1.86, 0.25), size=(0.04, 0.02, 0.70), rgb=(0.95, 0.95, 0.95)),
        Piece(position=(0.72, -1.15, -0.40), size=(0.50, 0.50, 0.35), rgb=(0.25, 0.40, 0.26)),
        Piece(position=(0.72, -1.42, -0.12), size=(0.50, 0.12, 0.60), rgb=(0.22, 0.36, 0.23)),
        Piece(position=(-0.25, -1.30, 0.10), size=(0.16, 0.20, 0.16), rgb=(0.55, 0.20, 0.42)),
        Piece(position=(0.08, -1.32, 0.07), size=(0.22, 0.16, 0.10), rgb=(0.95, 0.78, 0.25)),
        # A sofa and a picture on its left.
        Piece(position=(0.20, 1.58, -0.45), size=(1.2, 0.5, 0.40), rgb=(0.30, 0.34, 0.52)),
        Piece(position=(0.20, 1.78, -0.10), size=(1.2, 0.14, 0.50), rgb=(0.27, 0.31, 0.48)),
        Piece(position=(-0.60, 1.87, 0.20), size=(0.50, 0.02, 0.40), rgb=(0.85, 0.55, 0.30)),
    ),
)
LABS = {"train": TRAIN, "test": TEST}


def lab_name(lab: Lab) -> str:
    """Return the name of a lab, or `own`."""
    return next((name for name, known in LABS.items() if known == lab), "own")


def lab(chosen: str | Lab) -> Lab:
    """Return the lab of that name, or the lab itself.

    Raises:
        UnknownNameError: There is none.
    """
    if isinstance(chosen, Lab):
        return chosen
    if chosen not in LABS:
        raise UnknownNameError("lab", chosen, LABS)
    return LABS[chosen]
