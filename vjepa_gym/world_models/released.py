"""The original V-JEPA 2 files: where they are, and how they become models of ours.

Each is what the training left: several copies of the weights, and the optimiser's state, which is
never read from the disk. Our modules have the original names but for prefixes.
"""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import Weights
from vjepa_gym.learning.differences import shortened
from vjepa_gym.learning.downloads import RemoteFile
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.preprocessing import Framing
from vjepa_gym.world_models.presets import MODELS, ModelConfig
from vjepa_gym.world_models.vjepa2 import VJEPA2, assemble, fill
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

Checkpoint: TypeAlias = Mapping[str, Any]

ROOT = "https://dl.fbaipublicfiles.com/vjepa2"
PREFIXES = ("module.", "backbone.")
"""What wrappers put before the names of weights."""
AVERAGES = ("ema_encoder", "target_encoder", "encoder")
"""Names of the encoder, the moving averages, which is what was released, before the trained one."""
TABLES = ("pos_embed", "predictor_pos_embed")
"""Fixed tables of sines and cosines that some files hold and that we compute."""
SPARE = "extrinsics_encoder."
"""Made and never trained in the released V-JEPA 2-AC, which does not look at the camera's pose."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A released file.

    Attributes:
        file: Where it is.
        model: Sizes of the model in it.
    """

    file: RemoteFile
    model: Callable[[], ModelConfig]


def _release(file: str, model: str, size: int | None = None, sha256: str | None = None) -> Release:
    remote = RemoteFile(url=f"{ROOT}/{file}.pt", size=size, sha256=sha256)
    return Release(file=remote, model=MODELS[model])


RELEASED: dict[str, Release] = {
    "vjepa2-vitl": _release(
        "vitl",
        "vit_l",
        5_127_726_842,
        "5346856ec9df69487fe72a25bf2632aaa8112df33fb67708e3f7374edc1f7012",
    ),
    "vjepa2-vith": _release("vith", "vit_h"),
    "vjepa2-vitg": _release("vitg", "vit_g"),
    "vjepa2-vitg-384": _release("vitg-384", "vit_g_384"),
    "vjepa2-ac-vitg": _release(
        "vjepa2-ac-vitg",
        "vit_g",
        11_760_743_310,
        "0b5e3c4bf77a473cd8c61d32fbd87b28cdbba043fb3b8267f3b8bcfb1d5b9e6b",
    ),
    "vjepa2.1-vitb": _release(
        "vjepa2_1_vitb_dist_vitG_384",
        "vit_b_21_distilled",
        1_664_223_428,
        "848a77c33cc9e6649ed2119c9bea1e2c569bcdab9539ff3e7c02ccc2959ddf4d",
    ),
    "vjepa2.1-vitl": _release("vjepa2_1_vitl_dist_vitG_384", "vit_l_21_distilled"),
    "vjepa2.1-vitg": _release(
        "vjepa2_1_vitg_384",
        "vit_g_21",
        16_878_318_788,
        "b417628f1618c8bd52c0f419800b802f65794288c6ef2ff85c1341a1ae587cba",
    ),
    "vjepa2.1-vitG": _release("vjepa2_1_vitG_384", "vit_G_21"),
}
"""Released files by name. The publisher states no digests: these were found by several users
independently of each other. Where there is none, the first file that is fetched is trusted."""


def load_released(path: Path, config: ModelConfig | None = None) -> VJEPA2 | VJEPA2AC:
    """Return the model in an original `.pt` file, in float32: the encoder and its predictor.

    Of the encoder, the moving average is taken; of V-JEPA 2-AC, whose encoder was frozen, the
    encoder itself, as the public loader does. Files of one's own that the public code wrote load
    as well. Only tensors are read, and only those that are needed; no code can run.

    Args:
        path: The file.
        config: Sizes of the model; by default those of the released file with this name, or else
            with this width and depth.

    Raises:
        CheckpointError: The file is missing, truncated, holds more than tensors, or is no V-JEPA;
            or the weights do not fit, in which case the differences are told.
    """
    checkpoint = _read(path)
    predictor = _cleaned(checkpoint.get("predictor", {}))
    conditioned = "action_encoder.weight" in predictor
    names = AVERAGES[::-1] if conditioned else AVERAGES
    found = [name for name in names if isinstance(checkpoint.get(name), Mapping)]
    if not found:
        raise CheckpointError(
            f"{path} has {', '.join(shortened(map(str, checkpoint))) or 'nothing'}; a released"
            f" V-JEPA has one of {', '.join(AVERAGES)}, and a predictor."
        )
    encoder = _cleaned(checkpoint[found[0]])
    config = config or _sizes(path, encoder)
    framing = Framing.square_bilinear if conditioned else Framing.inner
    config = replace(config, preprocessing=replace(config.preprocessing, framing=framing))
    if conditioned and not config.ac_predictor.use_extrinsics:
        predictor = {key: x for key, x in predictor.items() if not key.startswith(SPARE)}
    weights = {f"encoder.{key}": x for key, x in encoder.items()}
    weights |= {f"predictor.{key}": x for key, x in predictor.items()}
    if conditioned:
        return _assemble_conditioned(config, weights, path)
    return assemble(config, weights, source=path)


def _assemble_conditioned(config: ModelConfig, weights: dict[str, Tensor], path: Path) -> VJEPA2AC:
    # The released predictor takes poses and actions as they are.
    as_they_are = {"state_mean": torch.zeros(7)}
    as_they_are |= {name: torch.ones(7) for name in ("state_scale", "action_scale")}
    weights |= {f"predictor.{name}": x for name, x in as_they_are.items()}
    with torch.device("meta"):
        encoder = VisionTransformer(config.encoder)
        predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    fill(weights, source=path, encoder=encoder, predictor=predictor)
    return VJEPA2AC(config, encoder, predictor)


def _read(path: Path) -> Checkpoint:
    """Return what `torch.save` wrote; its tensors stay on the disk until they are asked for."""
    if not path.is_file():
        raise CheckpointError(f"There is no {path}.")
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    if archive and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is truncated; fetch it again.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    # What torch says is not passed on: it advises to read the file as code.
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors and numbers, or is no file of torch.save. It is not"
            " read, since that could run code."
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    except (RuntimeError, EOFError, ValueError):
        raise CheckpointError(
            f"{path} is truncated, damaged, or no checkpoint of torch.save (a program of"
            " TorchScript is none); fetch it again."
        ) from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint.")
    return content


def _cleaned(weights: Weights) -> dict[str, Tensor]:
    """Return weights without the prefixes of wrappers, and without what we compute."""
    plain = {}
    for key, x in weights.items():
        while key.startswith(PREFIXES):
            key = key.partition(".")[2]
        if key not in TABLES:
            plain[key] = x
    return plain


def _sizes(path: Path, encoder: Weights) -> ModelConfig:
    """Return the sizes of the released model of this name, or else of these weights."""
    for release in RELEASED.values():
        if release.file.name == path.name:
            return release.model()
    norm = encoder.get("norm.weight", encoder.get("norms_block.0.weight"))
    blocks = {key.split(".")[1] for key in encoder if key.startswith("blocks.")}
    wanted = (0 if norm is None else len(norm), len(blocks), "norms_block.0.weight" in encoder)
    known: dict[tuple[int, int, bool], ModelConfig] = {}
    for model in (release.model() for release in RELEASED.values()):
        key = (model.encoder.width, model.encoder.depth, model.encoder.levels > 1)
        if key not in known or str(model.encoder.image_size) in path.name:
            known[key] = model
    if wanted not in known:
        sizes = ", ".join(f"{width} x {depth}" for width, depth, _ in known)
        raise CheckpointError(
            f"{path} has an encoder of width {wanted[0]} and depth {wanted[1]}, which is none of"
            f" the released ones ({sizes}); give `config`: heads and pixels are not in the file."
        )
    return known[wanted]
