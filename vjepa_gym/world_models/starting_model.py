"""What post-training begins with: a frozen encoder, and a predictor that is new or trained."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.layers import initialise
from vjepa_gym.learning.progress import check_finished
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.preprocessing import Framing
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


@dataclass(frozen=True, kw_only=True)
class StartingModel:
    """A world model whose predictor is to be trained.

    Attributes:
        world_model: The encoder, and the predictor.
        trained: Whether the predictor was trained before; then it keeps the scales of poses and
            actions that it knows.
    """

    world_model: VJEPA2AC
    trained: bool


def starting_model(
    encoder: str | Path | None,
    model: ModelConfig | None = None,
    *,
    initial: str | Path | None = None,
    seed: int,
    device: torch.device | str = "cpu",
    unfinished: bool = False,
) -> StartingModel:
    """Return what post-training begins with.

    Args:
        encoder: Whatever `loading.load` takes: a released name, a `.pt` file, a folder. None for
            the encoder of `initial`.
        model: Sizes of a new predictor; those of the encoder must be what they are. None for the
            sizes that `initial` has, or else those that come with the encoder.
        initial: A whole world model, whatever `load` takes, whose predictor is trained on.
        seed: Of the weights of a new predictor.
        device: Where it is to compute.
        unfinished: Whether a model may be taken whose own training was broken off.

    Raises:
        CheckpointError: There is no such model, its training is not finished, or it is of other
            sizes than asked for; lists the fields that differ.
        UnknownNameError: No model has such a name.
        ValueError: There is neither `encoder` nor `initial`.
    """
    before = None if initial is None else _open(initial, device, unfinished)
    if before is not None and not isinstance(before, VJEPA2AC):
        raise CheckpointError(
            f"{initial} holds an encoder and no action-conditioned predictor to go on from; give it"
            " as the encoder, and a new predictor is trained on top of it."
        )
    if encoder is None and before is None:
        raise ValueError("post-training needs an encoder, or a world model to go on from")
    source = before if encoder is None else _open(encoder, device, unfinished)
    assert source is not None
    sizes = source.config
    if before is not None:
        _require_same(
            f"{encoder}", sizes.encoder, f"of {initial}", before.config.encoder, "encoder"
        )
        sizes = dataclasses.replace(sizes, ac_predictor=before.config.ac_predictor)
    if model is not None:
        name = f"{initial if encoder is None else encoder}"
        _require_same(name, sizes.encoder, "asked for", model.encoder, "encoder")
        if before is not None:
            theirs, asked = sizes.ac_predictor, model.ac_predictor
            _require_same(f"{initial}", theirs, "asked for", asked, "ac_predictor")
        sizes = dataclasses.replace(sizes, ac_predictor=model.ac_predictor)
    if sizes.preprocessing.framing is Framing.inner:
        # How encoders are evaluated leaves out an eighth of the picture. A world model sees all of
        # the square that its frames are, as V-JEPA 2-AC does.
        square = dataclasses.replace(sizes.preprocessing, framing=Framing.square)
        sizes = dataclasses.replace(sizes, preprocessing=square)
    predictor = before.predictor if before is not None else _new_predictor(sizes, seed)
    whole = VJEPA2AC(sizes, source.encoder, predictor.to(device))
    return StartingModel(world_model=whole, trained=before is not None)


def differing_fields(one: object, other: object, name: str) -> Iterator[str]:
    """Yield `encoder.width: 1408, 1024` for each field in which two configurations differ."""
    assert dataclasses.is_dataclass(one)
    for field in dataclasses.fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(mine):
            yield from differing_fields(mine, theirs, f"{name}.{field.name}")
        elif not _alike(mine, theirs):
            yield f"{name}.{field.name}: {mine}, {theirs}"


def _alike(mine: object, theirs: object) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs)
    return mine == theirs


def _new_predictor(sizes: ModelConfig, seed: int) -> ACPredictor:
    predictor = ACPredictor(sizes.ac_predictor, sizes.encoder.width)
    initialise(predictor, torch.Generator().manual_seed(seed))
    return predictor


def _require_same(one: str, mine: object, other: str, theirs: object, name: str) -> None:
    if differences := list(differing_fields(mine, theirs, name)):
        raise CheckpointError(
            f"The sizes of {one} (first) are not those {other} (second):\n  "
            + "\n  ".join(differences)
            + "\nLeave out the sizes, and those of the model that is given are taken."
        )


def _open(name: str | Path, device: torch.device | str, unfinished: bool) -> VJEPA2 | VJEPA2AC:
    if Path(name).is_dir():
        check_finished(Path(name), allow_unfinished=unfinished)
    # What is trained is trained in float32, whatever suits the device in planning.
    return load(name, device=device, precision="float32")
