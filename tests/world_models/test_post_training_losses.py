"""The losses of post-training, worked by hand."""

from itertools import product

import pytest
import torch
from torch import Tensor

from vjepa_gym.world_models.rollout_loss import prediction_losses, roll_out

TRUE = torch.tensor([1.0, 5.0, 11.0, 20.0]).reshape(1, 4, 1, 1)
POSES = torch.zeros(1, 4, 7)
ACTIONS = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1).expand(1, 3, 7)


def double_and_add(latents: Tensor, poses: Tensor, actions: Tensor) -> Tensor:
    """Predict twice the latest frame, plus the action, plus the frame before if there is one."""
    assert latents.shape[1] == poses.shape[1] == actions.shape[1]
    before = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], 1)
    return 2 * latents + actions[..., :1, None] + before


def test_a_rollout_is_fed_the_first_frame_and_its_own_predictions() -> None:
    # First 2*1+1 = 3; then from [1, 3]: 2*3+2+1 = 9; then from [1, 3, 9]: 2*9+3+3 = 24.
    # The defect of the early release, the true 5 in place of the 3, would give 13.
    first = double_and_add(TRUE[:, :1], POSES[:, :1], ACTIONS[:, :1])[:, 0]
    rolled = roll_out(double_and_add, TRUE, POSES, ACTIONS, first, start=1, steps=3)
    assert rolled.flatten().tolist() == [3.0, 9.0, 24.0]


def test_a_rollout_may_start_after_more_true_frames() -> None:
    # From [1, 5]: 2*5+2+1 = 13; then from [1, 5, 13]: 2*13+3+5 = 34.
    first = double_and_add(TRUE[:, :2], POSES[:, :2], ACTIONS[:, :2])[:, -1]
    rolled = roll_out(double_and_add, TRUE, POSES, ACTIONS, first, start=2, steps=2)
    assert rolled.flatten().tolist() == [13.0, 34.0]


def test_both_losses_are_those_worked_by_hand() -> None:
    # Teacher forcing: 3, 13, 2*11+3+5 = 30 against 5, 11, 20: errors 2, 2, 10.
    # Rollout of two: 3, 9 against 5, 11: errors 2, 2.
    forced, rolled = prediction_losses(double_and_add, TRUE, POSES, ACTIONS)
    assert forced.item() == pytest.approx((2 + 2 + 10) / 3)
    assert rolled.item() == pytest.approx((2 + 2) / 2)


@pytest.mark.parametrize(
    ("start", "steps", "errors"),
    [
        (1, 1, [3 - 5]),
        (1, 2, [3 - 5, 9 - 11]),
        (1, 3, [3 - 5, 9 - 11, 24 - 20]),
        (2, 1, [13 - 11]),
        (2, 2, [13 - 11, 34 - 20]),
        (3, 1, [30 - 20]),
    ],
)
def test_a_rollout_of_any_length_from_any_frame(start: int, steps: int, errors: list[int]) -> None:
    forced, rolled = prediction_losses(
        double_and_add, TRUE, POSES, ACTIONS, start=start, steps=steps
    )
    assert forced.item() == pytest.approx((2 + 2 + 10) / 3)
    assert rolled.item() == pytest.approx(sum(map(abs, errors)) / len(errors))


def test_the_exponent_is_that_of_the_error() -> None:
    forced, rolled = prediction_losses(double_and_add, TRUE, POSES, ACTIONS, steps=1, exponent=2.0)
    assert forced.item() == pytest.approx((4 + 4 + 100) / 3 / 2)
    assert rolled.item() == pytest.approx(4 / 2)


@pytest.mark.parametrize(("start", "steps"), [*product([1, 2], [1, 2]), (1, 3)])
def test_gradients_flow_through_every_prediction_of_a_rollout(start: int, steps: int) -> None:
    # d/dg of a rollout whose every step multiplies by g: (g z)' + (g^2 z)' + ... at g = 1.
    gain = torch.ones((), requires_grad=True)

    def scale(latents: Tensor, _poses: Tensor, _actions: Tensor) -> Tensor:
        return gain * latents

    true = torch.zeros(1, 4, 1, 1).index_fill(1, torch.tensor(start - 1), 1.0)
    _, rolled = prediction_losses(scale, true, POSES, ACTIONS, start=start, steps=steps)
    rolled.backward()
    assert gain.grad is not None
    assert gain.grad.item() == pytest.approx(sum(range(1, steps + 1)) / steps)
