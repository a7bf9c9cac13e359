"""How the weights in a file differ from those of a model, told so that it can be read."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from torch import Tensor

Weights: TypeAlias = Mapping[str, Tensor]

TOLD = 20
"""Names that a list shows; the others are counted."""
BLOCK = re.compile(r"(?:(\w+)\.)?(?:\w+_)?blocks\.(\d+)\.")
"""The name of a weight of a transformer block: the part of the model, and the block's number."""
NORM = re.compile(r"(?:(\w+)\.)?(?:\w+_)?norm\.weight$")
"""The last LayerNorm of an encoder or a predictor: as many numbers as a token has features."""


def shortened(names: Iterable[str], most: int = TOLD) -> list[str]:
    """Return the first names, and how many there are beyond `most`."""
    names = list(names)
    left = len(names) - most
    return names if left <= 0 else [*names[:most], f"... and {left} more"]


def told_differences(mine: Weights, needed: Weights, prefix: str = "") -> str:
    """Return how weights differ from what a model needs: nothing if they do not.

    First comes in what sizes they differ, then how many weights do, then the first of them.

    Args:
        mine: The weights of a file.
        needed: Those of the model.
        prefix: What all names begin with, besides.
    """
    missing = [f"missing: {prefix}{key}" for key in sorted(needed.keys() - mine.keys())]
    unexpected = [f"unexpected: {prefix}{key}" for key in sorted(mine.keys() - needed.keys())]
    shapes = [
        f"shape of {prefix}{key}: {tuple(mine[key].shape)}, the model has {tuple(x.shape)}"
        for key, x in sorted(needed.items())
        if key in mine and mine[key].shape != x.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    found = {kind: lines for kind, lines in kinds.items() if lines}
    if not found:
        return ""
    counts = ", ".join(f"{len(lines)} {kind}" for kind, lines in found.items())
    lines = [*_different_sizes(mine, needed), f"{counts} (of {len(needed)} weights)"]
    for listed in found.values():
        lines += shortened(listed, TOLD // len(found))
    return "\n  ".join(lines)


def _different_sizes(mine: Weights, needed: Weights) -> list[str]:
    found, wanted = _sizes(mine), _sizes(needed)
    return [
        f"{name}: {found[name]}, expected {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]


def _sizes(weights: Weights) -> dict[str, int]:
    """Return width and depth of each part that has blocks, as far as they can be seen."""
    widths: dict[str, int] = {}
    blocks: dict[str, set[str]] = {}
    for key, x in weights.items():
        if found := BLOCK.match(key):
            blocks.setdefault(f"{found[1] or ''} depth".strip(), set()).add(found[2])
        elif found := NORM.match(key):
            widths[f"{found[1] or ''} width".strip()] = x.numel()
    return {**widths, **{name: len(numbers) for name, numbers in blocks.items()}}
