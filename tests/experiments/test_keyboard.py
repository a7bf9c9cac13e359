import numpy as np
import pytest
from benches import TCP, PointBench

from vjepa_gym import kinematics
from vjepa_gym.experiments.keyboard import ENTER, ESCAPE, HELP, MOVES, STEP_SIZES, Drivable, drive


@pytest.fixture
def bench():
    return PointBench()


def press(bench, keys, **kwargs):
    """Return what came of it, and every status on the way; a space ends with escape instead."""
    seen = []
    ended = [*keys, ENTER] if not keys.endswith(" ") else [*keys[:-1], ESCAPE]
    return drive(bench, ended, on_status=seen.append, **kwargs), seen


def test_what_is_driven_is_an_environment(bench):
    assert isinstance(bench, Drivable)
    assert not isinstance(object(), Drivable)


@pytest.mark.parametrize(
    ("key", "axis", "way"),
    [
        ("w", 0, 0.03),
        ("s", 0, -0.03),
        ("a", 1, 0.03),
        ("d", 1, -0.03),
        ("q", 2, 0.03),
        ("e", 2, -0.03),
        ("j", 5, 0.1),
        ("l", 5, -0.1),
        ("c", 6, 0.5),
    ],
)
def test_a_key_moves_one_axis(bench, key, axis, way):
    driven, seen = press(bench, key)
    change = kinematics.difference(seen[0].pose, seen[1].pose)
    assert change[axis] == pytest.approx(way, abs=1e-6)
    assert np.abs(np.delete(change, axis)).max() < 1e-6
    np.testing.assert_array_equal(driven.views[0].pose, seen[1].pose)


def test_the_hand_opens_again(bench):
    _, seen = press(bench, "cco")
    assert [round(float(status.pose[6]), 2) for status in seen[:4]] == [0.0, 0.5, 1.0, 0.5]


def test_every_key_that_moves_is_explained():
    explained = [key for line in HELP.splitlines() for key in line[:5].split()]
    assert set(MOVES) <= set(explained)


def test_moves_get_longer_and_shorter_within_limits(bench):
    _, seen = press(bench, "+" * 9 + "w")
    assert seen[-1].step == STEP_SIZES[-1]
    assert seen[-1].pose[0] - seen[0].pose[0] == pytest.approx(0.075)
    assert not seen[-1].happened
    _, seen = press(bench, "-" * 9 + "=")
    assert seen[-2].step == STEP_SIZES[0]
    assert seen[-1].step == STEP_SIZES[1]


def test_a_turn_of_full_length_is_no_more_than_is_allowed(bench):
    _, seen = press(bench, "++j")
    assert seen[-1].pose[5] == pytest.approx(0.25)
    assert not seen[-1].happened


def test_views_are_taken_in_order_and_the_last_is_the_goal(bench):
    driven, seen = press(bench, "wgagw")
    assert [status.views for status in seen] == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(driven.views[0].pose, seen[1].pose)
    np.testing.assert_array_equal(driven.views[1].pose, seen[3].pose)
    np.testing.assert_array_equal(driven.views[1].image, seen[3].image)
    assert driven.tool_offset == TCP
    assert driven.seed == 0


def test_without_a_view_the_end_is_the_goal(bench):
    driven, seen = press(bench, "ww")
    assert len(driven.views) == 1
    np.testing.assert_array_equal(driven.views[0].image, seen[-1].image)


def test_keys_are_taken_back_one_by_one(bench):
    _, seen = press(bench, "wgauuuu")
    assert seen[4].views == 1
    np.testing.assert_array_equal(seen[4].pose, seen[2].pose)
    assert seen[5].views == 0
    np.testing.assert_array_equal(seen[6].pose, seen[0].pose)
    assert seen[7].said == "Nothing to take back."


def test_another_seed_is_another_lab_without_views(bench):
    driven, seen = press(bench, "wgn", seed=4)
    assert [seed for seed, _ in bench.resets] == [4, 5]
    assert all(options == {"goal_images": False} for _, options in bench.resets)
    assert seen[-1].views == 0
    assert driven.seed == 5
    assert driven.views[0].pose[1] == pytest.approx(0.05)


def test_what_was_special_about_a_move_is_said_once(bench):
    _, seen = press(bench, "++" + "e" * 5 + "g")
    assert seen[-2].happened == ("clipped", "contact")
    assert seen[-1].happened == ()


def test_a_key_that_means_nothing_moves_nothing(bench):
    _, seen = press(bench, "x")
    assert seen[-1].said == "That key means nothing."
    np.testing.assert_array_equal(seen[1].pose, seen[0].pose)


def test_no_goal_is_taken_outside_of_the_workspace(bench):
    outside = PointBench()
    outside.reset = lambda **_: setattr(outside.world.arm, "pose", bench.world.arm.pose + 0.4)
    driven, seen = press(outside, "g")
    assert driven is None
    assert "outside of the workspace" in seen[-1].said
    assert seen[-1].views == 0


@pytest.mark.parametrize("keys", ["wg ", " "])
def test_escape_leaves_without_a_goal_and_everything_as_it_began(bench, keys):
    driven, seen = press(bench, keys)
    assert driven is None
    np.testing.assert_array_equal(bench.world.arm.pose, seen[0].pose)


def test_keys_that_end_save_nothing(bench):
    assert drive(bench, "wgw") is None


def test_another_camera_can_take_the_views(bench):
    driven, _ = press(bench, "g", camera="right")
    assert driven.views[0].image[1, 1, 0] == 90
