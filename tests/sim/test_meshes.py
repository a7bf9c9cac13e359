import mujoco
import numpy as np
import pytest

from vjepa_gym.sim import meshes
from vjepa_gym.sim.assets import assets


def stock_panda():
    return mujoco.MjSpec.from_file(str(assets() / "robots" / "panda" / "robot.xml"))


@pytest.fixture(scope="module")
def stock():
    return stock_panda().compile()


@pytest.fixture(scope="module")
def light():
    spec = stock_panda()
    meshes.decimate_visuals(spec)
    return spec.compile()


def visuals(model, body):
    """The geoms of a body that are only drawn."""
    of_body = model.geom_bodyid == model.body(body).id
    return np.flatnonzero(of_body & (model.geom_group == 1) & (model.geom_contype == 0))


def corners(model, body):
    """All triangles of a body's visual meshes, in its frame, and the normals of their corners."""
    surfaces = [meshes._surface(model, int(geom)) for geom in visuals(model, body)]
    triangles = [surface.vertices[surface.faces] for surface in surfaces]
    normals = [surface.normals[surface.faces] for surface in surfaces]
    return np.concatenate(triangles), np.concatenate(normals)


def test_a_tenth_of_the_faces_remain_in_half_as_many_meshes(stock, light):
    drawn = [model.geom_dataid[model.geom_group == 1] for model in (stock, light)]
    faces = [
        model.mesh_facenum[ids].sum() for model, ids in zip((stock, light), drawn, strict=True)
    ]
    assert faces[1] < 0.1 * faces[0]
    assert len(drawn[1]) < 0.5 * len(drawn[0])


@pytest.mark.parametrize("body", ["link0", "link2", "link5", "link6"])
def test_a_link_keeps_its_shape(stock, light, body):
    before, after = corners(stock, body)[0], corners(light, body)[0]
    for end in (np.min, np.max):
        np.testing.assert_allclose(end(after, (0, 1)), end(before, (0, 1)), atol=3e-3)
    sample = before.reshape(-1, 3)[:: len(before) // 100]
    assert np.quantile(meshes._distance(sample, after), 0.9) < meshes.TOLERANCE + meshes.LIFT


def test_shells_stay_smooth(light):
    """MuJoCo draws a corner flat if its normal is more than 37 degrees off that of its face."""
    triangles, normals = corners(light, "link2")
    facing = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    alike = (normals * facing[:, None]).sum(-1)
    assert alike.min() > 0.75
    assert (alike < 0.999).mean() > 0.5, "the old normals, not those of flat faces"


def test_colours_stay_apart(light):
    for body in ("link5", "link6"):
        white = {round(float(light.geom_rgba[geom, 0]), 2) for geom in visuals(light, body)}
        assert {0.25, 1.0} <= white <= {0.25, 0.9, 1.0}


def test_a_texture_is_kept():
    spec = mujoco.MjSpec.from_string("""
        <mujoco><asset>
          <texture name="wood" type="cube" builtin="flat" width="4" height="4" rgb1="1 0 0"/>
          <material name="wood" texture="wood"/> <material name="red" rgba="0.8 0.1 0.1 1"/>
          <mesh name="a" builtin="sphere" params="3" scale="0.1 0.1 0.1"/>
          <mesh name="b" builtin="sphere" params="3" scale="0.2 0.1 0.1"/>
        </asset><worldbody>
          <geom type="mesh" mesh="a" material="wood" contype="0" conaffinity="0"/>
          <geom type="mesh" mesh="b" material="red" contype="0" conaffinity="0"/>
        </worldbody></mujoco>""")
    meshes.decimate_visuals(spec)
    model = spec.compile()
    assert model.ngeom == 2
    assert [model.geom_matid[i] >= 0 for i in range(2)] == [True, False]
    np.testing.assert_allclose(model.geom_rgba[1], [0.8, 0.1, 0.1, 1.0], atol=1e-6)


def test_what_collides_is_left_alone(stock, light):
    def solid(model):
        ids = np.flatnonzero(model.geom_contype > 0)
        meshes_ = model.geom_dataid[ids]
        return model.geom_pos[ids], model.mesh_facenum[meshes_], model.geom_size[ids]

    for before, after in zip(solid(stock), solid(light), strict=True):
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(light.body_mass, stock.body_mass)
    np.testing.assert_array_equal(light.body_inertia, stock.body_inertia)


def test_a_speck_is_left_out_and_a_body_without_meshes_stays():
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name="lamp")
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]) * 0.002
    faces = [0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3]
    spec.add_mesh(name="speck", uservert=corners.ravel().tolist(), userface=faces)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname="speck", contype=0, conaffinity=0, group=1
    )
    meshes.decimate_visuals(spec)
    model = spec.compile()
    assert (model.nmesh, model.ngeom, model.nbody) == (0, 0, 2)


def test_the_same_part_twice_gives_the_same_bytes():
    first, second = stock_panda(), stock_panda()
    meshes.decimate_visuals(first)
    meshes._decimated.cache_clear()
    meshes.decimate_visuals(second)
    one, two = first.compile(), second.compile()
    np.testing.assert_array_equal(one.mesh_vert, two.mesh_vert)
    np.testing.assert_array_equal(one.mesh_face, two.mesh_face)


def test_distance_to_triangles():
    triangle = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    points = np.array([[0.2, 0.2, 0.5], [0.2, 0.2, 0.0], [-1.0, 0.0, 0.0]])
    np.testing.assert_allclose(meshes._distance(points, triangle), [0.5, 0.0, 1.0])
