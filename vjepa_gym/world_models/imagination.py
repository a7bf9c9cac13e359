"""Imagining many futures at once, no prefix of which is computed twice.

Attention is causal over frames, so what the predictor made of a frame never changes with what
follows: its keys and values are remembered. Frames before the current one, whose actions are past,
are computed once for all samples; from the current frame on (its tokens see the sampled action)
each sample remembers its own. With a single context frame nothing is shared.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.learning.layers import Memory
from vjepa_gym.world_models.ac_predictor import CONDITIONS, ACPredictor
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.poses import follow

CPU_TOKENS, GPU_TOKENS = 4_096, 131_072
"""Tokens that pass the predictor at once unless told otherwise: on a CPU, as many as its cache
holds (more are slower, measured); elsewhere, enough to keep it busy."""


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
        context: What was seen and done so far; all of it is used.
        actions: What is supposed to be done next.
        max_tokens: Tokens that pass the predictor at once, which bounds memory; but at least
            one sample of every robot. What suits the device if None.
    """
    if max_tokens is None:
        max_tokens = CPU_TOKENS if actions.device.type == "cpu" else GPU_TOKENS
    past = remember(predictor, context)
    poses = follow(context.poses[:, -1:].expand(-1, actions.shape[1], -1), actions)
    together = max(1, max_tokens // (len(actions) * (CONDITIONS + context.latents.shape[2])))
    latents = [
        _roll_out(predictor, context, past, *chunk)
        for chunk in zip(actions.split(together, 1), poses.split(together, 1), strict=True)
    ]
    return Imagined(context=context, actions=actions, latents=torch.cat(latents, 1), poses=poses)


def remember(predictor: ACPredictor, context: Context) -> list[Memory]:
    """Return the memory of each block of all frames of `context` but the current one."""
    memories = [Memory() for _ in predictor.predictor_blocks]
    if context.actions.shape[1]:
        predictor(context.latents[:, :-1], context.poses[:, :-1], context.actions, memories)
    return memories


def _roll_out(
    predictor: ACPredictor,
    context: Context,
    past: list[Memory],
    actions: Float[Tensor, "n samples horizon 7"],
    poses: Float[Tensor, "n samples horizon 7"],
) -> Float[Tensor, "n samples horizon tokens dim"]:
    """Feed the predictor its own predictions, one frame after the other."""
    n, samples, horizon = actions.shape[:3]
    memories = [memory.repeat(samples) for memory in past]
    current = context.poses[:, None, -1:].expand(-1, samples, -1, -1)
    before = torch.cat([current, poses[:, :, :-1]], 2).flatten(0, 1)
    done = actions.flatten(0, 1)
    latents = context.latents[:, -1:].repeat_interleave(samples, 0)
    predicted = []
    for step in range(horizon):
        now = slice(step, step + 1)
        time = context.actions.shape[1] + step
        latents = predictor(latents, before[:, now], done[:, now], memories, time)
        predicted.append(latents)
    return torch.cat(predicted, 1).unflatten(0, (n, samples))
