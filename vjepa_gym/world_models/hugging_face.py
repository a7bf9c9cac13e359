"""V-JEPA 2 in the format of Hugging Face's `transformers`: read and written, number for number."""

import json
import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from vjepa_gym.learning.precision import Frozen
from vjepa_gym.world_models.encoder import EncoderConfig
from vjepa_gym.world_models.hugging_face_names import from_hugging_face, to_hugging_face
from vjepa_gym.world_models.predictor import PredictorConfig
from vjepa_gym.world_models.preprocessing import INNER, Framing, PreprocessingConfig
from vjepa_gym.world_models.presets import ACPredictorConfig, ModelConfig
from vjepa_gym.world_models.vjepa2 import VJEPA2, assemble

logger = logging.getLogger(__name__)

INDEX_FILE = "model.safetensors.index.json"
PROCESSOR_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")
FILES = (CONFIG_FILE, "model*.safetensors", INDEX_FILE, *PROCESSOR_FILES)
"""What is needed of a repository; others hold the same weights in other formats."""
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
OURS = "vjepa_gym"
"""The field of their configuration that holds what they have no field for, and do not look at."""


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


def save_hugging_face(model: Frozen, folder: str | Path) -> None:
    """Write a folder that `transformers.VJEPA2Model.from_pretrained` reads, and `load` does.

    The file of the video processor has the size, the mean and the deviation. That processor frames
    as `Framing.inner` does; another framing is kept for `load`, and a warning says so.

    Args:
        model: A `VJEPA2`.
        folder: Made if need be.

    Raises:
        ValueError: The model is a world model, has what `transformers` has no place for, or no
            masked predictor.
        CheckpointError: Its weights were rounded by `lower`.
    """
    if not isinstance(model, VJEPA2):
        raise ValueError(
            f"a {type(model).__name__} cannot be written for transformers, which has no"
            " action-conditioned predictor; give the VJEPA2 whose encoder it has, with the masked"
            " predictor that it was pretrained with"
        )
    model.check_whole()
    config, folder = _their_config(model), Path(folder)
    framing = model.config.preprocessing.framing
    if framing is not Framing.inner:
        logger.warning(
            "The video processor of transformers leaves out the rim of the picture, and this model"
            " (framing %s) does not: give it pixels as `model.preprocessing` makes them. `load` of"
            " this package frames as before.",
            framing.name,
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, config)
    write_json(folder / PROCESSOR_FILES[0], _their_processor(model.config))
    write_tensors(folder / WEIGHTS_FILE, to_hugging_face(model.state_dict()), {"format": "pt"})


def _their_processor(config: ModelConfig) -> dict[str, Any]:
    side = config.encoder.image_size
    return {
        "video_processor_type": "VJEPA2VideoProcessor",
        "do_resize": True,
        "size": {"shortest_edge": int(side * INNER)},
        "resample": 2,  # Bilinear.
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": config.preprocessing.mean,
        "image_std": config.preprocessing.std,
    }


def _their_config(model: VJEPA2) -> dict[str, Any]:
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
    plain_predictor = PredictorConfig(
        width=predictor.width,
        depth=predictor.depth,
        heads=predictor.heads,
        mlp_ratio=predictor.mlp_ratio,
        mask_tokens=predictor.mask_tokens,
        base_grid=predictor.base_grid,
    )
    if encoder != plain or predictor != plain_predictor or model.predictor is None:
        raise ValueError(
            "only a V-JEPA 2 (patch stem, released rope, one level) with its masked predictor can"
            " be written for transformers"
        )
    return {
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
        OURS: {"framing": model.config.preprocessing.framing.name, "frames": encoder.frames},
    }


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
        return _config({**DEFAULTS, **values}, _processor(folder, _framing(values)))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}.") from error


def _ours(values: dict[str, Any]) -> dict[str, Any]:
    kept = values.get(OURS, {})
    if not isinstance(kept, dict):
        raise ValueError(f"{OURS} holds framing and frames, got {kept!r}")
    return kept


def _framing(values: dict[str, Any]) -> Framing:
    name = _ours(values).get("framing", Framing.inner.name)
    if name not in Framing.__members__:
        raise ValueError(f"{name!r} is no framing; it is one of {', '.join(Framing.__members__)}")
    return Framing[name]


def _processor(folder: Path, framing: Framing) -> PreprocessingConfig:
    for file in (folder / name for name in PROCESSOR_FILES):
        values = read_json(file) if file.exists() else None
        if isinstance(values, dict) and {"image_mean", "image_std"} <= values.keys():
            mean, std = ([float(x) for x in values[key]] for key in ("image_mean", "image_std"))
            return PreprocessingConfig(mean=mean, std=std, framing=framing)
    return PreprocessingConfig(framing=framing)


def _config(values: dict[str, Any], preprocessing: PreprocessingConfig) -> ModelConfig:
    encoder = EncoderConfig(
        image_size=values["crop_size"],
        patch_size=values["patch_size"],
        tubelet_size=values["tubelet_size"],
        width=values["hidden_size"],
        depth=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        mlp_ratio=float(values["mlp_ratio"]),
        frames=_ours(values).get("frames", EncoderConfig.frames),
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
