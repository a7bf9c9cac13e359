"""Whether predictions follow the actions: their errors, and how true actions rank among others."""

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.gate_transitions import Transitions

GRIPPER = 6
"""The gripper's place in an action."""


def prediction_ratios(
    world_model: WorldModel, transitions: Transitions, device: torch.device
) -> tuple[list[float], list[float]]:
    """Return prediction error over persistence at each step: everywhere, and where much changes."""
    errors, changes, moving, moved = [], [], [], []
    for part in transitions.parts(device):
        imagined = world_model.imagine(part.context, part.actions[:, None]).latents[:, 0]
        wrong = (imagined - part.following).abs().mean(-1)
        change = (part.following - part.context.latents[:, -1:]).abs().mean(-1)
        quarter = change.topk(max(1, change.shape[-1] // 4), -1).indices
        errors.append(wrong.mean(-1))
        changes.append(change.mean(-1))
        moving.append(wrong.gather(-1, quarter).mean(-1))
        moved.append(change.gather(-1, quarter).mean(-1))
    return _ratios(errors, changes), _ratios(moving, moved)


def true_action_percentile(
    world_model: WorldModel,
    transitions: Transitions,
    device: torch.device,
    *,
    candidates: int,
    seed: int,
) -> float:
    """Return the mean share of random actions, as long as the true one, that lead closer to it.

    Closer to what was seen one step later.

    Args:
        world_model: What is judged.
        transitions: Their first actions are ranked.
        device: Where it computes.
        candidates: Random actions that each is ranked among.
        seed: Of these.
    """
    generator = torch.Generator().manual_seed(seed)
    shares = [
        _better(
            world_model,
            part,
            torch.cat([part.actions[:, :1], _turned(part, candidates, generator)], 1),
        )
        for part in transitions.parts(device)
    ]
    return float(torch.cat(shares).mean())


def gripper_percentile(
    world_model: WorldModel, transitions: Transitions, device: torch.device
) -> float:
    """Return the mean share of {open, hold, close} that leads closer than what the gripper did.

    The hand moves as it did. Holding, and the same change the other way round, are compared with
    the true change: without any sense for the gripper the share is one half.

    Args:
        world_model: What is judged.
        transitions: Steps in which the gripper moved.
        device: Where it computes.
    """
    shares = []
    for part in transitions.parts(device):
        tried = part.actions[:, :1].repeat(1, 3, 1)
        tried[:, 1, GRIPPER] = 0.0
        tried[:, 2, GRIPPER] *= -1.0
        shares.append(_better(world_model, part, tried))
    return float(torch.cat(shares).mean())


def _better(
    world_model: WorldModel, part: Transitions, tried: Float[Tensor, "n samples 7"]
) -> Float[Tensor, " n"]:
    """Return which share of actions leads closer than the first; ties count half."""
    imagined = world_model.imagine(part.context, tried[:, :, None]).latents[:, :, 0]
    energy = (imagined - part.following[:, :1]).abs().mean((-1, -2))
    true, rest = energy[:, :1], energy[:, 1:]
    return ((rest < true).float() + 0.5 * (rest == true)).mean(1)


def _turned(
    part: Transitions, candidates: int, generator: torch.Generator
) -> Float[Tensor, "n candidates 7"]:
    """Return each first action with its translation turned in random directions."""
    turned = part.actions[:, :1].repeat(1, candidates, 1)
    direction = torch.randn(*turned.shape[:2], 3, generator=generator).to(turned.device)
    length = part.actions[:, :1, :3].norm(dim=-1, keepdim=True)
    turned[..., :3] = length * torch.nn.functional.normalize(direction, dim=-1)
    return turned


def _ratios(errors: list[Tensor], controls: list[Tensor]) -> list[float]:
    return (torch.cat(errors).mean(0) / torch.cat(controls).mean(0)).tolist()
