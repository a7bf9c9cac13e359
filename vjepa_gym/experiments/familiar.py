"""A word of warning before a model is used on views that are unlike those of its training."""

import logging

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from vjepa_gym.types import Agent, Goal, Observation
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

FAR = 1.0
"""From this distance on there is a warning; see `Familiarity.distance`."""
VIEWS, GOALS = "views", "goal images"
"""What is looked at."""

logger = logging.getLogger(__name__)


class FirstLook:
    """An agent whose first goals and first views are held against what its model was trained on.

    It decides as the agent does. What is looked at are the images of all robots that begin
    together, once of each kind, and no poses.

    Attributes:
        privileged: Whether the agent is to be told what no camera shows.
        facts: What was found, in words, by what it was found of.
    """

    def __init__(self, agent: Agent, world_model: VJEPA2AC) -> None:
        self.privileged: bool = getattr(agent, "privileged", False)
        self.facts: dict[str, str] = {}
        self._agent = agent
        self._world_model = world_model
        self._looked: set[str] = set()

    def reset(self, goal: Goal, which: Bool[np.ndarray, " n"] | None = None) -> None:
        """Begin anew towards `goal`, of which the first is looked at."""
        self._agent.reset(goal, which)
        self._look(goal.images.reshape(-1, *goal.images.shape[2:]), GOALS)

    def act(self, observation: Observation) -> Float32[np.ndarray, "n 7"]:
        """Return one action a robot; the first views are looked at."""
        action = self._agent.act(observation)
        self._look(observation["image"], VIEWS)
        return action

    def _look(self, images: UInt8[np.ndarray, "n height width 3"], what: str) -> None:
        if what in self._looked:
            return
        self._looked.add(what)
        # An agent's goals are of the size of its views.
        if len(self._looked) == 1 and (said := warn_if_enlarged(self._world_model, images)):
            self.facts["size of images"] = said
        distance = warn_if_unfamiliar(self._world_model, images, what)
        if distance is not None:
            self.facts[f"distance of {what}"] = (
                f"{distance:.1f} (99 % of such views as the model was trained on: below 1)"
            )


def warn_if_unfamiliar(
    world_model: VJEPA2AC, images: UInt8[np.ndarray, "n height width 3"], what: str = VIEWS
) -> float | None:
    """Say how far images are from those that a model was trained on, if they are far.

    Args:
        world_model: With its `familiarity`; without, nothing is encoded and nothing said.
        images: The first that it meets, a few.
        what: They are, in a word.

    Returns:
        The median of their distances, 1 for what 99 % of views like those of the training stay
        below; None if nobody measured what those are like.

    Raises:
        ValueError: They are no images.
        PlanningError: Their latents are not finite.
    """
    if world_model.familiarity is None:
        logger.debug(
            "Nobody measured what this model was trained on, so that nothing can be said of these"
            " %s; `vjepa-gym gates` measures it for a folder of yours.",
            what,
        )
        return None
    latents = world_model.encode(images)
    distance = float(world_model.familiarity.distance(latents).median())
    if distance > FAR:
        logger.warning(
            "The %s of this run lie %.1f times as far from what the model was trained on as 99 %%"
            " of such views do: another lab, camera, light or gripper perhaps. Expect less than in"
            " docs/results.md. Train on such views too, or evaluate where it was trained.",
            *(what, distance),
        )
    return distance


def warn_if_enlarged(
    world_model: VJEPA2AC, images: UInt8[np.ndarray, "n height width 3"]
) -> str | None:
    """Say that images are smaller than what a model takes, and return it; None if they are not."""
    side, wanted = min(images.shape[1:3]), world_model.config.encoder.image_size
    if side >= wanted:
        return None
    said = f"{side} px images are enlarged to {wanted} px"
    logger.warning(
        "%s, the model's own size, and show no more for it: small objects are lost. Render them"
        " larger: env.image_size=%d or more.",
        *(said, wanted),
    )
    return said
