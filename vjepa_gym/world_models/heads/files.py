"""Heads on disk: `<name>.safetensors` and `<name>.json` in the folder of their world model."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import (
    JSON,
    digest_of_tensors,
    from_json,
    load_into,
    read_json,
    read_tensors,
    to_json,
    write_json,
    write_tensors,
)
from vjepa_gym.learning.int8 import Int8Linear
from vjepa_gym.world_models.heads.registry import HEADS, HeadKind
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, shipped_world_models

DIGITS = 16
"""Digits that are kept of a digest."""
LOWERED = (nn.Linear, nn.Conv2d, nn.Conv3d, Int8Linear)
"""Layers of which a model in a lower precision has other weights; see `learning.precision`."""
HEAD, CONFIG, ENCODER = "head", "config", "encoder"
"""What the JSON of a head tells: its name, its sizes, and what its latents come from."""
WEIGHTS, KEPT = "weights", "weights_in_any_precision"
"""Two digests of an encoder: of all its weights, and of those that are never lowered."""


def folder_of(source: str | Path) -> Path | None:
    """Return the folder of a world model, by its name or path; None for what is in no folder.

    Args:
        source: What `load_world_model` takes.
    """
    shipped = shipped_world_models().get(str(source))
    if shipped is not None:
        return shipped
    return Path(source) if Path(source).is_dir() else None


def has_head(name: str, folder: Path) -> bool:
    """Return whether the folder of a world model holds a head.

    Raises:
        UnknownNameError: There is no kind of head of this name.
    """
    _kind(name)
    return all(path.is_file() for path in _paths(name, folder))


def save_head(
    name: str, head: nn.Module, folder: Path, world_model: VJEPA2AC, *, half: bool = False
) -> None:
    """Write a head beside its world model, whose other files stay as they are.

    Args:
        name: Which of `HEADS` it is.
        head: The network; its `config` tells its sizes.
        folder: Of the world model; made if need be.
        world_model: What its latents come from.
        half: Whether to store floats in 16 bits.

    Raises:
        CheckpointError: The weights of the world model were rounded by `lower`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = head.state_dict()
    if half:
        tensors = {key: x.half() if x.is_floating_point() else x for key, x in tensors.items()}
    config: Any = head.config
    weights, told = _paths(name, folder)
    write_tensors(weights, tensors)
    write_json(told, {HEAD: name, CONFIG: to_json(config), ENCODER: facts_of_encoder(world_model)})


def load_head(
    name: str, folder: Path, world_model: VJEPA2AC, device: torch.device | str = "cpu"
) -> nn.Module:
    """Return the head of a world model, frozen, in float32.

    Args:
        name: Which of `HEADS`.
        folder: Of the world model.
        world_model: The same, loaded in any precision.
        device: Where to compute.

    Raises:
        UnknownNameError: There is no kind of head of this name.
        CheckpointError: The folder has none, it is damaged, or it was trained on the latents of
            another encoder; the message names the command that trains one.
    """
    kind = _kind(name)
    weights, told = _paths(name, folder)
    if not has_head(name, folder):
        raise CheckpointError(f"{folder} has no head {name!r}; {advice(name, folder)}.")
    content = read_json(told)
    if not isinstance(content, dict) or content.get(HEAD) != name or CONFIG not in content:
        raise CheckpointError(f"{told} does not describe a head {name!r}; {advice(name, folder)}.")
    if difference := _difference(content.get(ENCODER), world_model):
        raise CheckpointError(
            f"{weights} was trained on other latents: {difference}; {advice(name, folder)}."
        )
    config = from_json(kind.config, content[CONFIG], source=told)
    head = kind.module(config, world_model.config)
    tensors, _ = read_tensors(weights)
    floats = {key: x.float() if x.is_floating_point() else x for key, x in tensors.items()}
    load_into(head, floats, source=weights)
    return head.to(device).eval().requires_grad_(False)


def facts_of_encoder(world_model: VJEPA2AC) -> dict[str, JSON]:
    """Return what latents depend on; the same if weights are kept in 32 bits or in 16.

    Raises:
        CheckpointError: The weights of the world model were rounded by `lower`.
    """
    world_model.check_whole()
    facts = _facts_in_any_precision(world_model)
    return {**facts, WEIGHTS: _digest(_tensors(world_model, lowered=True))}


def _facts_in_any_precision(world_model: VJEPA2AC) -> dict[str, JSON]:
    encoder = world_model.config.encoder
    side = encoder.image_size // encoder.patch_size
    return {
        "grid": [side, side],
        "width": encoder.width,
        "framing": world_model.config.preprocessing.framing.name,
        KEPT: _digest(_tensors(world_model, lowered=False)),
    }


def _difference(before: object, world_model: VJEPA2AC) -> str:
    """Return in which fact the encoder differs from that of a head, or nothing."""
    whole = world_model.precision == "float32"
    now = facts_of_encoder(world_model) if whole else _facts_in_any_precision(world_model)
    known = before if isinstance(before, dict) else {}
    for name, value in now.items():
        if known.get(name) == value:
            continue
        if name in (WEIGHTS, KEPT):
            return "the encoder of this model has other weights"
        return f"{name} {known.get(name)}, and this model's encoder has {value}"
    return ""


def _tensors(world_model: VJEPA2AC, *, lowered: bool) -> dict[str, Tensor]:
    """Return the weights of encoder and preprocessing, those of `LOWERED` layers only if wanted."""
    found: dict[str, Tensor] = {}
    for part in (world_model.encoder, world_model.preprocessing):
        for name, layer in part.named_modules():
            if isinstance(layer, LOWERED) and not lowered:
                continue
            for key, x in (
                *layer.named_parameters(recurse=False),
                *layer.named_buffers(recurse=False),
            ):
                found[f"{type(part).__name__}.{name}.{key}"] = x.detach()
    return found


def _digest(tensors: dict[str, Tensor]) -> str:
    rounded = {key: x.cpu().half() if x.is_floating_point() else x for key, x in tensors.items()}
    return digest_of_tensors(rounded)[:DIGITS]


def _kind(name: str) -> HeadKind:
    return HEADS[name]


def _paths(name: str, folder: Path) -> tuple[Path, Path]:
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def advice(name: str, source: str | Path) -> str:
    """Return what trains a head for a world model, by the model's name or folder."""
    names = {path: known for known, path in shipped_world_models().items()}
    model = names.get(Path(source), str(source))
    kept = f" job.folder=runs/{Path(model).name}"
    where = f"job.model={model}" if Path(model).is_dir() else f"job.model={model}{kept}"
    return f"`vjepa-gym heads {where} job.heads=[{name}]` trains one"
