import numpy as np
import pytest

from vjepa_gym.sim.textures import PATTERNS


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_light_grey_and_tiles(name):
    draw, period = PATTERNS[name]
    pattern = draw()
    assert pattern.shape[0] == pattern.shape[1]
    assert pattern.min() >= 0.0
    assert 0.7 < pattern.mean() <= 1.0
    assert period > 0.0
    seam = np.abs(pattern[:, 0] - pattern[:, -1]).mean()
    assert seam <= np.abs(np.diff(pattern, axis=1)).max() + 1e-9


def test_a_pattern_is_the_same_each_time():
    for draw, _ in PATTERNS.values():
        np.testing.assert_array_equal(draw(), draw())


def test_patterns_differ():
    spreads = {name: draw().std() for name, (draw, _) in PATTERNS.items()}
    assert len({round(float(spread), 4) for spread in spreads.values()}) == len(PATTERNS)
