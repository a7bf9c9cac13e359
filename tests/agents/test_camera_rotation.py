"""The toy's camera is carried round: what it sees is where the point would be, were it turned."""

import math

import numpy as np
import pytest
import torch
from toys import ToyWorldModel, draw, picture

from vjepa_gym.agents.camera_rotation import (
    RotationEstimate,
    estimate_rotation,
    rotation_from_moves,
)
from vjepa_gym.agents.turned import PIVOT, turn_poses
from vjepa_gym.errors import PlanningError
from vjepa_gym.world_models.base import Context, Imagined


def walk(moves, seed=0, largest=0.06):
    """Return the poses of a random walk along the table."""
    rng = np.random.default_rng(seed)
    poses = np.zeros((moves + 1, 7), np.float32)
    poses[:, :3] = [0.5, 0.0, 0.3]
    for row in range(moves):
        step = rng.uniform(-largest, largest, 2)
        # Back towards the middle, which keeps the toy in its picture.
        outside = np.abs(poses[row, :2] + step - [0.5, 0.0]) > 0.12
        poses[row + 1, :2] = poses[row, :2] + np.where(outside, -step, step)
    return poses


def views(poses, degrees):
    """Return what a camera sees that was carried by so many degrees."""
    turned = turn_poses(torch.from_numpy(poses), math.radians(degrees), PIVOT)
    return np.stack([picture(pose.numpy()) for pose in turned])


@pytest.mark.parametrize("degrees", [-47.0, -15.0, 0.0, 8.0, 33.0])
def test_the_angle_is_found_from_eight_moves(degrees):
    poses = walk(8)
    found = rotation_from_moves(ToyWorldModel(), views(poses, degrees), poses)
    assert isinstance(found, RotationEstimate)
    assert math.degrees(found.angle) == pytest.approx(degrees, abs=1.5)
    assert math.degrees(found.spread) < 1.5
    assert len(found.angles) == len(found.errors) == 25
    assert math.degrees(found.angles[found.errors.argmin()]) == pytest.approx(degrees, abs=2.6)


def test_unrefined_it_is_one_of_the_angles_that_were_tried():
    poses = walk(8)
    angles = [-0.2, 0.0, 0.3]
    found = rotation_from_moves(
        ToyWorldModel(), views(poses, 13.0), poses, angles=angles, refine=False
    )
    assert found.angle == 0.3
    assert found.spread == math.inf  # it is the last one: it may be more


class WrongEverywhere(ToyWorldModel):
    """Knows how the toy moves, but expects other surroundings."""

    def imagine(self, context: Context, actions: torch.Tensor) -> Imagined:
        imagined = super().imagine(context, actions)
        imagined.latents.add_(torch.linspace(0, 3, imagined.latents.shape[-2])[:, None])
        return imagined


def test_surroundings_that_were_never_seen_do_not_matter():
    poses = walk(8)
    found = rotation_from_moves(WrongEverywhere(), views(poses, 20.0), poses)
    assert math.degrees(found.angle) == pytest.approx(20, abs=1.5)


def test_more_is_known_from_more_moves():
    spreads = []
    noise = torch.Generator().manual_seed(0)
    for moves in (4, 24):
        poses = walk(moves, seed=1)
        turned = turn_poses(torch.from_numpy(poses), 0.3, PIVOT)
        latents = draw(turned).flatten(1, 2) / 255
        latents = latents + 0.05 * torch.randn(latents.shape, generator=noise)
        spreads.append(estimate_rotation(ToyWorldModel(), latents, poses).spread)
    assert 0 < spreads[1] < spreads[0] / 1.5


def test_two_views_make_one_move_and_no_spread():
    poses = walk(1)
    found = rotation_from_moves(ToyWorldModel(), views(poses, 10.0), poses)
    assert math.degrees(found.angle) == pytest.approx(10, abs=3)
    assert found.spread == math.inf


class Still(ToyWorldModel):
    def imagine(self, context: Context, actions: torch.Tensor) -> Imagined:
        return super().imagine(context, torch.zeros_like(actions))


def test_a_model_that_knows_no_moves_knows_nothing_of_the_camera():
    poses = walk(8)
    assert rotation_from_moves(Still(), views(poses, 10.0), poses).spread == math.inf


def test_moves_that_are_none_are_refused_before_anything_is_encoded():
    model, poses = ToyWorldModel(), np.repeat(walk(0), 5, axis=0)
    with pytest.raises(ValueError, match="make some moves of 3 to 7 cm"):
        rotation_from_moves(model, views(poses, 0.0), poses)
    rising = poses.copy()
    rising[:, 2] += np.arange(5, dtype=np.float32) * 0.03
    with pytest.raises(ValueError, match="make some moves"):
        rotation_from_moves(model, views(rising, 0.0), rising)
    apart = poses.copy()
    apart[:, 0] += np.arange(5, dtype=np.float32) * 0.2
    with pytest.raises(ValueError, match="make some moves"):
        rotation_from_moves(model, views(apart, 0.0), apart)
    assert model.encoded == 0


def test_views_without_poses_are_refused():
    poses = walk(4)
    with pytest.raises(ValueError, match="got 5 views and 4 poses"):
        rotation_from_moves(ToyWorldModel(), views(poses, 0.0), poses[:4])


@pytest.mark.parametrize("angles", [[0.0, 0.1], [0.0, 0.2, 0.1], [math.nan, 0.0, 0.1]])
def test_angles_that_do_not_grow_are_refused(angles):
    poses = walk(4)
    with pytest.raises(ValueError, match="at least three and grow"):
        rotation_from_moves(ToyWorldModel(), views(poses, 0.0), poses, angles=angles)


class Broken(ToyWorldModel):
    def imagine(self, context: Context, actions: torch.Tensor) -> Imagined:
        imagined = super().imagine(context, actions)
        imagined.latents[0, 0] = math.nan
        return imagined


def test_predictions_that_are_not_finite_are_said_aloud():
    poses = walk(4)
    with pytest.raises(PlanningError, match="not finite"):
        rotation_from_moves(Broken(), views(poses, 0.0), poses)
