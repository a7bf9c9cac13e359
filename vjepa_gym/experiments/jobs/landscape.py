"""Draw the energy around the true action: is there a way down to it, and where does it end."""

import csv
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vjepa_gym.agents.energies import ENERGIES
from vjepa_gym.errors import PlanningError, UnknownNameError
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.seeing.landscape_pictures import draw_landscape
from vjepa_gym.experiments.seeing.landscape_samples import (
    Step,
    step_of_environment,
    steps_of_dataset,
    steps_of_file,
)
from vjepa_gym.experiments.settings import EnvConfig, WorldModelConfig
from vjepa_gym.learning.checkpoints import write_json
from vjepa_gym.spaces import MAX_TRANSLATION
from vjepa_gym.world_models.action_grids import reach
from vjepa_gym.world_models.base import Context, Target, WorldModel
from vjepa_gym.world_models.landscape import Energy, GridConfig, Landscape, measure_landscape
from vjepa_gym.world_models.landscape_figures import LandscapeFigures, figures, mean_figures
from vjepa_gym.world_models.vjepa2_ac import Persistence

FIGURES, TABLE = "landscape.json", "landscape.csv"


@dataclass(kw_only=True)
class LandscapeConfig:
    """Which step is looked around: the expert's in an environment, or one of data or of a file."""

    pair: str = ""
    """A file of frames with poses, as V-JEPA 2's example has them: an .npz archive with
    `observations` and `states`."""
    data: str = ""
    """A dataset instead, of whose held-out episodes steps are taken."""
    held_out: int = 100
    """Episodes at the end of the dataset, those that the model was not trained on."""
    episode: int = 0
    """The first of them that is looked into, from 0 on."""
    seed: int = 0
    """The first seed of the environment."""
    count: int = 1
    """Of how many episodes, one after another; figures are averaged over them."""
    row: int = -1
    """The frame before the move; -1 is the first from which the hand moves by a centimetre. In an
    environment, how many moves the expert makes before, -1 being none."""
    ahead: int = 1
    """How many frames, or moves, later the target was seen; the true action is all that was done
    until then, though it may be more than one step allows."""
    energy: str = "l1"
    """How what is imagined is compared with what was seen: `l1`, `l2` or `cosine`."""
    token_floor: float = 1.0
    """Least weight of a token, see `agent.token_floor`; at 1 all count alike."""
    grid: GridConfig = field(default_factory=GridConfig)
    """Where the energy is asked for. The oracle simulates each action, and wants fewer points."""

    def __post_init__(self) -> None:
        if self.pair and self.data:
            raise ValueError("pair and data are two places to take steps from; give one of them")
        if min(self.count, self.ahead) < 1 or min(self.episode, self.seed) < 0 or self.row < -1:
            raise ValueError(
                "count and ahead must be positive, episode and seed not negative, and row at least"
                f" -1; got {self.count}, {self.ahead}, {self.episode}, {self.seed} and {self.row}"
            )
        self.make_energy()

    def make_energy(self) -> Energy:
        """Return the energy.

        Raises:
            UnknownNameError: There is none of this name.
            ValueError: `token_floor` is not from 0 to 1.
        """
        if self.energy not in ENERGIES:
            raise UnknownNameError("energy", self.energy, ENERGIES)
        return ENERGIES[self.energy](token_floor=self.token_floor)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One landscape.

    Attributes:
        step: What it is around.
        landscape: The energies.
        figures: What they say.
        picture: Where it is drawn.
    """

    step: Step
    landscape: Landscape
    figures: LandscapeFigures
    picture: Path

    def to_json(self) -> dict[str, Any]:
        """Return all but the energies, in centimetres."""
        return {
            "name": self.step.name,
            "picture": self.picture.name,
            "true_action": self.step.action.round(6).tolist(),
            "argmin_cm": (100 * self.landscape.minimum).tolist(),
            **asdict(self.figures),
        }


def run_landscape(
    config: LandscapeConfig,
    env: EnvConfig,
    world_model: WorldModelConfig,
    folder: Path,
    on_drawn: Callable[[int], None] | None = None,
) -> list[Drawn]:
    """Draw landscapes; write pictures, energies and figures to `folder`.

    Args:
        config: Around which steps.
        env: Where they are made, unless they are in a file or a dataset.
        world_model: What imagines.
        folder: Gets `landscape_000.png` and `landscape_000.npz`, and so on, `landscape.csv` and
            `landscape.json`; made if need be.
        on_drawn: Called after each landscape with how many there are.

    Raises:
        DatasetError: There are no such frames, or they are damaged.
        EvaluationError: There is no such step, or nothing moves in it.
        PlanningError: The oracle is wanted where nothing is simulated, or energies are not finite.
        CheckpointError: There is no such model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Drawn] = []
    for step, model, device in _steps(config, env, world_model):
        landscape = measure(config, step, model, device, world_model.dynamics)
        stem = f"landscape_{len(drawn):03d}"
        picture, title = folder / f"{stem}.png", f"{step.name}: {_title(config, world_model)}"
        np.savez_compressed(
            folder / f"{stem}.npz",
            **{name: np.asarray(value) for name, value in vars(landscape).items()},
        )
        one = Drawn(step=step, landscape=landscape, figures=figures(landscape), picture=picture)
        draw_landscape(picture, landscape, one.figures, step.images, title)
        drawn.append(one)
        if on_drawn is not None:
            on_drawn(len(drawn))
    _write_figures(folder, config, world_model, drawn)
    return drawn


def measure(
    config: LandscapeConfig, step: Step, model: WorldModel, device: torch.device, dynamics: str
) -> Landscape:
    """Return the landscape around a step.

    Raises:
        PlanningError: The energies are not finite.
    """
    images = torch.from_numpy(np.ascontiguousarray(step.images)).to(device)
    latents, poses = model.encode(images), torch.from_numpy(step.poses).to(device)
    context = Context(
        latents=latents[None, :1],
        poses=poses[None, :1],
        actions=torch.zeros(1, 0, 7, device=device),
    )
    true = torch.from_numpy(step.action)
    extent = float(reach(true[None], config.grid.extent))
    if dynamics == "oracle":  # What lies outside is clipped by the arm, and thus all the same.
        extent = min(extent, MAX_TRANSLATION)
    return measure_landscape(
        model,
        context,
        true,
        Target(latents=latents[1:], poses=poses[1:]),
        config.make_energy(),
        config=replace(config.grid, extent=extent),
    )


def _title(config: LandscapeConfig, world_model: WorldModelConfig) -> str:
    dynamics = "" if world_model.dynamics == "learned" else f", {world_model.dynamics} dynamics"
    floor = "" if config.token_floor == 1 else f" (token floor {config.token_floor:g})"
    return f"{world_model.source}{dynamics}, energy {config.energy}{floor}"


def _write_figures(
    folder: Path, config: LandscapeConfig, world_model: WorldModelConfig, drawn: list[Drawn]
) -> None:
    """Write the figures as JSON, and as a table that opens in a spreadsheet."""
    mean = asdict(mean_figures([one.figures for one in drawn]))
    about = {
        "world_model": world_model.source,
        "dynamics": world_model.dynamics,
        "energy": config.energy,
        "token_floor": config.token_floor,
        "mean": mean,
        "landscapes": [one.to_json() for one in drawn],
    }
    write_json(folder / FIGURES, about)
    rows = [{"name": one.step.name, **asdict(one.figures)} for one in drawn]
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["name", *mean])
        table.writeheader()
        table.writerows([*rows, {"name": "mean", **mean}])


def _steps(
    config: LandscapeConfig, env: EnvConfig, world_model: WorldModelConfig
) -> Iterator[tuple[Step, WorldModel, torch.device]]:
    """Yield steps, and what is to imagine them; the oracle looks at the one before it is made."""
    factory, which = Factory(world_model), {"row": config.row, "ahead": config.ahead}
    if not (config.pair or config.data):
        with closing(environments(env, 1)) as envs:
            model = factory.world_model(envs)
            for seed in range(config.seed, config.seed + config.count):
                step = step_of_environment(envs, seed=seed, name=env.id, **which)
                yield step, model, factory.model.device
        return
    if world_model.dynamics == "oracle":
        raise PlanningError(
            "The oracle simulates what is done, and nothing is known of the scene that"
            f" {config.pair or config.data} shows: leave job.pair and job.data out, or take"
            " world_model=tiny."
        )
    if config.pair:
        steps = steps_of_file(Path(config.pair), count=config.count, **which)
    else:
        steps = steps_of_dataset(
            config.data,
            size=factory.model.config.encoder.image_size,
            held_out=config.held_out,
            episode=config.episode,
            count=config.count,
            **which,
        )
    blind = world_model.dynamics == "persistence"
    for step in steps:
        yield step, Persistence(factory.model) if blind else factory.model, factory.model.device
