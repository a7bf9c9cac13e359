"""Clip sources without pictures, and clocks of several kinds."""

import numpy as np


class Rows:
    """A source without pictures: of each frame only its number and its episode's."""

    views = ("left",)

    def __init__(self, *times):
        self.names = [str(number) for number in range(len(times))]
        self.times = np.concatenate(times).astype(np.float64)
        self.offsets = np.cumsum([0, *map(len, times)], dtype=np.int64)
        self.poses = np.random.default_rng(0).normal(size=(len(self.times), 7)).astype(np.float32)

    def read(self, episode, rows, view):
        stamps = np.stack([rows, np.full(len(rows), episode), rows], -1)
        return stamps[:, None, None].astype(np.uint8)


def clock(rows, hz, jitter=0.0, seed=0):
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, rows)
    return np.arange(rows) / hz + np.concatenate([[0.0], noise[1:]])


def settled(rows, seed=0):
    steps = np.random.default_rng(seed).uniform(0.16, 1.0, rows - 1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def same(a, b):
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))
