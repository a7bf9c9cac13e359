import numpy as np
import pytest

from vjepa_gym.envs.placement import (
    APART,
    GAP,
    HAND_SIDE,
    SURROUNDINGS_HIGH,
    SURROUNDINGS_LOW,
    TABLE_HIGH,
    TABLE_LOW,
    TURNED,
    Placement,
    draw_around,
    draw_ends,
    draw_until_it_fits,
    radius,
    scatter,
)
from vjepa_gym.errors import PlacementError
from vjepa_gym.sim.world import World


@pytest.fixture(scope="module")
def world():
    return World(image_size=16, distractors=4)


def drawn(world, seed, **wanted):
    rng = np.random.default_rng(seed)
    return draw_until_it_fits(
        lambda: (
            scatter(world, rng, given={})
            if not wanted
            else scatter(world, rng, **{"given": {}, **wanted})
        )
    )


def test_a_placement_keeps_what_it_is_given():
    low = np.array([*TABLE_LOW, -0.5], np.float32)
    placement = Placement(object_start=low, arm_start=[0.5, 0.0, 0.2])
    np.testing.assert_allclose(placement.object_start, low)
    assert placement.arm_start == (0.5, 0.0, 0.2)
    assert placement.goal is None


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("object_start", (0.5, 0.3, 0.0)),
        ("object_start", (0.5, 0.0)),
        ("arm_start", (0.5, 0.0, 0.6)),
        ("goal", (0.2, 0.0, 0.3)),
        ("goal", (np.nan, 0.0, 0.3)),
    ],
)
def test_a_place_outside_the_workspace_is_an_error_that_says_where_it_can_be(what, place):
    with pytest.raises(PlacementError, match=rf"{what} .*must be between \[0\.[34]"):
        Placement(**{what: place})


def test_things_stand_in_their_regions_and_none_too_near_to_another(world):
    size = {name: radius(world, name) for name in world.objects}
    for seed in range(30):
        places = drawn(world, seed)
        assert set(places) == {
            "cup",
            "box",
            "distractor1",
            "distractor2",
            "distractor3",
            "distractor4",
        }
        assert np.linalg.norm(places["cup"][:2] - places["box"][:2]) >= APART
        for name, (x, y, yaw) in places.items():
            main = name in ("cup", "box")
            low, high = (TABLE_LOW, TABLE_HIGH) if main else (SURROUNDINGS_LOW, SURROUNDINGS_HIGH)
            assert np.all(([x, y] >= low) & ([x, y] <= high))
            assert abs(yaw) <= TURNED
            if not main:
                for other in set(places) - {name}:
                    away = np.linalg.norm(places[other][:2] - [x, y])
                    assert away >= GAP + size[name] + size[other]


def test_what_is_given_stays_and_what_is_free_stays_free(world):
    given, free = {"cup": np.array([0.5, 0.1, 0.3])}, np.array([0.5, -0.1])
    for seed in range(10):
        places = drawn(world, seed, given=given, free=[free])
        np.testing.assert_array_equal(places["cup"], given["cup"])
        assert np.linalg.norm(places["box"][:2] - free) >= APART
        assert all(np.linalg.norm(place[:2] - free) >= GAP for place in places.values())
        assert "box" not in drawn(world, seed, without="box")


def test_nothing_stands_in_the_way_of_the_hand_unless_it_passes_above(world):
    low, high = np.array([[0.45, -0.2, 0.02], [0.6, 0.2, 0.02]]), np.array([0.0, 0.0, 0.3])
    shares = np.linspace(0, 1, 50)[:, None]
    line = low[0, :2] + shares * (low[1] - low[0])[:2]
    crossed = 0
    for seed in range(20):
        for name, place in drawn(world, seed, path=low).items():
            away = np.linalg.norm(line - place[:2], axis=1).min()
            assert away >= HAND_SIDE + radius(world, name) - 1e-3
        for place in drawn(world, seed, path=low + high).values():
            crossed += np.linalg.norm(line - place[:2], axis=1).min() < HAND_SIDE
    assert crossed > 10


def test_what_is_given_where_the_hand_begins_leaves_no_room(world):
    rng, given = np.random.default_rng(0), {"cup": np.array([0.5, 0.0, 0.0])}
    path = np.array([[0.5, 0.03, 0.05], [0.6, 0.2, 0.3]])
    assert scatter(world, rng, given=given, path=path) is None


def test_a_place_around_another_is_as_far_away_as_wanted():
    rng, centre = np.random.default_rng(0), np.array([0.5, 0.0])
    for _ in range(50):
        place = draw_around(rng, centre, TABLE_LOW, TABLE_HIGH, (0.1, 0.2))
        assert 0.1 <= np.linalg.norm(place - centre) <= 0.2
        assert np.all((place >= TABLE_LOW) & (place <= TABLE_HIGH))
    assert draw_around(rng, centre + 1.0, TABLE_LOW, TABLE_HIGH, (0.1, 0.2)) is None


def test_ends_that_are_given_stay_and_the_other_one_is_drawn():
    rng, given = np.random.default_rng(0), (0.5, 0.0)
    for ends in ((given, None), (None, given)):
        start, goal = draw_ends(rng, ends, TABLE_LOW, TABLE_HIGH, (0.1, 0.2))
        assert given in (tuple(start), tuple(goal))
        assert 0.1 <= np.linalg.norm(goal - start) <= 0.2
    start, goal = draw_ends(rng, (given, (0.5, 0.9)), TABLE_LOW, TABLE_HIGH, (0.1, 0.2))
    assert (tuple(start), tuple(goal)) == (given, (0.5, 0.9))
    with pytest.raises(PlacementError, match=r"at least 0\.1 m away from the start"):
        draw_ends(rng, (given, given), TABLE_LOW, TABLE_HIGH, (0.1, 0.2))


def test_what_never_fits_is_given_up():
    with pytest.raises(PlacementError, match="fewer distractors"):
        draw_until_it_fits(lambda: None)


def test_the_size_of_things_is_that_of_what_can_be_touched(world):
    assert radius(world, "cup") == pytest.approx(world.objects["cup"].radius, rel=0.03)
    x, y, _ = world.objects["box"].size
    assert radius(world, "box") == pytest.approx(np.hypot(x, y) / 2)
    assert radius(world, "distractor1") == pytest.approx(world.objects["distractor1"].radius)
