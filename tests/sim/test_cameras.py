import mujoco
import numpy as np
import pytest

from vjepa_gym import kinematics
from vjepa_gym.sim.cameras import LEFT, CameraPose, calibration
from vjepa_gym.sim.scene import SceneConfig, load_scene


def test_azimuth_counts_from_behind_the_base_towards_its_left():
    behind = CameraPose(target=(0.0, 0.0, 0.0), azimuth=0.0, elevation=0.0, distance=1.0)
    left = CameraPose(target=(0.0, 0.0, 0.0), azimuth=90.0, elevation=0.0, distance=1.0)
    np.testing.assert_allclose(behind.position(), [-1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(left.position(), [0.0, 1.0, 0.0], atol=1e-9)


def test_the_default_camera_stands_in_front_to_the_left_and_looks_down():
    position, forward = LEFT.position(), LEFT.rotation()[:, 2]
    assert position[0] > LEFT.target[0]
    assert position[1] > 0.5
    assert forward[2] < -0.3


def test_fifty_four_centimetres_of_workspace_fill_seven_tenths_of_the_picture():
    across = 2 * LEFT.distance * np.tan(np.radians(LEFT.fovy) / 2)
    assert 0.54 / across >= 0.7


@pytest.mark.parametrize("pose", [LEFT, CameraPose(azimuth=80.0, distance=0.9, fovy=50.0)])
def test_a_compiled_camera_has_the_pose_it_was_composed_with(pose):
    model = load_scene(SceneConfig(camera=pose))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    measured = calibration(model, data, "left", 256)
    np.testing.assert_allclose(measured["extrinsics"][:3], pose.position(), atol=1e-6)
    rotation = kinematics.rotation_matrix(measured["extrinsics"][3:].astype(np.float64))
    np.testing.assert_allclose(rotation, pose.rotation(), atol=1e-5)


def test_a_point_projects_to_where_it_is_drawn():
    """Paint the box magenta, find it in the picture, and project its position."""
    from vjepa_gym.sim.world import World

    world = World(image_size=256)
    world.arrange({"cup": np.array([0.6, 0.2, 0.0]), "box": np.array([0.5, -0.1, 0.0])})
    geom = world.model.body("box").geomadr[0]
    world.model.geom_rgba[geom] = [1.0, 0.0, 1.0, 1.0]
    image = world.image().astype(int)
    rows, columns = np.nonzero((image[..., 0] > 60) & (image[..., 2] > 60) & (image[..., 1] < 30))
    measured = world.calibration()
    camera = kinematics.rotation_matrix(measured["extrinsics"][3:].astype(np.float64))
    point = camera.T @ (world.object_pose("box")[:3] - measured["extrinsics"][:3])
    pixel = measured["intrinsics"] @ point / point[2]
    assert pixel[0] == pytest.approx(columns.mean(), abs=4)
    assert pixel[1] == pytest.approx(rows.mean(), abs=4)
    world.close()
