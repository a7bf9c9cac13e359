"""A camera that was carried round sees what the old one would, were the robot turned instead."""

import math

import numpy as np
import pytest
import torch
from toys import ToyWorldModel, picture

from vjepa_gym import kinematics
from vjepa_gym.agents.turned import PIVOT, TurnedWorldModel, turn_actions, turn_poses
from vjepa_gym.sim.cameras import LEFT, CameraPose
from vjepa_gym.world_models.base import Context, Imagined, WorldModel
from vjepa_gym.world_models.poses import follow, integrate, rotation_matrix

OFFSETS = [-25.0, 15.0, 40.0]


def random_poses(*shape):
    generator = torch.Generator().manual_seed(3)
    poses = torch.rand(*shape, 7, generator=generator)
    poses[..., 3:6] = (poses[..., 3:6] - 0.5) * 2
    return poses


def random_actions(*shape):
    return (random_poses(*shape) - 0.5) * 0.1


def seen(camera, point):
    """Return where in the picture a camera sees a point, and how deep [m]."""
    x, y, z = camera.rotation().T @ (point - camera.position())
    return np.array([x / z, y / z, z])


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_turned_point_is_seen_by_the_old_camera_as_the_point_by_the_new(offset):
    new = CameraPose(azimuth=LEFT.azimuth + offset)
    for pose in random_poses(5):
        turned = turn_poses(pose, math.radians(offset), LEFT.target[:2])
        before = seen(new, pose[:3].double().numpy())
        assert seen(LEFT, turned[:3].double().numpy()) == pytest.approx(before, abs=1e-5)
        wrong = turn_poses(pose, -math.radians(offset), LEFT.target[:2])
        assert seen(LEFT, wrong[:3].double().numpy()) != pytest.approx(before, abs=1e-2)


@pytest.mark.parametrize("offset", OFFSETS)
def test_so_are_the_axes_of_the_hand(offset):
    new = CameraPose(azimuth=LEFT.azimuth + offset)
    for pose in random_poses(5):
        turned = turn_poses(pose, math.radians(offset), PIVOT)
        axes = rotation_matrix(pose[3:6].double()).numpy()
        turned_axes = rotation_matrix(turned[3:6].double()).numpy()
        before, after = new.rotation().T @ axes, LEFT.rotation().T @ turned_axes
        assert after == pytest.approx(before, abs=1e-5)


def test_the_pivot_is_where_the_camera_of_the_training_looks():
    assert LEFT.target[:2] == PIVOT


def test_what_is_turned_and_turned_back_is_as_before():
    poses, actions = random_poses(4, 3), random_actions(4, 3)
    there = turn_poses(poses, 0.7, PIVOT)
    assert torch.allclose(turn_poses(there, -0.7, PIVOT), poses, atol=1e-6)
    assert torch.allclose(turn_actions(turn_actions(actions, 0.7), -0.7), actions, atol=1e-6)


def test_a_turned_action_leads_from_the_turned_pose_to_the_turned_end():
    poses, actions = random_poses(6), random_actions(6) * 5
    turned = integrate(turn_poses(poses, -0.9, PIVOT), turn_actions(actions, -0.9))
    ends = turn_poses(integrate(poses, actions), -0.9, PIVOT)
    apart = kinematics.difference(turned.numpy(), ends.numpy())
    assert np.abs(apart).max() < 1e-5


def test_yaw_stays_within_half_a_turn():
    pose = torch.tensor([0.5, 0.0, 0.3, math.pi, 0.0, 3.0, 0.0])
    turned = turn_poses(pose, 0.5, PIVOT)
    assert float(turned[5]) == pytest.approx(3.5 - 2 * math.pi, abs=1e-6)
    assert float(turned[3]) == pytest.approx(math.pi)


def test_gradients_reach_an_action_that_does_nothing():
    actions = torch.zeros(2, 7, requires_grad=True)
    turn_actions(actions, 0.3).square().add(actions).sum().backward()
    assert actions.grad is not None
    assert torch.isfinite(actions.grad).all()


class Recorder:
    """A world model that keeps what it was asked."""

    def encode(self, images):
        return images.float().flatten(1, 2)

    def imagine(self, context: Context, actions: torch.Tensor) -> Imagined:
        self.context, self.actions = context, actions
        latents = torch.zeros(*actions.shape[:3], 2, 3)
        poses = follow(context.poses[:, -1:].expand(-1, actions.shape[1], -1), actions)
        return Imagined(context=context, actions=actions, latents=latents, poses=poses)


def a_context(extrinsics=None):
    return Context(
        latents=torch.zeros(2, 2, 2, 3),
        poses=random_poses(2, 2),
        actions=random_actions(2, 1),
        extrinsics=extrinsics,
    )


def test_it_plays_a_world_models_role_in_the_robots_own_frame():
    inner, context, actions = Recorder(), a_context(), random_actions(2, 3, 4)
    imagined = TurnedWorldModel(inner, 0.4).imagine(context, actions)
    assert isinstance(TurnedWorldModel(inner, 0.4), WorldModel)
    assert imagined.actions is actions
    assert imagined.context is context
    expected = follow(context.poses[:, -1:].expand(-1, 3, -1), actions)
    assert torch.allclose(imagined.poses, expected, atol=1e-5)
    assert torch.equal(inner.context.poses, turn_poses(context.poses, 0.4, PIVOT))
    assert torch.equal(inner.context.actions, turn_actions(context.actions, 0.4))
    assert torch.equal(inner.actions, turn_actions(actions, 0.4))


def test_the_extrinsics_of_a_camera_that_was_carried_become_those_of_the_training():
    new = CameraPose(azimuth=LEFT.azimuth + 20)
    cameras = [
        np.concatenate([one.position(), kinematics.euler_angles(one.rotation())])
        for one in (new, LEFT)
    ]
    carried, trained = (torch.tensor(one).float().expand(2, 2, 6) for one in cameras)
    inner = Recorder()
    turned = TurnedWorldModel(inner, math.radians(20))
    turned.imagine(a_context(carried), random_actions(2, 1, 1))
    assert inner.context.extrinsics is not None
    assert torch.allclose(inner.context.extrinsics, trained, atol=1e-5)


def test_without_a_turn_nothing_changes():
    pose = np.array([0.5, 0.1, 0.3, 0, 0, 0, 0], np.float32)
    latents = ToyWorldModel().encode(torch.from_numpy(picture(pose))[None])
    context = Context(
        latents=latents[:, None],
        poses=torch.from_numpy(pose)[None, None],
        actions=torch.zeros(1, 0, 7),
    )
    actions = random_actions(1, 5, 2)
    plain = ToyWorldModel().imagine(context, actions).latents
    turned = TurnedWorldModel(ToyWorldModel(), 0.0).imagine(context, actions).latents
    assert torch.allclose(turned, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("angle", "pivot"), [(math.nan, PIVOT), (math.inf, PIVOT), (0.1, (0.5, math.nan))]
)
def test_what_is_not_finite_is_refused(angle, pivot):
    with pytest.raises(ValueError, match="finite"):
        TurnedWorldModel(ToyWorldModel(), angle, pivot)
