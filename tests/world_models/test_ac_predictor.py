"""The predictor computes what the public one does, sees no future, reads poses without jumps."""

import math

import pytest
import torch
from torch import Tensor

from vjepa_gym.learning.layers import Memory
from vjepa_gym.world_models.ac_predictor import ACPredictor, ACPredictorConfig

DIM = 8


def predictor(
    width: int = 28, heads: int = 2, grid: int = 2, use_extrinsics: bool = False
) -> ACPredictor:
    """A small predictor whose weights are a formula, so that they are the same everywhere."""
    config = ACPredictorConfig(
        width=width, depth=2, heads=heads, grid_size=grid, use_extrinsics=use_extrinsics
    )
    model = ACPredictor(config, DIM).eval()
    learnt = {name: x for name, x in model.state_dict().items() if "_scale" not in name}
    learnt.pop("state_mean")
    for index, (name, x) in enumerate(learnt.items()):
        spread = (torch.arange(x.numel()).double() ** 2 * 0.6180339887 + 0.37 * index) % 1 - 0.5
        gain = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        x.copy_(spread.reshape(x.shape) + gain)
    return model.requires_grad_(False)


def clip(frames: int = 3, tokens: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    shape = (2, frames, tokens, DIM)
    latents = torch.sin(torch.arange(math.prod(shape)) * 0.37).reshape(shape)
    poses = torch.sin(torch.arange(2 * frames * 7) * 0.6).reshape(2, frames, 7)
    actions = torch.cos(torch.arange(2 * frames * 7) * 0.9).reshape(2, frames, 7)
    return torch.nn.functional.layer_norm(latents, (DIM,)), poses, actions


FIRST = [-1.44416, -1.14034, 0.33915, 0.12165, 1.5993, 0.70566, 0.74962, -0.93089]
SECOND = [-1.71828, 1.14184, 0.37791, 0.4783, 1.00426, -0.51787, 0.56609, -1.33227]


@pytest.mark.parametrize(
    ("width", "heads", "grid", "last_token", "mean_size"),
    [(28, 2, 2, FIRST, 0.8585), (60, 3, 3, SECOND, 0.8428)],
)
def test_it_equals_the_public_predictor(
    width: int, heads: int, grid: int, last_token: list[float], mean_size: float
) -> None:
    # What facebookresearch/vjepa2 at c2963a4 computes from the same weights and clip.
    predicted = predictor(width, heads, grid)(*clip(tokens=grid * grid))
    torch.testing.assert_close(predicted[1, -1, -1], torch.tensor(last_token), atol=2e-5, rtol=1e-4)
    assert predicted.abs().mean().item() == pytest.approx(mean_size, abs=1e-4)


def test_predictions_are_normalised_tokens() -> None:
    predicted = predictor()(*clip())
    assert predicted.shape == (2, 3, 4, DIM)
    torch.testing.assert_close(predicted.mean(-1), torch.zeros(2, 3, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        predicted.std(-1, correction=0), torch.ones(2, 3, 4), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("changed", [0, 1, 2], ids=["latents", "poses", "actions"])
def test_a_frame_is_predicted_without_those_after_it(changed: int) -> None:
    model, one = predictor(), clip()
    other = [x.clone() for x in one]
    other[changed][:, 2] += 1.0
    before, after = model(*one), model(*other)
    assert torch.equal(before[:, :2], after[:, :2])
    assert (before[:, 2] - after[:, 2]).abs().max() > 1e-3


def test_a_frame_is_predicted_from_all_before_it() -> None:
    latents, poses, actions = clip()
    changed = latents.clone()
    changed[:, 0, 0] += torch.arange(DIM)
    model = predictor()
    difference = model(latents, poses, actions) - model(changed, poses, actions)
    assert (difference.abs().amax((0, 2, 3)) > 1e-4).all()


def test_frames_may_be_given_one_by_one() -> None:
    model, (latents, poses, actions) = predictor(), clip(frames=4)
    memories = [Memory() for _ in model.predictor_blocks]
    pieces = [(slice(0, 2), 0), (slice(2, 3), 2), (slice(3, 4), 3)]
    predicted = [
        model(latents[:, now], poses[:, now], actions[:, now], memories, first)
        for now, first in pieces
    ]
    torch.testing.assert_close(torch.cat(predicted, 1), model(latents, poses, actions))


def test_another_grid_covers_the_same_positions() -> None:
    fine = predictor(grid=4)._rope(0, 1, (2, 2), torch.zeros(1))
    coarse = predictor(grid=2)._rope(0, 1, (2, 2), torch.zeros(1))
    # The second column of the coarse grid lies where the third of the fine one does.
    whole = predictor(grid=4)._rope(0, 1, (4, 4), torch.zeros(1))
    assert torch.equal(fine.cos[3], whole.cos[2 + 2])
    assert not torch.equal(coarse.cos[3], whole.cos[2 + 2])


def test_action_and_state_turn_with_time_alone() -> None:
    rope = predictor()._rope(5, 1, (2, 2), torch.zeros(1))
    part = 2 * (14 // 3 // 2)
    assert torch.equal(rope.cos[0], rope.cos[1])
    assert (rope.cos[0, part:] == 1).all()
    assert torch.equal(rope.cos[0, :part], rope.cos[5, :part])


def test_a_frame_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"square grid of tokens .*got 6"):
        predictor()(*clip(tokens=6))


def test_a_frame_may_have_any_grid() -> None:
    model, seen = predictor(), clip(tokens=6)
    wide, tall = model(*seen, grid=(2, 3)), model(*seen, grid=(3, 2))
    assert wide.shape == tall.shape == (2, 3, 6, DIM)
    assert not torch.allclose(wide, tall)
    with pytest.raises(ValueError, match="a grid of 2 x 2 tokens, got 6"):
        model(*seen, grid=(2, 2))


def test_extrinsics_are_seen_where_there_is_a_token_for_them() -> None:
    model, seen = predictor(use_extrinsics=True), clip()
    views = torch.cos(torch.arange(2 * 3 * 6) * 0.4).reshape(2, 3, 6)
    before, views_after = model(*seen, extrinsics=views), views.clone()
    assert before.shape == (2, 3, 4, DIM)
    views_after[:, 1] += 1
    after = model(*seen, extrinsics=views_after)
    assert torch.equal(before[:, 0], after[:, 0])
    assert (before[:, 1:] - after[:, 1:]).abs().amax((0, 2, 3)).min() > 1e-4
    assert model.conditions == 3


def test_extrinsics_are_given_exactly_if_they_are_used() -> None:
    views = torch.zeros(2, 3, 6)
    with pytest.raises(ValueError, match="needs the camera's extrinsics"):
        predictor(use_extrinsics=True)(*clip())
    with pytest.raises(ValueError, match="made without the camera's extrinsics"):
        predictor()(*clip(), extrinsics=views)


def test_gradients_are_the_same_with_checkpointing() -> None:
    model, gradients = predictor().requires_grad_(), []
    for model.checkpointing in (False, True):
        loss = model(*clip())[..., 0].square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_poses_keep_their_precision_where_latents_have_half() -> None:
    model, (latents, poses, actions) = predictor(), clip()
    expected = model(latents, poses, actions)
    model.bfloat16()
    for name in ("state_mean", "state_scale", "action_scale"):
        model.register_buffer(name, getattr(model, name).float())
    predicted = model(latents.bfloat16(), poses, actions)
    assert predicted.dtype == torch.bfloat16
    assert (predicted.float() - expected).abs().mean() < 0.05


def test_a_roll_of_plus_pi_is_one_of_minus_pi_once_normalised() -> None:
    model, (latents, poses, actions) = predictor(), clip(frames=1)
    poses[..., 3] = math.pi - 0.01
    data = poses[:, 0].repeat(50, 1)
    data[:, 3] += 0.1 * torch.randn(100, generator=torch.Generator().manual_seed(0))
    data[:, 3] = torch.atan2(data[:, 3].sin(), data[:, 3].cos())
    model.fit_normalisation(data, actions[:, 0].repeat(50, 1))
    flipped = poses.clone()
    flipped[..., 3] -= 2 * math.pi
    torch.testing.assert_close(
        model(latents, poses, actions), model(latents, flipped, actions), atol=1e-4, rtol=1e-4
    )
    assert abs(model.state_mean[3].item()) == pytest.approx(math.pi - 0.01, abs=0.05)


def test_what_never_varies_is_not_blown_up() -> None:
    model, data = predictor(), torch.full((10, 7), 0.2)
    model.fit_normalisation(data, torch.zeros(10, 7))
    torch.testing.assert_close(model.state_mean, data[0])
    assert model.state_scale.tolist() == pytest.approx([0.02] * 3 + [0.05] * 3 + [0.1])
    assert model.action_scale.tolist() == pytest.approx([0.005] * 3 + [0.02] * 3 + [0.05])


def test_what_varies_is_scaled_by_its_spread() -> None:
    model, actions = predictor(), torch.tensor([[0.06], [-0.06]]).expand(2, 7)
    poses = torch.tensor([[0.3], [0.7]]).expand(2, 7)
    model.fit_normalisation(poses, actions)
    torch.testing.assert_close(model.state_mean, torch.full((7,), 0.5))
    torch.testing.assert_close(model.state_scale, torch.full((7,), 0.2))
    torch.testing.assert_close(model.action_scale, torch.full((7,), 0.06))
