"""Imagining many futures at once, no prefix of which is computed twice.

Attention is causal over frames, so what the predictor made of a frame never changes with what
follows: its keys and values are remembered. Frames before the current one, whose actions are past,
are computed once for all samples; from the current frame on (its tokens see the sampled action)
each sample remembers its own. With a single context frame nothing is shared.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.learning.layers import Memory
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.poses import follow
from vjepa_gym.world_models.rollout_memory import RolloutMemory, of_each, shared

CPU_TOKENS, GPU_TOKENS = 4_096, 131_072
"""Tokens that pass the predictor at once unless told otherwise: on a CPU, as many as its cache
holds (more are slower, measured); elsewhere, enough to keep it busy if they fit in its memory."""
FREE_PART = 0.5
"""Part of a GPU's free memory that may be filled."""


def imagine(
    predictor: ACPredictor,
    context: Context,
    actions: Float[Tensor, "n samples horizon 7"],
    *,
    max_tokens: int | None = None,
) -> Imagined:
    """Return what `predictor` expects to be seen after each action of each sample.

    The result equals running the predictor on the context, the actions and its own predictions.

    Args:
        predictor: Predicts one step.
        context: What was seen and done so far; all of it is used. The camera is taken to stay
            where it was last, if the predictor asks where it is.
        actions: What is supposed to be done next.
        max_tokens: Tokens that pass the predictor at once, which bounds memory; but at least
            one sample of every robot. What suits the device if None.
    """
    if max_tokens is None:
        max_tokens = suitable_tokens(predictor, context, actions)
    past = remember(predictor, context)
    poses = follow(context.poses[:, -1:].expand(-1, actions.shape[1], -1), actions)
    most = max(1, max_tokens // (len(actions) * (predictor.conditions + context.latents.shape[2])))
    followed = torch.is_grad_enabled()
    room: Sequence[RolloutMemory] | None = None
    found = []
    for part in _evenly(actions.shape[1], most):
        chunk = actions[:, part]
        memories: Sequence[Memory] | None
        if followed:
            memories = [shared(memory, chunk.shape[1]) for memory in past]
        else:
            memories = room = _memories(past, room, chunk)
        found.append(_roll_out(predictor, context, memories, chunk, poses[:, part]))
    latents = found[0] if len(found) == 1 else torch.cat(found, 1)
    return Imagined(context=context, actions=actions, latents=latents, poses=poses)


def remember(predictor: ACPredictor, context: Context) -> list[Memory]:
    """Return the memory of each block of all frames of `context` but the current one."""
    memories = [Memory() for _ in predictor.predictor_blocks]
    if context.actions.shape[1]:
        cameras = None if context.extrinsics is None else context.extrinsics[:, :-1]
        before = context.latents[:, :-1], context.poses[:, :-1], context.actions
        predictor(*before, memories, extrinsics=cameras)
    return memories


def suitable_tokens(
    predictor: ACPredictor, context: Context, actions: Float[Tensor, "n samples horizon 7"]
) -> int:
    """Return how many tokens should pass the predictor at once where `actions` are.

    Of a GPU, at most as many as half of its free memory holds, with all that is remembered and, if
    gradients are wanted, kept for them.
    """
    if actions.device.type != "cuda":
        return CPU_TOKENS
    frames = context.latents.shape[1] - 1 + actions.shape[2]
    config = predictor.config
    remembered = 2 * config.depth * frames
    passing = 2 * config.mlp_ratio + 12
    if actions.requires_grad and torch.is_grad_enabled():
        passing *= config.depth * actions.shape[2]
    returned = 4 * actions.shape[2] * context.latents.shape[-1]
    each = 4 * config.width * (remembered + passing) + returned
    unused = torch.cuda.memory_reserved(actions.device) - torch.cuda.memory_allocated(
        actions.device
    )
    free = torch.cuda.mem_get_info(actions.device)[0] + unused
    return min(GPU_TOKENS, int(FREE_PART * free / each))


def _evenly(samples: int, most: int) -> Iterator[slice]:
    """Yield parts of up to `most` samples, about equally large."""
    parts = max(1, -(-samples // most))
    size = max(1, -(-samples // parts))
    for start in range(0, max(samples, 1), size):
        yield slice(start, min(start + size, samples))


def _memories(
    past: list[Memory],
    before: Sequence[RolloutMemory] | None,
    actions: Float[Tensor, "n samples horizon 7"],
) -> Sequence[RolloutMemory] | None:
    """Return memories of each block for these samples; those of the samples before if they fit."""
    samples, horizon = actions.shape[1:3]
    if horizon == 1 and past[0].keys is None:
        return None  # There is nothing to look back on, and nobody who will.
    if before is not None and before[0].samples == samples:
        for memory in before:
            memory.restart()
        return before
    return [RolloutMemory(past=memory, samples=samples, frames=horizon) for memory in past]


def _roll_out(
    predictor: ACPredictor,
    context: Context,
    memories: Sequence[Memory] | None,
    actions: Float[Tensor, "n samples horizon 7"],
    poses: Float[Tensor, "n samples horizon 7"],
) -> Float[Tensor, "n samples horizon tokens dim"]:
    """Feed the predictor its own predictions, one frame after the other."""
    n, samples, horizon = actions.shape[:3]
    current = context.poses[:, None, -1:].expand(-1, samples, -1, -1)
    before = torch.cat([current, poses[:, :, :-1]], 2).flatten(0, 1)
    done = actions.flatten(0, 1)
    latents = of_each(context.latents[:, -1:], samples)
    camera = None if context.extrinsics is None else of_each(context.extrinsics[:, -1:], samples)
    predicted = []
    for step in range(horizon):
        now = slice(step, step + 1)
        time = context.actions.shape[1] + step
        latents = predictor(
            latents, before[:, now], done[:, now], memories, time, extrinsics=camera
        )
        predicted.append(latents)
    return torch.cat(predicted, 1).unflatten(0, (n, samples))
