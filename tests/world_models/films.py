"""Small films to pretrain on: a bright square that drifts over a dark ground."""

from collections.abc import Sequence

import numpy as np

from vjepa_gym.errors import DatasetError


class Films:
    """Videos in memory; those whose names are in `broken` cannot be read."""

    def __init__(
        self,
        films: Sequence[np.ndarray],
        *,
        rates: Sequence[float] | None = None,
        broken: Sequence[str] = (),
    ) -> None:
        self.films, self.broken = list(films), set(broken)
        self.names = [f"film-{i}.mp4" for i in range(len(self.films))]
        self.lengths = np.array([len(film) for film in self.films], np.int64)
        given = [0.0] * len(self.films) if rates is None else rates
        self.rates = np.array(given, np.float64)
        self.asked: list[tuple[int, list[int]]] = []

    def read(self, video: int, rows: np.ndarray) -> np.ndarray:
        self.asked.append((video, rows.tolist()))
        if self.names[video] in self.broken:
            raise DatasetError(f"{self.names[video]} cannot be decoded at frame {rows[0]}.")
        return self.films[video][rows]


def moving_squares(episodes: int = 6, rows: int = 8, size: int = 16) -> Films:
    """Films of a bright square that drifts over a dark ground."""
    rng = np.random.default_rng(0)
    films = np.full((episodes, rows, size, size, 3), 40, np.uint8)
    for film in films:
        x, y, dx, dy = rng.integers(0, size), rng.integers(0, size), *rng.integers(-3, 4, 2)
        for image in film:
            x, y = (x + dx) % size, (y + dy) % size
            image[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = 220
    return Films(list(films))


def numbered(lengths: Sequence[int], *, rates: Sequence[float] | None = None) -> Films:
    """Films whose frames are grey and tell their number, and their film's tens of it."""
    films = []
    for film, length in enumerate(lengths):
        grey = 50 * film + np.arange(length, dtype=np.uint8)
        films.append(np.broadcast_to(grey[:, None, None, None], (length, 16, 16, 3)).copy())
    return Films(films, rates=rates)
