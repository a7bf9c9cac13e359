from dataclasses import fields

import numpy as np
import pytest

from vjepa_gym import kinematics
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.sim.labs import LABS, TEST, TRAIN, Lab, lab
from vjepa_gym.sim.world import World

CORNERS = [[x, y, z] for x in (0.36, 0.66) for y in (-0.20, 0.20) for z in (0.13, 0.38)]
"""Of the region in which hands begin and goals lie [m]."""


@pytest.fixture(scope="module", params=LABS)
def world(request):
    world = World(image_size=96, lab=request.param)
    world.arrange({"cup": [0.5, 0.1, 0.0], "box": [0.5, -0.1, 0.0]})
    yield world
    world.close()


def test_the_labs_differ_in_all_that_is_seen():
    same = {f.name for f in fields(Lab) if getattr(TRAIN, f.name) == getattr(TEST, f.name)}
    assert not same


def test_an_unknown_lab_or_texture_is_an_error_that_tells_which_there_are():
    with pytest.raises(UnknownNameError, match="test, train"):
        lab("kitchen")
    with pytest.raises(UnknownNameError, match="perforated, plain, speckled, wood"):
        Lab(table_texture="marble")


def test_a_lab_of_ones_own_is_taken_where_a_name_is():
    own = Lab(objects="unseen", table_rgb=(0.9, 0.1, 0.1), table_texture="plain")
    world = World(image_size=32, lab=own)
    red, green, _ = world.image()[-6:].reshape(-1, 3).mean(axis=0)
    assert red > 3 * green
    world.close()


@pytest.mark.parametrize("camera", ["left", "right"])
def test_hands_stay_in_the_picture_wherever_they_may_begin(world, camera):
    measured = world.calibration(camera)
    turn = kinematics.rotation_matrix(measured["extrinsics"][3:].astype(np.float64))
    local = (np.array(CORNERS) - measured["extrinsics"][:3]) @ turn
    pixels = (local / local[:, 2:]) @ measured["intrinsics"].T
    # A finger's width of the picture stays around the tool centre.
    assert (pixels[:, :2] > 4).all()
    assert (pixels[:, :2] < 96 - 4).all()


@pytest.mark.parametrize("camera", ["left", "right"])
def test_there_is_more_behind_the_table_than_a_wall(world, camera):
    upper = world.image(camera)[:30].astype(int)
    steps = np.abs(np.diff(upper, axis=1)).sum(axis=-1)
    assert (steps > 40).mean() > 0.03


def test_nothing_of_the_backdrop_stands_on_the_table_or_before_a_camera():
    for chosen in LABS.values():
        (x0, x1), (y0, y1) = chosen.table_x, chosen.table_y
        for piece in chosen.backdrop:
            vertices, _ = piece.mesh()
            on_the_table = (
                (vertices[:, 0] > x0)
                & (vertices[:, 0] < x1)
                & (vertices[:, 1] > y0)
                & (vertices[:, 1] < y1)
            )
            assert not on_the_table.any()
            assert np.linalg.norm(vertices[:, :2] - chosen.left.position()[:2], axis=1).min() > 0.3


def test_the_train_lab_is_as_bright_as_the_real_one():
    """Real frames of the paper's lab: a table at about 80, a wall near 220, a light arm and cup."""
    world = World(image_size=96)
    world.arrange({"cup": [0.5, 0.1, 0.0]})
    picture = world.image()
    assert 50 < np.median(picture[60:]) < 90
    assert picture[:20].max() > 190
    world.close()
