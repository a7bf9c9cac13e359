import numpy as np
import pytest

from vjepa_gym import kinematics, spaces
from vjepa_gym.errors import InvalidActionError, UnknownNameError, WorkspaceError
from vjepa_gym.sim.arm import SimulatedArm
from vjepa_gym.sim.grippers import GRIPPERS
from vjepa_gym.sim.panda import HOME
from vjepa_gym.sim.world import World

MIDDLE = np.array([0.5, 0.0, 0.25])
ASIDE = {"cup": [0.7, 0.28, 0.0], "box": [0.7, -0.28, 0.0]}


@pytest.fixture(scope="module", params=list(GRIPPERS))
def lab(request):
    return World(image_size=16, gripper=request.param)


@pytest.fixture(scope="module")
def panda_lab():
    return World(image_size=16)


@pytest.fixture
def any_arm(lab):
    lab.arrange(ASIDE)
    lab.arm.place(lab.arm.flange_at(MIDDLE))
    return lab.arm


@pytest.fixture
def world(panda_lab):
    panda_lab.arrange(ASIDE)
    panda_lab.arm.place(panda_lab.arm.flange_at(MIDDLE))
    return panda_lab


@pytest.fixture
def arm(world):
    return world.arm


def action(**axes):
    names = ("x", "y", "z", "roll", "pitch", "yaw", "closedness")
    return np.array([axes.get(name, 0.0) for name in names], np.float32)


def errors(arm, moves, *, largest, turning=0.0, seconds=None, seed=0):
    """Make random moves; return how far off those ended that say of nothing in the way [m]."""
    rng, missed = np.random.default_rng(seed), []
    reach = np.array([largest] * 3 + [turning] * 3 + [0.0])
    for i in range(moves):
        if i % 10 == 0:
            tool = rng.uniform([0.36, -0.20, 0.13], [0.66, 0.20, 0.38])
            arm.place(arm.flange_at(tool, yaw=float(rng.uniform(-0.5, 0.5))))
        move = arm.move(rng.uniform(-reach, reach).astype(np.float32), seconds)
        if not (move.clipped or move.contact or move.joint_limit):
            missed.append(np.linalg.norm(move.achieved[:3] - move.command[:3]))
    assert len(missed) > 0.6 * moves
    return np.array(missed)


def test_a_placed_arm_is_at_rest_where_it_was_put(any_arm):
    placed = any_arm.pose
    np.testing.assert_allclose(any_arm.tool, MIDDLE, atol=5e-4)
    any_arm.move(action())
    np.testing.assert_allclose(any_arm.pose, placed, atol=5e-4)


def test_the_tool_centre_lies_below_a_flange_that_points_down(any_arm):
    pose = any_arm.flange_at(MIDDLE, closedness=0.3, yaw=0.4)
    below = MIDDLE + [0.0, 0.0, any_arm.gripper.tcp]
    np.testing.assert_allclose(pose, [*below, np.pi, 0.0, 0.4, 0.3], atol=1e-6)
    np.testing.assert_allclose(any_arm.tool_centre(pose), MIDDLE, atol=1e-6)
    several = any_arm.tool_centre(np.stack([pose, pose]))
    np.testing.assert_allclose(several, [MIDDLE, MIDDLE], atol=1e-6)


@pytest.mark.parametrize("turning", [0.0, 0.25])
@pytest.mark.parametrize(("largest", "allowed"), [(0.03, 2e-3), (0.075, 4e-3)])
def test_moves_end_where_the_command_says_or_say_why_not(any_arm, largest, allowed, turning):
    missed = errors(any_arm, 60, largest=largest, turning=turning)
    assert np.percentile(missed, 95) < allowed / 4
    assert missed.max() < allowed / 2


def test_a_move_that_is_not_waited_for_is_nearly_there_too(any_arm):
    assert np.percentile(errors(any_arm, 60, largest=0.075, seconds=0.2), 95) < 4e-3


def test_a_rotation_composes_on_the_left(arm):
    turn = action(roll=0.1, pitch=-0.15, yaw=0.2)
    expected = kinematics.integrate(arm.pose, turn)
    move = arm.move(turn)
    np.testing.assert_allclose(kinematics.difference(expected, arm.pose)[3:6], 0.0, atol=2e-3)
    np.testing.assert_allclose(move.achieved[3:6], turn[3:6], atol=2e-3)


def test_a_move_takes_as_long_as_its_way_asks_for(arm):
    assert arm.move(action(x=0.001)).seconds == pytest.approx(0.15)
    assert arm.move(action(x=-0.075)).seconds == pytest.approx(0.26, abs=0.02)
    assert arm.move(action(closedness=0.75)).seconds == pytest.approx(0.35)
    assert arm.move(action(yaw=0.25)).seconds < 0.4


@pytest.mark.parametrize("seconds", [0.002, 0.05, 0.2, 0.25])
def test_a_move_takes_exactly_as_long_as_it_is_told_to(arm, seconds):
    before = arm.data.time
    assert arm.move(action(x=0.03), seconds).seconds == pytest.approx(seconds)
    assert arm.data.time - before == pytest.approx(seconds)


def test_too_large_an_action_is_clipped_axis_by_axis_and_said_to_be(arm):
    move = arm.move(action(x=0.2, y=0.01))
    assert move.clipped
    np.testing.assert_allclose(move.command[:2], [0.075, 0.01], atol=1e-6)


def test_the_tool_centre_stays_inside_the_workspace(any_arm):
    moves = [any_arm.move(action(z=-0.075)) for _ in range(4)]
    assert any_arm.tool[2] == pytest.approx(spaces.WORKSPACE_LOW[2], abs=1e-3)
    assert [move.clipped for move in moves] == [False, False, False, True]
    assert moves[-1].command[2] == pytest.approx(moves[-1].achieved[2], abs=1e-3)


def test_even_closed_fingers_stay_off_the_table_at_the_bottom_of_the_workspace(any_arm):
    any_arm.place(any_arm.flange_at(np.array([0.5, 0.0, 0.02]), closedness=1.0))
    move = any_arm.move(action(z=-0.075))
    assert move.clipped
    assert not move.contact


def test_what_joints_cannot_do_is_said_to_be_a_joint_limit(arm):
    arm.place(arm.flange_at(np.array([0.70, 0.25, 0.38])))
    move = arm.move(action(z=0.075))
    assert move.joint_limit
    assert not move.clipped


def test_touching_what_stands_on_the_table_is_a_contact(world):
    world.arrange({"box": [0.5, 0.0, 0.0]})
    world.arm.place(world.arm.flange_at(np.array([0.43, 0.0, 0.03]), closedness=1.0))
    assert not world.arm.move(action(x=-0.02)).contact
    assert world.arm.move(action(x=0.06)).contact


def test_what_is_held_is_no_contact_but_what_it_touches_is(world):
    shape, tool = world.objects["box"], np.array([0.5, 0.0, 0.15])
    world.arrange({})
    world.arm.place(world.arm.flange_at(tool))
    world.put("box", tool + [0.0, 0.0, shape.height / 2 - shape.grip_height])
    world.arm.grip(shape.grip_width)
    world.settle()
    assert not world.arm.move(action(x=0.05, z=-0.05)).contact
    assert world.arm.move(action(z=-0.075)).contact


def test_pressing_against_something_winds_nothing_up(world):
    shape, tool = world.objects["box"], np.array([0.5, 0.0, 0.12])
    world.arrange({})
    world.arm.place(world.arm.flange_at(tool))
    world.put("box", tool + [0.0, 0.0, shape.height / 2 - shape.grip_height])
    world.arm.grip(shape.grip_width)
    for _ in range(20):
        world.arm.move(action(z=-0.03))
    stuck = world.arm.pose
    assert np.abs(kinematics.difference(world.arm.flange_at(tool), stuck)[3:6]).max() < 0.03
    world.arm.move(action(z=0.03))
    assert world.arm.pose[2] - stuck[2] == pytest.approx(0.03, abs=2e-3)


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), np.array([np.inf] + [0.0] * 6)])
def test_a_bad_action_is_an_error_and_the_arm_does_not_move(arm, bad):
    before = arm.data.qpos.copy()
    with pytest.raises(InvalidActionError):
        arm.move(bad)
    np.testing.assert_array_equal(arm.data.qpos, before)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_move_that_takes_no_time_is_an_error_and_the_arm_does_not_move(arm, seconds):
    before = arm.data.qpos.copy()
    with pytest.raises(InvalidActionError, match="positive"):
        arm.move(action(x=0.03), seconds)
    np.testing.assert_array_equal(arm.data.qpos, before)


def test_a_pose_out_of_reach_is_an_error_that_says_how_far(arm):
    with pytest.raises(WorkspaceError, match="mm away"):
        arm.place(arm.flange_at(np.array([1.5, 0.0, 0.3])))


def test_an_unknown_gripper_is_an_error_that_lists_those_that_there_are(world):
    with pytest.raises(UnknownNameError, match="panda, robotiq"):
        SimulatedArm(world.model, world.data, "hook")


def test_the_servos_hold_the_robot_against_gravity(arm):
    before = arm.pose
    for _ in range(10):
        arm.move(action())
    np.testing.assert_allclose(arm.pose[:3], before[:3], atol=1e-4)


def test_going_and_coming_back_leaves_the_elbow_where_it_was(arm):
    before = arm.joints
    for _ in range(5):
        arm.move(action(x=0.05, y=0.05))
        arm.move(action(x=-0.05, y=-0.05))
    np.testing.assert_allclose(arm.joints, before, atol=0.05)


def test_the_same_moves_from_the_same_state_give_the_same_bytes(world):
    steps = [action(x=0.05, yaw=0.1), action(z=-0.05, closedness=0.5)]
    ends = []
    for _ in range(2):
        with world.undone():
            for step in steps:
                world.arm.move(step)
            ends.append(world.state)
    np.testing.assert_array_equal(*ends)


def test_a_search_from_home_ends_near_home(arm):
    arm.place(arm.flange_at(np.array([0.45, 0.0, 0.35])))
    assert np.abs(arm.joints - HOME).max() < 0.7
