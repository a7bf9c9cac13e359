import mujoco
import numpy as np
import pytest

from vjepa_gym import kinematics
from vjepa_gym.sim.cameras import CAMERAS, LEFT, RIGHT, CameraPose, calibration
from vjepa_gym.sim.world import World

MAGENTA = [1.0, 0.0, 1.0, 1.0]


@pytest.fixture(scope="module")
def world():
    world = World(image_size=256)
    yield world
    world.close()


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


def test_the_other_exterior_camera_is_its_mirror_image():
    np.testing.assert_allclose(RIGHT.position(), LEFT.position() * [1.0, -1.0, 1.0], atol=1e-9)


def test_fifty_four_centimetres_of_workspace_fill_seven_tenths_of_the_picture():
    across = 2 * LEFT.distance * np.tan(np.radians(LEFT.fovy) / 2)
    assert 0.54 / across >= 0.7


@pytest.mark.parametrize("pose", [LEFT, CameraPose(azimuth=80.0, distance=0.9, fovy=50.0)])
def test_a_compiled_camera_has_the_pose_it_was_composed_with(pose):
    spec = mujoco.MjSpec()
    pose.add_to(spec, "left")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    measured = calibration(model, data, "left", 256)
    np.testing.assert_allclose(measured["extrinsics"][:3], pose.position(), atol=1e-6)
    rotation = kinematics.rotation_matrix(measured["extrinsics"][3:].astype(np.float64))
    np.testing.assert_allclose(rotation, pose.rotation(), atol=1e-5)


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_point_projects_to_where_it_is_drawn(world, camera):
    """Paint the box magenta, find it in the picture, and project its position."""
    world.arrange({"box": [0.44, -0.06, 0.0]})
    world.arm.place(world.arm.flange_at(np.array([0.5, 0.0, 0.3])))
    world.set_colour("box", MAGENTA[:3])
    seen = _magenta(world.image(camera))
    drawn = (seen.min(axis=0) + seen.max(axis=0)) / 2
    corners = world.object_pose("box")[:3] + _corners_of_the_box()
    expected = _project(world.calibration(camera), corners)
    middle = (expected.min(axis=0) + expected.max(axis=0)) / 2
    np.testing.assert_allclose(drawn, middle, atol=1.5)
    assert np.ptp(seen, axis=0) == pytest.approx(np.ptp(expected, axis=0), abs=3.0)


def test_a_camera_that_was_moved_measures_from_where_it_stands(world):
    moved = CameraPose(azimuth=70.0, elevation=45.0, distance=1.0, fovy=50.0)
    world.set_camera("left", moved)
    measured = world.calibration("left")
    np.testing.assert_allclose(measured["extrinsics"][:3], moved.position(), atol=1e-6)
    assert measured["intrinsics"][0, 0] == pytest.approx(128 / np.tan(np.radians(25.0)))
    world.restore_look()
    assert world.calibration("left")["extrinsics"][:3] == pytest.approx(LEFT.position())


@pytest.mark.parametrize("gripper", ["panda", "robotiq"])
def test_the_wrist_camera_moves_with_the_hand_and_sees_where_it_is_going(gripper):
    world = World(image_size=64, gripper=gripper)
    for turn in (0.0, 0.6):
        world.arrange({})
        world.arm.place(world.arm.flange_at(np.array([0.5, 0.1, 0.2]), yaw=turn))
        below = np.array([[0.5, 0.1, 0.0]])
        column, row = _project(world.calibration("wrist"), below)[0]
        assert column == pytest.approx(32.0, abs=0.5)
        assert 5 < row < 60


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_point_projects_to_where_it_is_drawn_in_a_wide_picture(camera):
    world = World(image_size=(180, 320))
    world.arrange({"box": [0.46, -0.04, 0.0]})
    world.arm.place(world.arm.flange_at(np.array([0.5, 0.0, 0.3])))
    world.set_colour("box", MAGENTA[:3])
    seen = _magenta(world.image(camera))
    corners = world.object_pose("box")[:3] + _corners_of_the_box()
    measured = world.calibration(camera)
    assert measured["intrinsics"][:2, 2].tolist() == [160.0, 90.0]
    expected = _project(measured, corners)
    for drawn, told in zip(
        (seen.min(0), seen.max(0)), (expected.min(0), expected.max(0)), strict=True
    ):
        np.testing.assert_allclose(drawn, told, atol=2.0)
    world.close()


def _magenta(image):
    """Return columns and rows of what is magenta, as pixel centres."""
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    rows, columns = np.nonzero((red > 50) & (blue > 50) & (green < 30))
    return np.column_stack([columns, rows]) + 0.5


def _project(measured, points):
    camera = kinematics.rotation_matrix(measured["extrinsics"][3:].astype(np.float64))
    local = (points - measured["extrinsics"][:3]) @ camera
    return ((local / local[:, 2:]) @ measured["intrinsics"].T)[:, :2]


def _corners_of_the_box():
    half = np.array([0.045, 0.045, 0.07]) / 2
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * half
    turn = np.array([[1, -1, 0], [1, 1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2)
    return corners @ turn.T
