import mujoco
import numpy as np
import pytest

from vjepa_gym.sim.shapes import Box, Can, Corner, Cup

SHAPES = [Box(), Cup(), Cup(handle=0.03), Can(), Corner()]


def _compiled(shape):
    spec = mujoco.MjSpec()
    shape.add_to(spec, "thing")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_stands_on_the_table_and_is_as_tall_and_heavy_as_it_says(shape):
    model, data = _compiled(shape)
    low, high = _extent(model, data)
    assert low[2] == pytest.approx(0.0, abs=1e-6)
    assert high[2] == pytest.approx(shape.height, abs=1e-6)
    assert model.body_mass[model.body("thing").id] == pytest.approx(shape.mass)
    assert data.body("thing").xpos[2] == pytest.approx(shape.height / 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_gripped_within_its_height(shape):
    assert 0.01 <= shape.grip_height < shape.height


def test_a_handle_stands_out_away_from_the_fingers():
    along, across = np.array([1, 1]) / np.sqrt(2), np.array([-1, 1]) / np.sqrt(2)
    model, data = _compiled(Cup(radius=0.03, handle=0.025))
    box = mujoco.mjtGeom.mjGEOM_BOX
    handle = np.flatnonzero((model.geom_group == 1) & (model.geom_type == box))
    corners = _corners(model, data, handle)[:, :2] - [0.5, 0.0]
    assert (corners @ along).max() == pytest.approx(0.055, abs=1e-3)
    assert np.abs(corners @ across).max() < 0.005


def test_a_cup_is_drawn_as_one_piece_in_its_own_size():
    model, _ = _compiled(Cup(radius=0.03, height=0.1))
    drawn = np.flatnonzero(model.geom_group == 1)
    assert len(drawn) == 1
    vertices = model.mesh_vert + model.mesh_pos[0]
    assert np.hypot(*vertices.T[:2]).max() == pytest.approx(0.03, abs=1e-6)
    np.testing.assert_allclose([vertices[:, 2].min(), vertices[:, 2].max()], [-0.05, 0.05])


def _extent(model, data):
    corners = _corners(model, data, range(model.ngeom))
    return corners.min(axis=0), corners.max(axis=0)


def _corners(model, data, geoms):
    """Return the corners of the boxes around geoms [m]."""
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    places = []
    for i in geoms:
        box = model.geom_aabb[i]
        local = box[:3] + signs * box[3:]
        places.append(data.geom_xpos[i] + local @ data.geom_xmat[i].reshape(3, 3).T)
    return np.concatenate(places)
