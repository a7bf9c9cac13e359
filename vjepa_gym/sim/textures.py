"""Looks of a table's top, drawn with NumPy: grey patterns that the table's own colour tints."""

from collections.abc import Callable

import mujoco
import numpy as np
from jaxtyping import Float

Pattern = Float[np.ndarray, "side side"]


def perforated() -> Pattern:
    """Return one hole of an optical table's plate."""
    x = np.linspace(-1, 1, 64)
    distance = np.hypot(x[:, None], x[None])
    hole = np.clip((distance - 0.26) / 0.06, 0.0, 1.0)
    return 0.30 + 0.70 * hole


def plain() -> Pattern:
    """Return nothing to see."""
    return np.ones((8, 8))


def wood() -> Pattern:
    """Return boards with a grain along them."""
    rng, side, boards = np.random.default_rng(3), 256, 4
    grain = _smooth(rng.normal(size=(side, side)), (1.0, 40.0))
    rings = np.sin(2 * np.pi * 3 * _smooth(rng.normal(size=(side, side)), (14.0, 60.0)))
    tone = np.repeat(rng.uniform(-1, 1, boards), side // boards)[:, None]
    seam = (np.arange(side) % (side // boards) == 0)[:, None]
    return np.clip(0.88 + 0.05 * grain + 0.03 * rings + 0.05 * tone - 0.25 * seam, 0.0, 1.0)


def speckled() -> Pattern:
    """Return the grains of a stone."""
    rng, side = np.random.default_rng(5), 256
    fine, coarse = (_smooth(rng.normal(size=(side, side)), (width, width)) for width in (2.0, 5.0))
    return np.clip(0.82 + 0.12 * np.tanh(2 * fine) - 0.35 * (coarse > 1.6), 0.0, 1.0)


def checked() -> Pattern:
    """Return a woven cloth's squares."""
    stripe = np.repeat([0.0, 1.0], 32)
    return 1.0 - 0.25 * (stripe[:, None] + stripe[None])


PATTERNS: dict[str, tuple[Callable[[], Pattern], float]] = {
    "perforated": (perforated, 0.025),
    "plain": (plain, 1.0),
    "wood": (wood, 0.5),
    "speckled": (speckled, 0.4),
    "checked": (checked, 0.12),
}
"""Each pattern, and after how many metres it comes again."""


def add_material(spec: mujoco.MjSpec, name: str) -> str:
    """Add the material of that pattern to `spec`; return its name."""
    draw, period = PATTERNS[name]
    grey = np.rint(255 * draw()).astype(np.uint8)
    spec.add_texture(
        name=name,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=grey.shape[1],
        height=grey.shape[0],
        nchannel=3,
        data=np.repeat(grey.ravel(), 3).tolist(),
    )
    material = spec.add_material(
        name=name, texuniform=True, texrepeat=[1 / period] * 2, specular=0.15, reflectance=0.0
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    return name


def _smooth(noise: Pattern, widths: tuple[float, float]) -> Pattern:
    """Return noise blurred by a Gaussian of these widths [px], of unit variance; it tiles."""
    spectrum = np.fft.fft2(noise)
    for axis, width in enumerate(widths):
        frequency = np.fft.fftfreq(noise.shape[axis])
        gain = np.exp(-2 * (np.pi * frequency * width) ** 2)
        spectrum *= gain[:, None] if axis == 0 else gain[None]
    blurred = np.fft.ifft2(spectrum).real
    return blurred / blurred.std()
