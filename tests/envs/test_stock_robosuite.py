import numpy as np
import pytest

from vjepa_gym.envs.stock_robosuite import StockRobosuite
from vjepa_gym.sim.world import World


@pytest.fixture(scope="module")
def stock():
    stock = StockRobosuite(64)
    yield stock
    stock.close()


def test_a_step_goes_some_of_the_way_that_was_asked_for(stock):
    stock.reset()
    before = stock.tool
    picture = stock.step(np.array([0.05, 0.0, 0.0]))
    assert picture.shape == (64, 64, 3)
    assert 0.02 < (stock.tool - before)[0] < 0.05


def test_its_arm_and_camera_can_be_put_where_ours_are(stock):
    world = World(image_size=128)
    camera = world.model.camera("left")
    ours = world.image()
    stock.imitate(world.arm.joints, camera.pos, camera.quat, float(camera.fovy[0]))
    theirs = stock.image(128)
    np.testing.assert_allclose(stock.tool, world.arm.tool, atol=0.01)
    # The base of the white arm stands at the right edge of both.
    for picture in (ours, theirs):
        assert np.median(picture[40:60, 118:]) > 150
    np.testing.assert_array_equal(world.image(), ours)
    world.close()
