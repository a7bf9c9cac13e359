"""Recording within moves, against the same episodes recorded at their ends."""

import gymnasium as gym
import numpy as np
import pytest

from vjepa_gym.envs import env_id
from vjepa_gym.envs.recording import record_episode
from vjepa_gym.kinematics import difference, integrate
from vjepa_gym.sim.cameras import CAMERAS

STEPS, HZ = 2, 15.0
ON_TICKS, EVERY_STEP = (20.0, {"step_seconds": 0.2}), (500.0, {})
"""With either, moves end when the clock ticks: rows are there to compare."""
CASES = {
    "noise": ("Reach", "random", ON_TICKS, {"variation": {"actuation_noise": 0.01}}),
    "grasp, checked by lifting": ("GraspCup", "scripted", ON_TICKS, {"gripper": "robotiq"}),
    "pushed object": (
        "PickPlaceBox",
        "play",
        ON_TICKS,
        {"variation": {"bump": "object", "bump_step": 1}},
    ),
    "pushed arm": ("Reach", "noisy", EVERY_STEP, {"variation": {"bump": "arm", "bump_step": 1}}),
}


def record(task, behaviour, record_hz, steps=STEPS, seed=1, **options):
    options = {"image_size": 16, "horizon": steps} | options
    env = gym.make(env_id(task), **options)
    episode = record_episode(env, behaviour, seed=seed, steps=steps, record_hz=record_hz)
    env.close()
    return episode


@pytest.fixture(scope="module")
def clocked():
    """An episode with a grasp in it, seen by every camera."""
    size = {"image_size": (32, 56), "cameras": CAMERAS}
    return record("GraspCup", "scripted", HZ, steps=18, seed=3, **size)


@pytest.mark.parametrize("case", CASES)
def test_what_happens_is_the_same_to_the_last_bit(case):
    task, behaviour, (record_hz, how), options = CASES[case]
    plain = record(task, behaviour, None, **how, **options)
    within = record(task, behaviour, record_hz, **how, **options)
    told = np.array(within.info["move_commands"], np.float32)
    np.testing.assert_array_equal(told, plain.commands)
    rows = [0, *within.info["move_rows"]]
    np.testing.assert_array_equal(within.poses[rows], plain.poses)
    np.testing.assert_array_equal(within.joints[rows], plain.joints)
    np.testing.assert_array_equal(within.images["left"][rows], plain.images["left"])
    np.testing.assert_array_equal(within.extras["object_poses"][rows], plain.extras["object_poses"])
    same = ("successes", "distances", "contacts", "clipped", "joint_limits", "bumped", "variation")
    assert {name: within.info[name] for name in same} == {name: plain.info[name] for name in same}
    assert within.success == plain.success


def test_the_physics_goes_on_from_the_same_state(clocked):
    """At the end of a move the state also has what the move's last evaluation left."""
    plain = record("GraspCup", "scripted", None, steps=18, seed=3)
    np.testing.assert_array_equal(clocked.info["move_commands"], plain.commands)
    assert clocked.info["distances"] == plain.info["distances"]
    assert clocked.info["move_seconds"] == pytest.approx(plain.step_seconds)


def test_rows_lie_on_the_clock_to_the_nearest_step_of_the_physics(clocked):
    timestep = 0.002
    away = np.abs(clocked.times - np.arange(len(clocked.times)) / HZ)
    assert away.max() <= timestep / 2 + 1e-6
    steps = clocked.step_seconds / timestep
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert set(np.rint(steps).astype(int)) == {33, 34}
    assert clocked.record_hz == HZ
    # The states know the simulation's own time.
    time = clocked.extras["sim_state"][:, 0]
    np.testing.assert_allclose(time - time[0], clocked.times, atol=1e-5)


def test_the_last_row_is_the_first_tick_after_the_last_move(clocked):
    took = sum(clocked.info["move_seconds"])
    assert clocked.times[-2] < took <= clocked.times[-1] + 1e-6
    rows, ends = clocked.info["move_rows"], np.cumsum(clocked.info["move_seconds"])
    assert len(rows) == 18
    assert np.abs(clocked.times[rows] - ends).max() <= 0.5 / HZ + 0.001


def test_a_push_takes_time_that_is_recorded_too():
    task, behaviour, _, options = CASES["pushed object"]
    within = record(task, behaviour, HZ, **options)
    moves = sum(within.info["move_seconds"])
    assert within.times[-1] == pytest.approx(moves + 0.2 + 0.1, abs=1 / HZ)
    places = within.extras["object_poses"][:, 1, :2]
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).max() > 0.01


def test_the_rows_show_what_moves_in_between(clocked):
    assert len(clocked.poses) > 2 * 18
    for images in clocked.images.values():
        assert images.shape == (len(clocked.poses), 32, 56, 3)
    moving = np.linalg.norm(np.diff(clocked.poses[:, :3], axis=0), axis=1) > 0.01
    changed = (np.diff(clocked.images["left"].astype(int), axis=0) != 0).any(axis=(1, 2, 3))
    assert moving.sum() > 18
    assert changed[moving].all()


def test_commands_lead_to_where_the_arm_is_told_to_be(clocked):
    """The servos keep up with their set-points, so that each row is near where it is told to be."""
    told = integrate(clocked.poses[:-1], clocked.commands)
    away = difference(clocked.poses[1:], told)
    heights = clocked.extras["object_poses"][1:, 0, 2]
    free = (np.abs(heights - heights[0]) < 1e-3) & (np.abs(clocked.commands[:, 6]) < 1e-3)
    assert free.sum() > 20
    assert np.abs(away[free, :3]).max() < 0.003
    assert np.abs(away[free, 3:6]).max() < 0.01
    # What is held keeps the fingers from where they are told to be.
    assert told[-1, 6] > clocked.poses[-1, 6] + 0.05


def test_the_controller_of_torques_is_told_a_pose_as_well():
    within = record("Reach", "scripted", HZ, controller="osc")
    told = integrate(within.poses[:-1], within.commands)
    assert np.abs(difference(within.poses[1:], told)[:, :3]).max() < 0.05
    moved = np.diff(within.poses[:, :3], axis=0)
    ahead = (within.commands[:, :3] * moved).sum(axis=1)
    assert (ahead[np.linalg.norm(moved, axis=1) > 0.01] > 0).all()


def test_the_controller_of_torques_does_the_same_when_it_is_watched():
    plain = record("Reach", "scripted", None, controller="osc")
    within = record("Reach", "scripted", HZ, controller="osc")
    np.testing.assert_array_equal(within.info["move_commands"], plain.commands)
    assert within.info["distances"] == plain.info["distances"]


@pytest.mark.parametrize("record_hz", [None, HZ])
def test_the_camera_on_the_hand_has_a_pose_a_row(record_hz):
    episode = record("Reach", "scripted", record_hz, cameras=("left", "wrist"))
    assert episode.cameras["left"]["extrinsics"].shape == (6,)
    extrinsics = episode.cameras["wrist"]["extrinsics"]
    assert extrinsics.shape == (len(episode.poses), 6)
    assert episode.cameras["wrist"]["intrinsics"].shape == (3, 3)
    # It sits on the flange, so that its distance from there stays.
    apart = np.linalg.norm(extrinsics[:, :3] - episode.poses[:, :3], axis=1)
    np.testing.assert_allclose(apart, apart[0], atol=1e-5)
    assert np.ptp(extrinsics[:, 0]) > 0.01


@pytest.mark.parametrize("record_hz", [0.0, -15.0, 501.0, np.inf, np.nan])
def test_a_rate_that_the_physics_has_not_is_refused(record_hz):
    with pytest.raises(ValueError, match="above 0 and at most 500"):
        record("Reach", "idle", float(record_hz))
