from dataclasses import fields

import numpy as np
import pytest

from vjepa_gym.envs.factors import factors, variation_space
from vjepa_gym.envs.presets import PRESETS
from vjepa_gym.envs.variation import DRAWN, Variation, apply, placement
from vjepa_gym.errors import UnknownNameError, VariationError
from vjepa_gym.experiments.settings import VariationConfig
from vjepa_gym.sim.labs import LABS
from vjepa_gym.sim.world import World

LAB = LABS["train"]


@pytest.fixture(scope="module")
def world():
    world = World(image_size=32)
    yield world
    world.close()


@pytest.mark.parametrize("lab", LABS)
def test_what_is_usual_is_possible_and_so_is_what_is_nominal(lab):
    space = variation_space(LABS[lab])
    rng = np.random.default_rng(0)
    for name, factor in factors(LABS[lab]).items():
        for _ in range(10):
            assert space[name].contains(factor.draw(rng)), name
        if factor.nominal is not None:
            assert space[name].contains(factor.nominal), name


def test_a_factor_that_is_swept_leaves_the_others_as_they_were():
    variation = Variation(LAB, "wide")
    base, other = variation.draw(3), variation.draw(3, {"camera_azimuth": 140.0})
    assert other["camera_azimuth"] == 140.0
    for name in set(base) - {"camera_azimuth"}:
        np.testing.assert_array_equal(base[name], other[name])
    again = Variation(LAB, {"table_colour": "random"}).draw(3)
    np.testing.assert_array_equal(again["table_colour"], base["table_colour"])


def test_without_a_choice_everything_is_nominal_and_the_task_draws_the_rest():
    drawn = Variation(LAB).draw(0)
    assert drawn["camera_azimuth"] == LAB.left.azimuth
    assert drawn["distractors"] == 0
    assert not set(drawn) & set(DRAWN)
    assert "goal" not in Variation(LAB, {"goal": "random"}).draw(0)


def test_another_seed_draws_another_value():
    variation = Variation(LAB, {"light_brightness": "random"})
    values = {float(variation.draw(seed)["light_brightness"]) for seed in range(8)}
    assert len(values) == 8


def test_two_values_are_a_range():
    chosen = {
        "camera_azimuth": [100, 102],
        "table_colour": [[0.1, 0.2, 0.3], [0.2, 0.2, 0.9]],
        "goal": [[0.4, 0.0, 0.2], [0.5, 0.1, 0.3]],
    }
    drawn = [Variation(LAB, chosen).draw(seed) for seed in range(50)]
    azimuth = np.array([each["camera_azimuth"] for each in drawn])
    assert 100 <= azimuth.min() < 100.5
    assert 101.5 < azimuth.max() <= 102
    colours = np.array([each["table_colour"] for each in drawn])
    assert (colours[:, 1] == np.float32(0.2)).all()
    assert 0.1 <= colours[:, 0].min() < colours[:, 0].max() <= np.float32(0.2)
    assert all(variation_space(LAB)["goal"].contains(each["goal"]) for each in drawn)
    assert Variation(LAB, {"camera_azimuth": np.array(101.0)}).draw(0)["camera_azimuth"] == 101
    one = Variation(LAB, {"camera_azimuth": np.array([100, 102])})
    assert one.draw(3) == one.draw(3)


def test_a_camera_that_roams_goes_farther_than_a_wide_choice():
    heights = {
        name: np.array([Variation(LAB, name).draw(seed)["camera_height"] for seed in range(60)])
        for name in ("wide", "roaming")
    }
    assert np.ptp(heights["roaming"]) > 2 * np.ptp(heights["wide"])


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"camera_azimuth": [140, 100]}, "range from 140.0 to 100.0: the first must be less"),
        ({"camera_azimuth": [100, 900]}, "camera_azimuth is .* two of these for a range"),
        ({"camera_azimuth": [100, 110, 120]}, "camera_azimuth is"),
        ({"distractors": [1, 3]}, "distractors is"),
        ({"camera_azimuth": [[100], [100, 120]]}, "camera_azimuth is"),
    ],
)
def test_impossible_ranges_are_refused(chosen, said):
    with pytest.raises(VariationError, match=said):
        Variation(LAB, chosen)


def test_names_stand_for_their_place_and_lists_for_arrays():
    drawn = Variation(LAB, {"object_set": "unseen", "goal": [0.5, 0.1, 0.2]}).draw(0)
    assert drawn["object_set"] == 1
    np.testing.assert_allclose(placement(drawn).goal, [0.5, 0.1, 0.2])
    assert placement(drawn).arm_start is None


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"camera_azimuth": 400.0}, r"\[deg\].*from 20.0 to 160.0"),
        ({"camera_azimuth": "left"}, "got 'left'"),
        ({"distractors": 5}, "from 0 to 4"),
        ({"distractors": 1.5}, "got 1.5"),
        ({"object_set": "unsen"}, "train, unseen"),
        ({"goal": [2.0, 0.0, 0.2]}, r"from \[0.3, -0.3, 0.01\] to \[0.75, 0.3, 0.5\]"),
        ({"goal": [0.5, 0.0]}, "goal is where"),
        ({"light_brightness": float("nan")}, "how bright"),
        ({"bump": "table"}, "none, object, arm"),
        ({"bump_step": 0}, "from 1 to 100"),
    ],
)
def test_what_is_impossible_is_answered_with_what_is_possible(chosen, said):
    with pytest.raises(VariationError, match=said):
        Variation(LAB, chosen)


def test_unknown_factors_and_presets_are_answered_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match="camera_azimuth"):
        Variation(LAB, {"camera_azimut": 1.0})
    with pytest.raises(UnknownNameError, match="narrow, none, roaming, wide"):
        Variation(LAB, "wid")
    with pytest.raises(UnknownNameError, match="narrow, none, roaming, wide"):
        VariationConfig(preset="wid").choice()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("camera_azimuth", 100.0),
        ("camera_height", 0.5),
        ("camera_fovy", 45.0),
        ("light_brightness", 0.5),
        ("light_azimuth", 120.0),
        ("table_texture", "wood"),
        ("table_colour", [0.9, 0.2, 0.1]),
        ("wall_colour", [0.2, 0.2, 0.9]),
        ("floor_colour", [0.9, 0.2, 0.1]),
        ("cup_colour", [0.9, 0.2, 0.1]),
        ("box_colour", [0.9, 0.9, 0.1]),
        ("object_set", "unseen"),
    ],
)
def test_each_factor_of_the_look_can_be_seen_and_is_gone_afterwards(world, name, value):
    def picture(chosen):
        apply(world, Variation(LAB, chosen).draw(0))
        world.arrange({"cup": np.array([0.5, -0.1, 0.0]), "box": np.array([0.5, 0.1, 0.0])})
        return np.concatenate([world.image(camera) for camera in ("left", "right", "wrist")])

    before, changed = picture({}), picture({name: value})
    assert not np.array_equal(before, changed)
    np.testing.assert_array_equal(picture({}), before)


def test_a_camera_that_is_raised_looks_at_the_same_place_from_as_far_away(world):
    apply(world, Variation(LAB, {"camera_height": 1.0}).draw(0))
    world.arrange({})
    position = world.calibration("left")["extrinsics"][:3]
    nominal = LAB.left.position()
    np.testing.assert_allclose(position[2], 1.0, atol=1e-3)
    target = np.array(LAB.left.target)
    np.testing.assert_allclose(
        np.linalg.norm(position[:2] - target[:2]),
        np.linalg.norm(nominal[:2] - target[:2]),
        atol=1e-3,
    )


def test_the_command_line_knows_every_factor_and_no_other():
    names = {field.name for field in fields(VariationConfig)} - {"preset"}
    assert names == set(factors(LAB))
    assert VariationConfig(preset="narrow", bump="arm").choice() == {
        **PRESETS["narrow"],
        "bump": "arm",
    }
