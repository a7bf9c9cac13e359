"""What a world model imagines of moves that were really made, and of plans, ready to be drawn."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from vjepa_gym import kinematics
from vjepa_gym.agents.base import Plan
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.experiments.seeing.films import Film
from vjepa_gym.types import Goal
from vjepa_gym.world_models.base import Context, WorldModel
from vjepa_gym.world_models.heads.decoder import Decoder


@dataclass(frozen=True, kw_only=True)
class Future:
    """What was imagined from the first of some rows on, beside what was seen.

    Attributes:
        film: What happened.
        seen: Latents of what was seen.
        imagined: Latents of what was imagined; the first are those that were seen.
        errors: Mean absolute difference of the two, after each step.
        unchanged: The same of imagining that nothing changes.
    """

    film: Film
    seen: Float[Tensor, "rows tokens dim"]
    imagined: Float[Tensor, "rows tokens dim"]
    errors: Float64[np.ndarray, " steps"]
    unchanged: Float64[np.ndarray, " steps"]


@torch.no_grad()
def imagine_film(
    world_model: WorldModel,
    film: Film,
    device: torch.device,
    actions: Float[Tensor, "steps 7"] | None = None,
) -> Future:
    """Let a world model imagine the moves of some rows from their first alone.

    Args:
        world_model: What imagines; it is given one frame.
        film: What happened.
        device: Where the world model computes.
        actions: The moves, one for each row after the first. By default those that were achieved:
            what leads from each measured pose to the next.

    Raises:
        ValueError: There is only one row, which leads nowhere.
    """
    if len(film.images) < 2:
        raise ValueError(f"{film.name}: a future has two rows or more, got {len(film.images)}")
    seen = world_model.encode(torch.from_numpy(film.images.copy()))
    poses = torch.from_numpy(film.poses.copy()).to(device)
    if actions is None:
        achieved = kinematics.difference(film.poses[:-1], film.poses[1:])
        actions = torch.from_numpy(achieved).to(device)
    context = Context(
        latents=seen[None, :1], poses=poses[None, :1], actions=poses.new_zeros((1, 0, 7))
    )
    imagined = world_model.imagine(context, actions[None, None]).latents[0, 0]
    return Future(
        film=film,
        seen=seen,
        imagined=torch.cat([seen[:1], imagined]),
        errors=_apart(imagined, seen[1:]),
        unchanged=_apart(seen[:1].expand_as(imagined), seen[1:]),
    )


def plan_for(agent: PlanningAgent, film: Film) -> Plan:
    """Return what an agent would do, where a film begins, to come to its last view.

    Raises:
        PlanningError: An energy is not finite.
    """
    steps = len(film.images) - 1
    agent.reset(Goal(images=film.images[None, -1:], poses=film.poses[None, -1:], steps=(steps,)))
    agent.act({"image": film.images[:1], "pose": film.poses[:1]})
    assert agent.plan is not None
    return agent.plan


def imagine_plan(world_model: WorldModel, film: Film, plan: Plan, device: torch.device) -> Future:
    """Return what a plan is expected to lead to, beside the view that it was made for.

    The film of the future is the first row, then the last as often as the plan has actions, so that
    its errors are distances to the goal.

    Args:
        world_model: What the plan was made with.
        film: Begins where the plan does, and ends where it is to lead.
        plan: Of one robot.
        device: Where the world model computes.
    """
    actions = plan.actions[0]
    rows = [0, *[-1] * len(actions)]
    wanted = replace(film, images=film.images[rows], poses=film.poses[rows])
    return imagine_film(world_model, wanted, device, actions.to(device))


@torch.no_grad()
def imagined_panel(
    world_model: WorldModel, decoder: Decoder, plan: Plan, context: Context
) -> UInt8[np.ndarray, "n horizon height width 3"]:
    """Return what a plan is expected to look like, to be put beside what is seen.

    Args:
        world_model: What the plan was made with.
        decoder: Of its latents.
        plan: One action sequence a robot.
        context: What the robots had seen and done when it was made.

    Raises:
        ValueError: The decoder is of another world model.
    """
    imagined = world_model.imagine(context, plan.actions[:, None]).latents[:, 0]
    images = decoder.images(imagined.flatten(0, 1))
    return images.unflatten(0, imagined.shape[:2]).cpu().numpy()


def _apart(
    these: Float[Tensor, "steps tokens dim"], those: Float[Tensor, "steps tokens dim"]
) -> Float64[np.ndarray, " steps"]:
    return (these - those).abs().double().mean((1, 2)).cpu().numpy()
