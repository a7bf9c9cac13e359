"""One call for every model: shipped, one's own, released, or from Hugging Face."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import torch
from safetensors import SafetensorError, safe_open

from vjepa_gym.errors import CheckpointError, UnknownNameError
from vjepa_gym.learning.checkpoints import CONFIG_FILE, WEIGHTS_FILE
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.downloads import (
    OnProgress,
    check_digest,
    fetch,
    is_trusted,
    models_folder,
    sha256_of,
    trust,
)
from vjepa_gym.learning.precision import choose_precision
from vjepa_gym.world_models.hugging_face import FILES, is_hugging_face, load_hugging_face
from vjepa_gym.world_models.presets import MODELS, ModelConfig
from vjepa_gym.world_models.released import RELEASED, Release, load_released
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, shipped_world_models

logger = logging.getLogger(__name__)

HUB_NAMES = (
    "facebook/vjepa2-vitl-fpc64-256",
    "facebook/vjepa2-vith-fpc64-256",
    "facebook/vjepa2-vitg-fpc64-256",
    "facebook/vjepa2-vitg-fpc64-384",
)
HUB_PREFIX = "facebook/vjepa2-"
"""Whatever begins so is looked for on Hugging Face's hub."""
WIDE = 1024
"""Features of a token from which on `int8` can be expected to pay."""
CONDITIONED = "predictor.action_encoder.weight"
"""What a V-JEPA 2-AC has and a V-JEPA 2 has not."""


def load(
    name_or_path: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    config: ModelConfig | str | None = None,
    sha256: str | None = None,
    on_progress: OnProgress | None = None,
) -> VJEPA2 | VJEPA2AC:
    """Return a model with its preprocessing: an encoder, or a world model to plan with.

    Args:
        name_or_path: The name of a shipped model (`tiny`), of a released file (`vjepa2-ac-vitg`;
            see `released.RELEASED`; the file's name without `.pt` will do too) or of a repository
            on Hugging Face's hub (`facebook/vjepa2-vitg-fpc64-256`); or the path of a folder as
            training leaves it or as `transformers` saves it, or of a released `.pt` file.
        device: Where to compute; `auto` takes a GPU if there is one.
        precision: In what to compute: `float32`, `bfloat16`, or `int8`, for CPUs; `auto` is
            bfloat16 on a GPU and float32 on a CPU. `int8` is for wide models on CPUs with VNNI or
            AMX and not reliably faster for `tiny`. See `learning.precision`.
        config: Sizes of the model in a `.pt` file that is none of the released ones, or the name
            of such sizes (`presets.MODELS`); other models bring theirs.
        sha256: The digest that a `.pt` file must have; of a released one, instead of the known one.
        on_progress: Told of what has been fetched of a released file.

    Raises:
        UnknownNameError: It is no name and no path, or there is no such device or precision; lists
            the names.
        ValueError: `config` or `sha256` is given for what is no `.pt` file.
        CheckpointError: What is there is missing, damaged, foreign or does not fit, or cannot be
            fetched; the message says what to do.
    """
    place = choose_device(str(device))
    chosen = choose_precision(precision, place)
    sizes = _sizes_called(config) if isinstance(config, str) else config
    if not isinstance(sizes, ModelConfig | None):
        raise ValueError(f"config is a ModelConfig or one's name, got a {type(sizes).__name__}")
    model = _find(str(name_or_path), sizes, sha256, on_progress).to(place)
    width = model.config.encoder.width
    if chosen == "int8" and width < WIDE:
        logger.warning(
            "int8 pays for wide models (%d features and more) on CPUs with VNNI or AMX; at %d it"
            " may be slower than float32, which `vjepa-gym benchmark rollout` measures.",
            WIDE,
            width,
        )
    model.lower(chosen)
    return model


def load_folder(folder: Path) -> VJEPA2 | VJEPA2AC:
    """Return the model in a folder, as training or as `transformers` leaves it.

    Raises:
        CheckpointError: There is none in it, or it is damaged or does not fit.
    """
    if is_hugging_face(folder):
        return load_hugging_face(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file() or not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{folder} is no model: one has {WEIGHTS_FILE} and {CONFIG_FILE}, as `vjepa-gym train`"
            " and `.save(folder)` leave them."
        )
    try:
        with safe_open(weights, "pt") as file:
            conditioned = CONDITIONED in file.keys()  # noqa: SIM118
    except SafetensorError:
        conditioned = False  # Whoever reads it all says what is wrong.
    return (VJEPA2AC if conditioned else VJEPA2).load(folder)


def _sizes_called(name: str) -> ModelConfig:
    if name not in MODELS:
        raise UnknownNameError("config", name, MODELS)
    return MODELS[name]()


def check_known(name: str) -> None:
    """Do nothing if this may be a model: a name that is known, or a path to something.

    Raises:
        UnknownNameError: It is no name and no path; lists the names.
        CheckpointError: It is a path to nothing, or the name of sizes without weights.
    """
    shipped = shipped_world_models()
    known = name in shipped or name in _releases() or name.startswith(HUB_PREFIX)
    if not known and not Path(name).exists():
        raise _unknown(name, [*shipped, *RELEASED, *HUB_NAMES])


def _find(
    name: str, config: ModelConfig | None, sha256: str | None, on_progress: OnProgress | None
) -> VJEPA2 | VJEPA2AC:
    check_known(name)
    shipped, path = shipped_world_models(), Path(name)
    if name not in shipped and path.is_file():
        if sha256 is not None:
            check_digest(path, sha256)
        return load_released(path, config)
    if name not in shipped and not path.is_dir() and name in (releases := _releases()):
        return _load_fetched(releases[name], config, sha256, on_progress)
    folder = name in shipped or path.is_dir()
    for option, given in {"config": config, "sha256": sha256}.items():
        if given is not None:
            raise ValueError(
                f"{option} is for released names and the paths of .pt files, and {name} is neither:"
                " it brings its sizes, and is compared with the digests that it brings; leave"
                f" {option} out."
            )
    return load_folder(shipped.get(name, path)) if folder else load_hugging_face(_from_hub(name))


def _releases() -> dict[str, Release]:
    """Return releases by their names, and by those of their files without `.pt`."""
    return {Path(release.file.name).stem: release for release in RELEASED.values()} | RELEASED


def _unknown(name: str, names: list[str]) -> CheckpointError | UnknownNameError:
    """Return the error for what is no model."""
    if name in MODELS:
        return CheckpointError(
            f"{name} is a preset of sizes, without weights: `vjepa-gym pretrain job.model={name}`"
            " and `vjepa-gym train` make models of such sizes, and their folders are loaded."
            f" Models with weights are {', '.join(names)}."
        )
    path = Path(name)
    if path.name == name and path.suffix not in {".pt", ".pth", ".safetensors"}:
        return UnknownNameError("model", name, names)
    known = [key for key, release in RELEASED.items() if release.file.name == path.name]
    hint = f" The name {known[0]!r} fetches the released {path.name}." if known else ""
    return CheckpointError(
        f"There is no {name}.{hint} A model is a folder with {WEIGHTS_FILE} and {CONFIG_FILE}, a"
        f" released .pt file, or one of {', '.join(names)}."
    )


def _load_fetched(
    release: Release,
    config: ModelConfig | None,
    sha256: str | None,
    on_progress: OnProgress | None,
) -> VJEPA2 | VJEPA2AC:
    remote = release.file
    if sha256 is not None:
        remote = replace(remote, sha256=sha256, size=None)
    path = fetch(remote, models_folder(), on_progress)
    model = load_released(path, config)
    # Not before: half a file that somebody put there must not be what later ones are held against.
    if release.file.sha256 is None and (sha256 is not None or not is_trusted(path)):
        trust(path, remote)
    return model


def _from_hub(name: str) -> Path:
    """Return the folder with a repository's files, fetched before if they are not there yet."""
    try:
        folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        hub = f"https://huggingface.co/{name}"
        known = "" if name in HUB_NAMES else f" Names that are known: {', '.join(HUB_NAMES)}."
        raise CheckpointError(
            f"{name} is not on this machine and cannot be fetched: {error}{known} Where there is a"
            f" network, get config.json and *.safetensors of {hub}, and give the folder that you"
            " put them in or copy Hugging Face's cache to this machine."
        ) from error
    for file in sorted(folder.glob("*.safetensors")):
        # The hub's client names what it keeps by its digest, and does not compare it.
        expected = file.resolve().name
        if len(expected) == 64 and sha256_of(file) != expected:
            raise CheckpointError(
                f"{file.resolve()} is damaged: its SHA-256 is not its name. Delete it, and it is"
                " fetched again."
            )
    return folder
