"""Large safetensors files, written and read one tensor at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vjepa_gym.errors import CheckpointError

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls the types of numbers."""


class TensorFile:
    """A safetensors file to read from, of which only what is asked for is in memory."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            CheckpointError: It is missing, truncated, or of another kind.
        """
        try:
            self._file = safe_open(path, "pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is truncated or no safetensors file ({error}); fetch or make it again."
            ) from error
        self.names = frozenset(self._file.keys())
        self.words: dict[str, str] = self._file.metadata() or {}

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._file.get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it."""
        return tuple(self._file.get_slice(name).get_shape())


class ModuleWeights(Mapping[str, dict[str, Tensor]]):
    """The weights in a file by module and name, of which a module's are read when asked for."""

    def __init__(self, path: Path, prefixes: Mapping[str, str]) -> None:
        """Point at a file in which the names of a module's weights begin with its prefix."""
        self._path, self._prefixes = path, prefixes

    def __getitem__(self, module: str) -> dict[str, Tensor]:
        file, prefix = TensorFile(self._path), self._prefixes[module]
        names = sorted(name for name in file.names if name.startswith(prefix))
        return {name.removeprefix(prefix): file.read(name) for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(self._prefixes)

    def __len__(self) -> int:
        return len(self._prefixes)


def in_file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return names in the order in which they lie in a file, wide numbers first."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def header(tensors: Mapping[str, Tensor], order: Sequence[str], words: Mapping[str, str]) -> bytes:
    """Return the first bytes of a file that holds `tensors` in this order, and `words`.

    Of tensors, only types and shapes are looked at; a `DTensor` counts as a whole.
    """
    table: dict[str, object] = {"__metadata__": dict(words)} if words else {}
    start = 0
    for name in order:
        tensor = tensors[name]
        end = start + tensor.numel() * tensor.element_size()
        table[name] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def append(file: BinaryIO, tensors: Iterable[Tensor]) -> None:
    """Write the numbers of tensors."""
    for tensor in tensors:
        numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        file.write(numbers.numpy().data)
