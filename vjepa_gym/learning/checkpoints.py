"""Weights and configurations on disk: safetensors and JSON, written atomically, read strictly."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.differences import told_differences

Weights: TypeAlias = Mapping[str, Shaped[Tensor, "..."]]
JSON: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None
T = TypeVar("T")

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TRAINING_FILE = "training.json"
CHECKSUM = "sha256_of_tensors"
"""What the digest of the tensors is called among the words of a file."""
PICKLE_HEADS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write to, which takes the place of `path` when all of it is on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader of `path` finds the old or the new one, even after a crash."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: JSON) -> None:
    """Write JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> JSON:
    """Return what a JSON file holds.

    Raises:
        CheckpointError: There is no such file, or it is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no {path}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error


def write_tensors(path: Path, tensors: Weights, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, and words about them, to one safetensors file, atomically.

    A digest of the tensors is written among the words, by which `read_tensors` notices damage.
    """
    apart = _apart(tensors)
    words = {**(metadata or {}), CHECKSUM: digest_of_tensors(apart)}
    with replacing(path) as temporary:
        save_file(apart, temporary, words)


def _apart(tensors: Weights) -> dict[str, Tensor]:
    """Return the tensors on the CPU, copied where they share memory: the format refuses that."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        x = tensor.detach().cpu().contiguous()
        memory = x.untyped_storage()
        if memory.data_ptr() in taken or memory.nbytes() != x.nbytes:
            x = x.clone()
        taken.add(x.untyped_storage().data_ptr())
        apart[name] = x
    return apart


def digest_of_tensors(tensors: Weights) -> str:
    """Return the SHA-256 of names, types, shapes and values, whatever their order in a file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        x = tensors[name].detach().cpu()
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        numbers = x.contiguous().reshape(-1)
        if numbers.stride() != (1,):  # A single number may have any stride.
            numbers = numbers.clone(memory_format=torch.contiguous_format)
        digest.update(numbers.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and the words about them.

    Raises:
        CheckpointError: The file is missing, truncated, damaged, or of another kind. Pickles are
            refused whatever they hold, since to read one is to run it.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no {path}.")
    with path.open("rb") as file:
        if file.read(4).startswith(PICKLE_HEADS):
            raise CheckpointError(
                f"{path} is a pickle (a .pt or .pth of torch.save), which could run code when read."
                " Released files are read by `vjepa_gym.load(path)`, which runs none; its"
                " `.save(folder)` converts them."
            )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            words = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file ({error}); fetch or make it again."
        ) from error
    expected = words.pop(CHECKSUM, None)
    if expected is not None and digest_of_tensors(tensors) != expected:
        raise CheckpointError(
            f"{path} is damaged: its tensors are not those that were written (their SHA-256"
            f" differs from {expected[:12]}...); fetch or make it again."
        )
    return tensors, words


def save_model(
    folder: Path,
    *,
    weights: Weights,
    config: JSON,
    half: bool = False,
    training: Mapping[str, int] | None = None,
    **extra: JSON,
) -> None:
    """Write a model folder: `model.safetensors`, `config.json` and `<name>.json` for each extra.

    Args:
        folder: Made if need be.
        weights: By name.
        config: What is needed to build the model, as JSON values (see `to_json`).
        half: Whether to store floats in 16 bits; they are read back as float32 all the same.
        training: How far the training is, `{"step": ..., "steps": ...}`, kept in `training.json`
            for `progress.progress_of`; None if that is nobody's concern.
        extra: Further JSON values by name, `gates` for one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if half:
        weights = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        }
    for name, content in {"config": config, **extra}.items():
        write_json(folder / f"{name}.json", content)
    write_tensors(folder / WEIGHTS_FILE, weights)
    # Last, so that weights which never came to the disk are not said to be finished.
    if training is None:
        (folder / TRAINING_FILE).unlink(missing_ok=True)
    else:
        write_json(folder / TRAINING_FILE, dict(training))


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a model folder, floats as float32.

    Raises:
        CheckpointError: There are none, or they cannot be read (see `read_tensors`).
    """
    tensors, _ = read_tensors(folder / WEIGHTS_FILE)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def load_into(module: nn.Module, weights: Weights, *, source: Path, prefix: str = "") -> None:
    """Give `module` those of `weights` whose names begin with `prefix`.

    Raises:
        CheckpointError: They are not exactly what the module needs; tells in which sizes they
            differ, how many do, and the first of them.
    """
    mine = {key.removeprefix(prefix): x for key, x in weights.items() if key.startswith(prefix)}
    needed = module.state_dict()
    if told := told_differences(mine, needed, prefix):
        parts = module if isinstance(module, nn.ModuleDict) else {}
        what = " and ".join(f"the {name}" for name in parts) or type(module).__name__
        raise CheckpointError(
            f"{source} does not fit {what}; was it made with another configuration?\n  {told}"
        )
    module.load_state_dict(mine)


def to_json(config: object) -> JSON:
    """Return a configuration (nested dataclasses, enums, lists) as JSON values."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Enum):
        return config.name
    if isinstance(config, list | tuple):
        return [to_json(item) for item in config]
    if isinstance(config, str | int | float | None):
        return config
    raise TypeError(f"a configuration holds no {type(config).__name__}")


def from_json(kind: type[T], values: JSON, *, source: Path) -> T:
    """Return the configuration of type `kind` that `to_json` gave `values` for.

    Raises:
        CheckpointError: A field is unknown or has a value that it cannot have; names the file.
    """
    return _parse(kind, values, source)


def _parse(kind: Any, value: Any, source: Path) -> Any:
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, source)
    if isinstance(kind, type) and issubclass(kind, Enum):
        if value not in kind.__members__:
            names = ", ".join(kind.__members__)
            raise CheckpointError(f"{source}: {value!r} is no {kind.__name__}; use one of {names}.")
        return kind[value]
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return [_parse(item, one, source) for one in value]
    return value


def _parse_dataclass(kind: Any, value: Any, source: Path) -> Any:
    hints = get_type_hints(kind)
    names = ", ".join(hints)
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: {kind.__name__} has the fields {names}, got {value!r}.")
    if unknown := value.keys() - hints.keys():
        raise CheckpointError(
            f"{source}: {kind.__name__} has no {', '.join(sorted(unknown))}; it has {names}."
        )
    fields = {name: _parse(hints[name], one, source) for name, one in value.items()}
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}.") from error
