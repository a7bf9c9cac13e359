"""In which order clips are seen: shuffled by a seed, shared out to processes, resumed exactly."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np


class ClipSampler:
    """The numbers of clips, epoch after epoch; takes the place of torch's samplers, without torch.

    Each time it is iterated over it goes on where it is: to the end of the epoch, or, if that was
    reached, through the next one.
    """

    def __init__(
        self,
        clips: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Begin with the first epoch.

        Args:
            clips: Whose numbers.
            shuffle: Whether in an order that is drawn anew for each epoch.
            seed: Of that order.
            rank: Which of the processes this is.
            world: How many processes share an epoch. Each gets equally many clips, so that up to
                `world - 1` of an epoch are left out, others in each when shuffled.

        Raises:
            ValueError: There is no such process, or there are more than clips.
        """
        if not 0 <= rank < world <= len(clips):
            raise ValueError(
                f"rank must be below world, and world at most the {len(clips)} clips, got "
                f"rank={rank} and world={world}"
            )
        self._count, self._rank, self._world = len(clips), rank, world
        self._shuffle, self._seed = shuffle, seed
        self._epoch = self._position = 0

    @property
    def epoch(self) -> int:
        """The epoch that is being handed out."""
        return self._epoch

    def __len__(self) -> int:
        """How many clips of an epoch this process gets."""
        return self._count // self._world

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers of the clips that are left of an epoch."""
        if self._position == len(self):
            self._epoch, self._position = self._epoch + 1, 0
        order = self._order()
        while self._position < len(self):
            self._position += 1
            yield self._epoch * self._count + int(order[self._position - 1])

    def state_dict(self, used: int | None = None) -> dict[str, Any]:
        """Return what `load_state_dict` takes to go on from here, as JSON values.

        Args:
            used: How many clips of this epoch were used by this process. By default all that were
                handed out; a `DataLoader` with workers asks for some before they are used, so tell
                it then: batches used times clips in a batch.

        Raises:
            ValueError: So many are not in an epoch.
        """
        position = self._position if used is None else used
        if not 0 <= position <= len(self):
            raise ValueError(f"used must lie between 0 and {len(self)}, got {position}")
        return {"epoch": self._epoch, "used": position, **self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was called, in this process or another.

        Raises:
            ValueError: It was of other clips, another seed or another number of processes.
        """
        settings = self._settings()
        if differing := [name for name in settings if settings[name] != state.get(name)]:
            raise ValueError(
                "the state is of another sampler: "
                + ", ".join(f"{name}={state.get(name)}, not {settings[name]}" for name in differing)
            )
        self._epoch, self._position = int(state["epoch"]), int(state["used"])

    def _settings(self) -> dict[str, Any]:
        return {
            "clips": self._count,
            "seed": self._seed,
            "shuffle": self._shuffle,
            "world": self._world,
        }

    def _order(self) -> np.ndarray:
        order = np.arange(self._count)
        if self._shuffle:
            np.random.default_rng([self._seed, self._epoch]).shuffle(order)
        return order[self._rank :: self._world][: len(self)]
