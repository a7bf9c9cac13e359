"""Imagination with memory is the plain predictor, run on its own predictions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models import imagination
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context
from vjepa_gym.world_models.poses import integrate
from vjepa_gym.world_models.presets import ACPredictorConfig
from vjepa_gym.world_models.rollout_memory import RolloutMemory
from vjepa_gym.world_models.vjepa2_ac import load_world_model


@pytest.fixture
def predictor() -> ACPredictor:
    model = ACPredictor(ACPredictorConfig(width=24, depth=3, heads=2, grid_size=2), 6)
    initialise(model, torch.Generator().manual_seed(0))
    for parameter in model.parameters():
        parameter.data *= 8  # so that actions matter from the first
    return model.double().requires_grad_(False)  # so that only mistakes differ, not roundings


def random_context(n: int, past: int) -> Context:
    draw = torch.Generator().manual_seed(past)
    double = {"generator": draw, "dtype": torch.float64}
    latents = torch.nn.functional.layer_norm(torch.randn(n, past, 4, 6, **double), (6,))
    return Context(
        latents=latents,
        poses=0.3 * torch.randn(n, past, 7, **double),
        actions=0.1 * torch.randn(n, past - 1, 7, **double),
    )


def random_actions(n: int, samples: int, horizon: int) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return 0.3 * torch.randn(n, samples, horizon, 7, generator=draw, dtype=torch.float64)


def imagine_plainly(predictor: ACPredictor, context: Context, actions: Tensor) -> Tensor:
    """Predict one robot's and one sample's frames, everything computed anew at each step."""
    latents, poses, done = context.latents, context.poses, context.actions
    for action in actions:
        done = torch.cat([done, action[None, None]], 1)
        following = predictor(latents, poses, done)[:, -1:]
        latents = torch.cat([latents, following], 1)
        poses = torch.cat([poses, integrate(poses[:, -1:], action[None, None])], 1)
    return latents[0, -len(actions) :]


def imagine_each_plainly(predictor: ACPredictor, context: Context, actions: Tensor) -> Tensor:
    """Do that for every robot and sample, one by one."""
    found = []
    for robot in range(len(actions)):
        alone = Context(
            latents=context.latents[[robot]],
            poses=context.poses[[robot]],
            actions=context.actions[[robot]],
        )
        found.append(
            torch.stack([imagine_plainly(predictor, alone, sample) for sample in actions[robot]])
        )
    return torch.stack(found)


@pytest.mark.parametrize("past", [1, 2, 3])
@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
def test_it_equals_predicting_without_memory(
    predictor: ACPredictor, past: int, horizon: int
) -> None:
    context, actions = random_context(2, past), random_actions(2, 5, horizon)
    expected = imagine_each_plainly(predictor, context, actions)
    for together in (1, 2, 3, 5, 100):  # samples at once, of both robots with 6 tokens a frame
        found = imagination.imagine(predictor, context, actions, max_tokens=12 * together).latents
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    with torch.no_grad():
        for together in (1, 2, 3, 5):
            found = imagination.imagine(predictor, context, actions, max_tokens=12 * together)
            torch.testing.assert_close(found.latents, expected, atol=1e-9, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("past", [1, 3])
def test_it_equals_it_in_32_bits_too(past: int) -> None:
    predictor = load_world_model("tiny").predictor
    draw = torch.Generator().manual_seed(past)
    latents = torch.nn.functional.layer_norm(torch.randn(2, past, 16, 192, generator=draw), (192,))
    context = Context(
        latents=latents, poses=torch.rand(2, past, 7), actions=0.05 * torch.ones(2, past - 1, 7)
    )
    actions = random_actions(2, 3, 4).float() / 6
    found = imagination.imagine(predictor, context, actions, max_tokens=100).latents
    expected = imagine_each_plainly(predictor, context, actions)
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_the_camera_stays_where_it_was_last() -> None:
    config = ACPredictorConfig(width=24, depth=2, heads=2, grid_size=2, use_extrinsics=True)
    predictor = ACPredictor(config, 6)
    initialise(predictor, torch.Generator().manual_seed(0))
    for parameter in predictor.parameters():
        parameter.data *= 8
    predictor.double().requires_grad_(False)
    context, actions = random_context(1, 2), random_actions(1, 2, 2)
    cameras = torch.rand(1, 2, 6, dtype=torch.float64)
    found = imagination.imagine(predictor, replace(context, extrinsics=cameras), actions)
    sample = actions[:, 1]
    first = predictor(
        context.latents,
        context.poses,
        torch.cat([context.actions, sample[:, :1]], 1),
        extrinsics=cameras,
    )
    poses = torch.cat([context.poses, integrate(context.poses[:, -1:], sample[:, :1])], 1)
    second = predictor(
        torch.cat([context.latents, first[:, -1:]], 1),
        poses,
        torch.cat([context.actions, sample], 1),
        extrinsics=torch.cat([cameras, cameras[:, -1:]], 1),
    )
    torch.testing.assert_close(found.latents[:, 1, 1], second[:, -1], atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="needs the camera's extrinsics"):
        imagination.imagine(predictor, context, actions)


@torch.no_grad()
def test_memory_is_set_aside_once(predictor: ACPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    set_aside = []
    plainly = RolloutMemory._set_aside
    monkeypatch.setattr(
        RolloutMemory,
        "_set_aside",
        lambda self, new, past: set_aside.append(plainly(self, new, past)) or set_aside[-1],
    )
    imagination.imagine(predictor, random_context(2, 3), random_actions(2, 6, 4), max_tokens=24)
    # Keys and values of three blocks: two robots, two samples at once, two frames and four.
    assert [room.shape for room in set_aside] == [(4, 2, 36, 12)] * 6


@torch.no_grad()
def test_samples_are_spread_evenly(predictor: ACPredictor) -> None:
    rows = []
    predictor.predictor_blocks[0].register_forward_hook(
        lambda _module, arguments, _output: rows.append(len(arguments[0]))
    )
    imagination.imagine(predictor, random_context(1, 1), random_actions(1, 7, 1), max_tokens=30)
    assert rows == [4, 3]


@pytest.mark.gpu
@torch.no_grad()
def test_a_gpu_is_filled_as_far_as_its_memory_goes(predictor: ACPredictor) -> None:
    model = predictor.float().cuda()
    context = random_context(2, 2)
    context = Context(
        latents=context.latents.float().cuda(),
        poses=context.poses.float().cuda(),
        actions=context.actions.float().cuda(),
    )
    actions = random_actions(2, 5, 3).float().cuda()
    assert 6 < imagination.suitable_tokens(model, context, actions) <= imagination.GPU_TOKENS
    assert imagination.imagine(model, context, actions).latents.shape == (2, 5, 3, 4, 6)


def test_poses_are_integrated_and_the_gripper_clipped(predictor: ACPredictor) -> None:
    context, actions = random_context(2, 1), random_actions(2, 3, 2)
    actions[..., 6] = 0.8
    poses = imagination.imagine(predictor, context, actions).poses
    first = integrate(context.poses[:, -1:].expand(-1, 3, -1), actions[:, :, 0])
    assert torch.equal(poses[:, :, 0], first)
    assert torch.equal(poses[:, :, 1], integrate(first, actions[:, :, 1]))
    assert (poses[:, :, 1, 6] == 1.0).all()


def test_the_action_matters(predictor: ACPredictor) -> None:
    imagined = imagination.imagine(predictor, random_context(1, 2), random_actions(1, 4, 1))
    assert imagined.latents[0].std(0).max() > 0.01


def test_past_frames_are_computed_once_for_all_samples(predictor: ACPredictor) -> None:
    rows = []
    predictor.predictor_blocks[0].register_forward_hook(
        lambda _module, arguments, _output: rows.append(arguments[0].shape[:2])
    )
    imagination.imagine(predictor, random_context(2, 3), random_actions(2, 4, 2), max_tokens=24)
    # Two past frames of both robots, then two chunks of two samples, each two single frames long.
    assert rows == [(2, 12)] + [(4, 6)] * 4


def test_gradients_reach_the_actions(predictor: ACPredictor) -> None:
    actions = random_actions(1, 2, 2).requires_grad_()
    imagination.imagine(predictor, random_context(1, 2), actions).latents[
        :, :, -1, 0, 0
    ].sum().backward()
    assert actions.grad is not None
    assert (actions.grad.abs().amax(-1) > 0).all()
