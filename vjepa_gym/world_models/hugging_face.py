"""V-JEPA 2 in the format of Hugging Face's `transformers`: read and written, number for number.

There, queries, keys and values have a matrix each, and the mask tokens are one tensor.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Weights,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from vjepa_gym.world_models.encoder import EncoderConfig
from vjepa_gym.world_models.predictor import PredictorConfig
from vjepa_gym.world_models.preprocessing import Framing, PreprocessingConfig
from vjepa_gym.world_models.presets import ACPredictorConfig, ModelConfig
from vjepa_gym.world_models.vjepa2 import VJEPA2, assemble

INDEX_FILE = "model.safetensors.index.json"
PROCESSOR_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")
FILES = (CONFIG_FILE, "model*.safetensors", INDEX_FILE, *PROCESSOR_FILES)
"""What is needed of a repository; others hold the same weights in other formats."""
QKV = ("query", "key", "value")
FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "in_chans": 3}
"""Settings that every released model has, and that ours always has."""
DEFAULTS: dict[str, Any] = {
    "crop_size": 256,
    "patch_size": 16,
    "tubelet_size": 2,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "mlp_ratio": 4.0,
    "pred_hidden_size": 384,
    "pred_num_hidden_layers": 12,
    "pred_num_attention_heads": 12,
    "pred_mlp_ratio": 4.0,
    "pred_num_mask_tokens": 10,
}
"""Sizes that are meant where a configuration says nothing."""
HEADS = ("pooler.", "classifier.")
"""What classifiers have beside the encoder, which stands under `vjepa2.` there; left out."""
NAMES = (
    (r"^encoder\.embeddings\.patch_embeddings\.", "encoder.patch_embed."),
    (r"^encoder\.layer\.", "encoder.blocks."),
    (r"^encoder\.layernorm\.", "encoder.norm."),
    (r"^predictor\.embeddings\.predictor_embeddings\.", "predictor.predictor_embed."),
    (r"^predictor\.layer\.", "predictor.predictor_blocks."),
    (r"^predictor\.layernorm\.", "predictor.predictor_norm."),
    (r"^predictor\.proj\.", "predictor.predictor_proj."),
    (r"\.attention\.", ".attn."),
)
"""Their names and ours; the rest is the same."""
MASK_TOKENS = "predictor.embeddings.mask_tokens"


def is_hugging_face(folder: Path) -> bool:
    """Return whether a folder is a model in the format of `transformers`."""
    file = folder / CONFIG_FILE
    if not file.is_file():
        return False
    config = read_json(file)
    return isinstance(config, dict) and "model_type" in config


def load_hugging_face(folder: Path) -> VJEPA2:
    """Return the V-JEPA 2 in a folder as `save_pretrained` leaves it, in float32.

    Raises:
        CheckpointError: It is another model or has settings that ours cannot have, a file is
            missing or broken, or the weights are not what the configuration says.
    """
    weights = from_hugging_face(_read_weights(folder))
    source = folder / (INDEX_FILE if (folder / INDEX_FILE).exists() else WEIGHTS_FILE)
    return assemble(_read_config(folder), weights, source=source)


def save_hugging_face(model: VJEPA2, folder: Path) -> None:
    """Write a folder that `transformers.VJEPA2Model.from_pretrained` reads.

    Raises:
        ValueError: The model has what `transformers` has no place for, or no masked predictor.
    """
    encoder, predictor = model.config.encoder, model.config.predictor
    plain = EncoderConfig(
        image_size=encoder.image_size,
        patch_size=encoder.patch_size,
        tubelet_size=encoder.tubelet_size,
        width=encoder.width,
        depth=encoder.depth,
        heads=encoder.heads,
        mlp_ratio=encoder.mlp_ratio,
        frames=encoder.frames,
    )
    if encoder != plain or predictor.levels > 1 or model.predictor is None:
        raise ValueError(
            "only a V-JEPA 2 (patch stem, released rope, one level) with its masked predictor can"
            " be written for transformers"
        )
    config = {
        "model_type": "vjepa2",
        "architectures": ["VJEPA2Model"],
        "dtype": "float32",
        **FIXED,
        "crop_size": encoder.image_size,
        "patch_size": encoder.patch_size,
        "tubelet_size": encoder.tubelet_size,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "mlp_ratio": encoder.mlp_ratio,
        "pred_hidden_size": predictor.width,
        "pred_num_hidden_layers": predictor.depth,
        "pred_num_attention_heads": predictor.heads,
        "pred_mlp_ratio": predictor.mlp_ratio,
        "pred_num_mask_tokens": predictor.mask_tokens,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, config)
    tensors = to_hugging_face(model.state_dict())
    write_tensors(folder / WEIGHTS_FILE, tensors, {"format": "pt"})


def from_hugging_face(weights: Weights) -> dict[str, Tensor]:
    """Return weights under our names; what has no counterpart keeps its name."""
    plain = {key.removeprefix("vjepa2."): x for key, x in weights.items()}
    ours: dict[str, Tensor] = {}
    for key, x in plain.items():
        if key.startswith(HEADS):
            continue
        start, separator, end = key.rpartition("attention.query.")
        parts = [plain.get(f"{start}attention.{one}.{end}") for one in QKV]
        if separator and all(part is not None for part in parts):
            ours[_renamed(f"{start}attention.qkv.{end}")] = torch.cat(parts)  # pyright: ignore
        elif key == MASK_TOKENS:
            ours.update({f"predictor.mask_tokens.{i}": token for i, token in enumerate(x)})
        elif not _is_joined(key, plain):
            ours[_renamed(key)] = x
    return ours


def to_hugging_face(weights: Weights) -> dict[str, Tensor]:
    """Return weights under the names of `transformers`."""
    theirs: dict[str, Tensor] = {}
    tokens = [key for key in weights if key.startswith("predictor.mask_tokens.")]
    if tokens:
        ordered = sorted(tokens, key=lambda key: int(key.rpartition(".")[2]))
        theirs[MASK_TOKENS] = torch.stack([weights[key] for key in ordered])
    for key, x in weights.items():
        if key in tokens:
            continue
        name = _original(key)
        if ".attention.qkv." in name:
            for one, part in zip(QKV, x.chunk(3), strict=True):
                theirs[name.replace(".qkv.", f".{one}.")] = part
        else:
            theirs[name] = x
    return theirs


def _is_joined(key: str, weights: Weights) -> bool:
    """Return whether a key or value matrix was joined to its query."""
    found = re.fullmatch(r"(.*attention\.)(key|value)(\..*)", key)
    return found is not None and all(f"{found[1]}{one}{found[3]}" in weights for one in QKV)


def _renamed(key: str) -> str:
    for theirs, ours in NAMES:
        key = re.sub(theirs, ours, key)
    return key


def _original(key: str) -> str:
    for theirs, ours in NAMES:
        plain = theirs.replace("\\", "").removeprefix("^")
        key = key.replace(ours, plain) if ours == ".attn." or key.startswith(ours) else key
    return key


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of one file or of several."""
    index = folder / INDEX_FILE
    names = [WEIGHTS_FILE]
    if index.exists():
        said = read_json(index)
        if not isinstance(said, dict) or not isinstance(said.get("weight_map"), dict):
            raise CheckpointError(f"{index} has no weight_map; fetch it again.")
        names = sorted(set(said["weight_map"].values()))
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors.update(read_tensors(folder / name)[0])
    return tensors


def _read_config(folder: Path) -> ModelConfig:
    source = folder / CONFIG_FILE
    values = read_json(source)
    assert isinstance(values, dict)
    kind = values.get("model_type")
    wrong = [
        f"{key} = {values[key]!r}" for key in FIXED if values.get(key, FIXED[key]) != FIXED[key]
    ]
    if kind != "vjepa2" or wrong:
        raise CheckpointError(
            f"{source} is of a {kind!r} with {', '.join(wrong) or 'other settings'}; what can be"
            f" loaded is a 'vjepa2' with {json.dumps(FIXED)}."
        )
    try:
        return _config({**DEFAULTS, **values}, _processor(folder))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}.") from error


def _processor(folder: Path) -> PreprocessingConfig:
    for file in (folder / name for name in PROCESSOR_FILES):
        values = read_json(file) if file.exists() else None
        if isinstance(values, dict) and {"image_mean", "image_std"} <= values.keys():
            mean, std = ([float(x) for x in values[key]] for key in ("image_mean", "image_std"))
            return PreprocessingConfig(mean=mean, std=std, framing=Framing.inner)
    return PreprocessingConfig(framing=Framing.inner)


def _config(values: dict[str, Any], preprocessing: PreprocessingConfig) -> ModelConfig:
    encoder = EncoderConfig(
        image_size=values["crop_size"],
        patch_size=values["patch_size"],
        tubelet_size=values["tubelet_size"],
        width=values["hidden_size"],
        depth=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        mlp_ratio=float(values["mlp_ratio"]),
    )
    predictor = PredictorConfig(
        width=values["pred_hidden_size"],
        depth=values["pred_num_hidden_layers"],
        heads=values["pred_num_attention_heads"],
        mlp_ratio=float(values["pred_mlp_ratio"]),
        mask_tokens=values["pred_num_mask_tokens"],
    )
    return ModelConfig(
        encoder=encoder,
        predictor=predictor,
        ac_predictor=ACPredictorConfig(grid_size=encoder.grid_size),
        preprocessing=preprocessing,
    )
