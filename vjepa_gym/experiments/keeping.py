"""What is kept in the folder of a model once it was measured, if the folder is the user's."""

import logging
from pathlib import Path

import torch

from vjepa_gym.errors import DatasetError, PlanningError
from vjepa_gym.learning.checkpoints import CONFIG_FILE
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.familiarity import FAMILIARITY_FILE, Familiarity
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, shipped_world_models

logger = logging.getLogger(__name__)


def own_folder(model: str) -> Path | None:
    """Return the folder of a model if it is the user's to write; none of a shipped one is."""
    folder = Path(model)
    if model in shipped_world_models() or not (folder / CONFIG_FILE).is_file():
        return None
    shipped = [path.resolve() for path in shipped_world_models().values()]
    return None if folder.resolve() in shipped else folder


def familiarity_of(
    world_model: WorldModel, known: Frames, judged: Frames, *, seed: int
) -> Familiarity | None:
    """Return what training views look like to a model; None, and a warning, if that has no answer.

    Args:
        world_model: The model.
        known: Episodes that it was trained on.
        judged: Other episodes of the same kind.
        seed: Chooses the views.
    """
    try:
        return Familiarity.fit(world_model, known, judged, torch.Generator().manual_seed(seed))
    except (DatasetError, PlanningError) as error:
        logger.warning("The model will not warn of views unlike those of its training. %s", error)
        return None


def store_familiarity(
    world_model: VJEPA2AC, model: str, known: Frames, judged: Frames, *, data: str, seed: int
) -> Path | None:
    """Keep what training views look like in the folder of a model that does not know it yet.

    Args:
        world_model: The model.
        model: Its name or folder.
        known: Episodes that it was trained on.
        judged: Other episodes of the same kind.
        data: What dataset they are of.
        seed: Chooses the views.

    Returns:
        The file; None if there is one already, or if the folder is nobody's to write.
    """
    folder = own_folder(model)
    if folder is None or world_model.familiarity is not None:
        return None
    path = folder / FAMILIARITY_FILE
    world_model.familiarity = familiarity_of(world_model, known, judged, seed=seed)
    if world_model.familiarity is None:
        return None
    try:
        world_model.familiarity.save(path, world_model.encoder)
    except OSError as error:
        logger.warning("What views are familiar is not kept with the model: %s.", error)
        return None
    logger.info(
        "The first %d episodes of %s are taken for what %s was trained on, and %s for what such"
        " views look like to it: it warns of others. Delete the file if that is wrong.",
        *(known.num_episodes, data, model, path),
    )
    return path
