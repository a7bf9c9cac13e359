"""Control steps of held-out episodes: what was seen before each, what was done, what was seen then.

Only the frames that are needed are encoded, and only a part of them is on the device at a time, so
that the largest encoders can be judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import Context, WorldModel

TOGETHER = 32
"""Transitions imagined at once."""
ENCODED_TOGETHER = 64
"""Frames encoded at once."""


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Some control steps.

    Attributes:
        context: What was seen and done up to each step.
        actions: What was done in it and in the steps after it: what the arm achieved.
        following: What was seen after each of these.
    """

    context: Context
    actions: Float[Tensor, "n steps 7"]
    following: Float[Tensor, "n steps tokens dim"]

    def __len__(self) -> int:
        return len(self.actions)

    def parts(self, device: torch.device) -> Iterator["Transitions"]:
        """Yield `TOGETHER` of them at a time, on a device."""
        for part in self._by(TOGETHER):
            yield part._on(device)

    def first(self, count: int) -> "Transitions":
        """Return up to `count` of them."""
        return next(self._by(count))

    def shuffled(self) -> "Transitions":
        """Return these with the actions of another step each."""
        return replace(self, actions=self.actions.roll(1, 0))

    def _by(self, count: int) -> Iterator["Transitions"]:
        for start in range(0, len(self), count):
            some = slice(start, start + count)
            yield Transitions(
                context=Context(
                    latents=self.context.latents[some],
                    poses=self.context.poses[some],
                    actions=self.context.actions[some],
                ),
                actions=self.actions[some],
                following=self.following[some],
            )

    def _on(self, device: torch.device) -> "Transitions":
        return Transitions(
            context=Context(
                latents=self.context.latents.to(device),
                poses=self.context.poses.to(device),
                actions=self.context.actions.to(device),
            ),
            actions=self.actions.to(device),
            following=self.following.to(device),
        )


def usable_rows(frames: Frames, context_frames: int, steps: int) -> Int64[np.ndarray, " rows"]:
    """Return the rows that have enough frames of their episode on either side."""
    return np.concatenate(
        [
            np.arange(first + context_frames - 1, end - steps)
            for first, end in zip(frames.offsets[:-1], frames.offsets[1:], strict=True)
        ]
    )


def drawn(
    rows: Int64[np.ndarray, " rows"], which: Bool[np.ndarray, " rows"], count: int, seed: int
) -> Int64[np.ndarray, " drawn"]:
    """Return up to `count` of the rows that `which` allows, in random order."""
    rows = rows[which]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:count].numpy()]


def cut(
    world_model: WorldModel,
    frames: Frames,
    rows: Int64[np.ndarray, " n"],
    *,
    context_frames: int,
    steps: int,
) -> tuple[Transitions, torch.device]:
    """Return what lies around each row, on the CPU, and the device that the model encodes on."""
    past = rows[:, None] + np.arange(1 - context_frames, 1)
    ahead = rows[:, None] + np.arange(steps)
    needed = np.unique(np.concatenate([past, ahead + 1], 1))
    latents, device = _encoded(world_model, frames, needed)
    done = kinematics.difference(frames.poses[past[:, :-1]], frames.poses[past[:, 1:]])
    to_do = kinematics.difference(frames.poses[ahead], frames.poses[ahead + 1])
    context = Context(
        latents=latents[torch.from_numpy(np.searchsorted(needed, past))],
        poses=torch.from_numpy(frames.poses[past]),
        actions=torch.from_numpy(done),
    )
    following = latents[torch.from_numpy(np.searchsorted(needed, ahead + 1))]
    transitions = Transitions(context=context, actions=torch.from_numpy(to_do), following=following)
    return transitions, device


def _encoded(
    world_model: WorldModel, frames: Frames, rows: Int64[np.ndarray, " rows"]
) -> tuple[Float[Tensor, "rows tokens dim"], torch.device]:
    parts, device = [], torch.device("cpu")
    for first in range(0, len(rows), ENCODED_TOGETHER):
        # An array of numbers gives a copy, whatever the images are kept in.
        images = np.ascontiguousarray(frames.images[rows[first : first + ENCODED_TOGETHER]])
        part = world_model.encode(torch.from_numpy(images))
        device = part.device
        parts.append(part.cpu())
    return torch.cat(parts), device
