import mujoco
import numpy as np
import pytest

from vjepa_gym.sim.backdrop import Piece, add_backdrop
from vjepa_gym.sim.cameras import LEFT
from vjepa_gym.sim.rendering import Renderer

RED = Piece(position=(0.3, -0.9, 0.0), size=(0.6, 0.2, 0.6), rgb=(0.9, 0.1, 0.1))
GREEN = Piece(position=(-0.6, -0.9, 0.0), size=(0.5, 0.2, 0.6), rgb=(0.1, 0.8, 0.1))


@pytest.mark.parametrize("kind", ["box", "cylinder"])
def test_a_piece_fills_its_size_around_its_centre(kind):
    piece = Piece(position=(1.0, 2.0, 3.0), size=(0.2, 0.2, 0.6), rgb=(0.5, 0.5, 0.5), kind=kind)
    vertices, faces = piece.mesh()
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, [1.0, 2.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(high - low, [0.2, 0.2, 0.6], rtol=0.03)
    assert _volume(vertices, faces) == pytest.approx(np.prod(piece.size), rel=0.25)


def test_a_turned_piece_is_turned_about_its_own_axis():
    vertices, _ = Piece(
        position=(1.0, 0.0, 0.0), size=(0.4, 0.2, 0.1), rgb=(0.5, 0.5, 0.5), yaw=90.0
    ).mesh()
    np.testing.assert_allclose(np.ptp(vertices, axis=0), [0.2, 0.4, 0.1], atol=1e-9)


def test_all_pieces_are_one_geom_that_touches_nothing():
    spec = mujoco.MjSpec()
    add_backdrop(spec, [RED, GREEN])
    model = spec.compile()
    assert model.ngeom == 1
    assert not model.geom_contype.any()
    assert not model.geom_conaffinity.any()


def test_no_pieces_are_no_geom():
    spec = mujoco.MjSpec()
    add_backdrop(spec, [])
    assert not spec.geoms


def test_each_piece_has_its_colour():
    spec = mujoco.MjSpec()
    add_backdrop(spec, [RED, GREEN])
    LEFT.add_to(spec, "left")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer(model, 64)
    red, green, blue = renderer.render(data)[:32].astype(int).transpose(2, 0, 1)
    renderer.close()
    assert ((red > 3 * green) & (red > 3 * blue)).sum() > 50
    assert ((green > 3 * red) & (green > 3 * blue)).sum() > 50


def _volume(vertices, faces):
    """Return the volume inside a closed surface whose faces are seen from outside [m^3]."""
    first, second, third = vertices[faces].transpose(1, 0, 2)
    return np.einsum("ni,ni->", first, np.cross(second, third)) / 6
