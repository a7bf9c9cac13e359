"""Imagination with memory is the plain predictor, run on its own predictions."""

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models import imagination
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context
from vjepa_gym.world_models.poses import integrate
from vjepa_gym.world_models.presets import ACPredictorConfig


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


@pytest.mark.parametrize("past", [1, 2, 3])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("max_tokens", [1, 24, 10_000])
def test_it_equals_predicting_without_memory(
    predictor: ACPredictor, past: int, horizon: int, max_tokens: int
) -> None:
    context, actions = random_context(2, past), random_actions(2, 5, horizon)
    imagined = imagination.imagine(predictor, context, actions, max_tokens=max_tokens)
    for robot in range(2):
        alone = Context(
            latents=context.latents[[robot]],
            poses=context.poses[[robot]],
            actions=context.actions[[robot]],
        )
        for sample in range(5):
            plain = imagine_plainly(predictor, alone, actions[robot, sample])
            torch.testing.assert_close(imagined.latents[robot, sample], plain)


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
