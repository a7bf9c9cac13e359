"""Which weights an agent has, told by digests, so that another model is noticed."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from vjepa_gym.experiments.factory import Factory
from vjepa_gym.learning.checkpoints import digest_of_tensors, read_json, read_tensors
from vjepa_gym.world_models.heads.files import folder_of, has_head
from vjepa_gym.world_models.run_facts import digest_of

DIGITS = 16
"""Digits that are kept of a digest."""


def digests(factory: Factory, heads: Sequence[str]) -> dict[str, str]:
    """Return digests of a world model, and of those of its heads that it has.

    They say nothing of where the model lies. One in a folder of ours is not loaded for it.

    Args:
        factory: Of the model.
        heads: Which heads matter.

    Raises:
        UnknownNameError: There is no such model.
        CheckpointError: It cannot be read.
    """
    folder = folder_of(factory.config.source)
    if folder is None or not (folder / "config.json").is_file():
        return {"weights": digest_of(factory.model.encoder, factory.model.predictor)}
    found = {"weights": _of_tensors(folder, "model"), "sizes": _of_json(folder, "config")}
    for name in heads:
        if has_head(name, folder):
            found[name] = _of_tensors(folder, name)
    return found


def _of_tensors(folder: Path, name: str) -> str:
    tensors, _ = read_tensors(folder / f"{name}.safetensors")
    return digest_of_tensors(tensors)[:DIGITS]


def _of_json(folder: Path, name: str) -> str:
    content = json.dumps(read_json(folder / f"{name}.json"), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]
