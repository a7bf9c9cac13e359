"""Keys and values of many futures that begin with one past, in room that is set aside once."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from vjepa_gym.learning.layers import Memory


@dataclass
class RolloutMemory(Memory):
    """What one attention layer has seen of `samples` futures of each robot.

    The past is written once in front of every future, and each new frame behind it: nothing is
    concatenated or repeated on the way. `restart` forgets the futures and keeps the room and the
    past, so that the next samples cost no more memory. What it returns shares that room, so that
    no gradient can pass; `shared` is for that.

    Attributes:
        past: Keys and values of the frames before the current one, one entry a robot.
        samples: Futures of each robot.
        frames: Frames of a future, at most; all have as many tokens as the first.
        seen: Tokens that are remembered, past ones included.
    """

    past: Memory = field(default_factory=Memory)
    samples: int = 1
    frames: int = 1
    seen: int = 0

    def append(
        self,
        keys: Float[Tensor, "batch heads tokens head_width"],
        values: Float[Tensor, "batch heads tokens head_width"],
    ) -> tuple[
        Float[Tensor, "batch heads seen head_width"], Float[Tensor, "batch heads seen head_width"]
    ]:
        """Remember the keys and values of the next frame; return all that are remembered now."""
        if self.keys is None or self.values is None:
            self.keys = self._set_aside(keys, self.past.keys)
            self.values = self._set_aside(values, self.past.values)
            self.restart()
        start, self.seen = self.seen, self.seen + keys.shape[2]
        self.keys[:, :, start : self.seen] = keys
        self.values[:, :, start : self.seen] = values
        return self.keys[:, :, : self.seen], self.values[:, :, : self.seen]

    def restart(self) -> None:
        """Forget the futures, but not the past."""
        self.seen = 0 if self.past.keys is None else self.past.keys.shape[2]

    def _set_aside(
        self,
        new: Float[Tensor, "batch heads tokens head_width"],
        past: Float[Tensor, "robots heads past head_width"] | None,
    ) -> Float[Tensor, "batch heads all head_width"]:
        batch, heads, tokens, width = new.shape
        known = 0 if past is None else past.shape[2]
        # Tokens before heads, as the layer computes them, so that whole rows are copied.
        room = new.new_empty(batch, known + self.frames * tokens, heads, width)
        if past is not None:
            each = room.unflatten(0, (len(past), self.samples))[:, :, :known]
            each.copy_(past.transpose(1, 2)[:, None])
        return room.transpose(1, 2)


def shared(past: Memory, samples: int) -> Memory:
    """Return a memory of `samples` futures of each robot through which gradients can pass."""
    if past.keys is None or past.values is None:
        return Memory()
    return Memory(of_each(past.keys, samples), of_each(past.values, samples))


def of_each(of_robots: Float[Tensor, "n *shape"], samples: int) -> Float[Tensor, "batch *shape"]:
    """Return each robot's entry `samples` times in a row: of a single robot, without a copy."""
    return of_robots[:, None].expand(-1, samples, *of_robots.shape[1:]).flatten(0, 1)
