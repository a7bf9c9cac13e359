"""Measure what a world model must pass before anyone plans with it, on anybody's episodes."""

import logging
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from vjepa_gym.agents.planners import PLANNERS
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.envs import REACH, check_id
from vjepa_gym.errors import DatasetError, VJEPAGymError
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.frames import open_split, open_whole
from vjepa_gym.experiments.jobs.probe import object_positions
from vjepa_gym.experiments.keeping import own_folder, store_familiarity
from vjepa_gym.experiments.rollout import EpisodeRecord, rollout
from vjepa_gym.experiments.settings import EnvConfig, PlanningConfig, WorldModelConfig
from vjepa_gym.learning.checkpoints import write_json
from vjepa_gym.types import Frames
from vjepa_gym.world_models.base import WorldModel
from vjepa_gym.world_models.gates import (
    PARTS,
    GateConfig,
    Gates,
    Objects,
    OnPart,
    measure_gates,
)
from vjepa_gym.world_models.thinning import thinned
from vjepa_gym.world_models.vjepa2_ac import GATES_FILE

HELD_OUT = 100
"""Episodes that are judged unless told otherwise."""
SEARCH = "frugal"
"""The search of who plans with the simulator, which draws every sample."""

logger = logging.getLogger(__name__)


class GatesNotPassedError(VJEPAGymError):
    """A model does not pass what it should before anyone plans with it; all of it was measured."""


@dataclass(kw_only=True)
class GatesConfig:
    """Which model to judge, and by what."""

    model: str = "tiny"
    """Name of a shipped or a released model, or a folder that `train` left."""
    data: str = "data/tabletop"
    """Folder of the dataset: ours, or anybody's episodes in DROID's layout."""
    held_out: int | None = None
    """Episodes at the end of the dataset, those that the model was not trained on; 0 for all, if it
    was trained on none. By default 100, or all of a dataset of fewer than 200. Probes are fitted on
    the others, or else on a part of these."""
    hz: float = 4.0
    """Rows a second of anybody's episodes, as in training; of ours each row is a settled move."""
    skip_bad: bool = False
    """Whether to leave out damaged ones of anybody's episodes; else they are an error."""
    oracle_episodes: int = 0
    """In how many simulated episodes to plan with perfect foresight as well, and with the model:
    where the oracle fails, the energy is at fault. Each takes a quarter of a minute or so."""
    oracle_env: str = REACH
    """Registered name of the environment of these."""
    store: bool = True
    """Whether to keep what was measured with the model too, as its `gates.json`, if its folder is
    yours; a shipped or released model is left as it is. A folder without `familiarity.safetensors`
    is given one, of the episodes before those that are held out."""
    strict: bool = False
    """Whether to end with exit status 1 if a gate is not passed. Otherwise the status is 0: it says
    that they were measured."""
    seed: int = 0
    """Chooses what is judged, and the random actions that true ones are ranked among."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    gates: GateConfig = field(default_factory=GateConfig)
    """How much is measured."""

    @property
    def parts(self) -> int:
        """How many parts and episodes there are, for showing how far it is."""
        return len(PARTS) + 2 * self.oracle_episodes

    def __post_init__(self) -> None:
        check_id(self.oracle_env)
        if self.oracle_episodes < 0 or (self.held_out or 0) < 0:
            raise ValueError(
                "oracle_episodes and held_out must not be negative, got"
                f" {self.oracle_episodes} and {self.held_out}"
            )
        if not self.hz > 0:
            raise ValueError(f"hz must be positive, got {self.hz}")


def run_gates(config: GatesConfig, on_part: OnPart | None = None) -> Gates:
    """Return what was measured.

    Raises:
        CheckpointError: There is no such model.
        DatasetError: There are no such data, or too few.
        PlanningError: The model imagines what is not finite.
    """
    told = on_part or (lambda _done, _next: None)
    factory = Factory(
        WorldModelConfig(source=config.model, device=config.device, precision="float32")
    )
    known, judged = _open(config, factory.model.config.encoder.image_size)
    gates = judge(
        factory.model,
        known,
        judged,
        data=config.data,
        seed=config.seed,
        config=config.gates,
        on_part=told,
    )
    if config.store and known is not None:
        given = {"data": config.data, "seed": config.seed}
        store_familiarity(factory.model, config.model, known, judged, **given)
    if config.oracle_episodes:
        gates = _with_oracle(gates, factory, config, told)
    told(config.parts, "")
    return gates


def judge(
    world_model: WorldModel,
    known: Frames | None,
    judged: Frames,
    *,
    data: str,
    seed: int,
    config: GateConfig,
    stride: int = 1,
    on_part: OnPart | None = None,
) -> Gates:
    """Return the gates on the last episodes of a dataset, objects included if it has any.

    Args:
        world_model: What is judged.
        known: All episodes before them, which it may have been trained on; None if there are none.
        judged: The last episodes.
        data: The dataset.
        seed: Chooses what is judged.
        config: How much is measured.
        stride: Every how many rows one is a step of the model.
        on_part: Told how far it is.

    Raises:
        DatasetError: There are too few episodes, or none in which the arm moves.
        PlanningError: The model imagines what is not finite.
    """
    first = 0 if known is None else known.num_episodes
    objects = objects_in(data, range(first, first + judged.num_episodes), stride)
    known_objects = None
    if known is not None:
        fewer = min(first, config.probe_episodes)
        known = known if fewer == first else known.split(fewer)[1]
        known_objects = objects and objects_in(data, range(first - fewer, first), stride)
        known = thinned(known, stride)
    return measure_gates(
        world_model,
        thinned(judged, stride),
        seed=seed,
        config=config,
        known=known,
        objects=objects,
        known_objects=known_objects,
        on_part=on_part,
    )


def objects_in(data: str, episodes: range, stride: int = 1) -> Objects | None:
    """Return where objects were in every `stride`-th row of some episodes; None if nobody says."""
    if not (Path(data) / "index.jsonl").is_file():
        return None
    try:
        names, positions = object_positions(data, episodes)
    except DatasetError:
        return None
    entries = EpisodeStore(data).entries()
    lengths = [entries[episode].rows for episode in episodes]
    taken = np.concatenate([np.arange(length) % stride == 0 for length in lengths])
    positions = positions.reshape(len(positions), len(names), 3)[taken]
    return Objects(names=tuple(names), positions=positions)


def store_gates(gates: Gates, model: str) -> Path | None:
    """Keep gates in the folder of a model, and return the file; None if it is nobody's to write."""
    folder = own_folder(model)
    if folder is None:
        return None
    try:
        write_json(folder / GATES_FILE, gates.to_json())
    except OSError as error:
        logger.warning("The gates are not kept with the model: %s.", error)
        return None
    return folder / GATES_FILE


def _open(config: GatesConfig, size: int) -> tuple[Frames | None, Frames]:
    """Return the episodes that a model may have been trained on, and those that it is judged on."""
    given = {"size": size, "hz": config.hz, "skip_bad": config.skip_bad}
    if config.held_out:
        return open_split(config.data, held_out=config.held_out, **given)
    frames = open_whole(config.data, **given)
    if config.held_out is None:
        if frames.num_episodes >= 2 * HELD_OUT:
            return frames.split(HELD_OUT)
        logger.warning(
            "All %d episodes of %s are judged. If the model was trained on any of them, say how"
            " many at the end were held out: job.held_out=...",
            *(frames.num_episodes, config.data),
        )
    return None, frames


def _with_oracle(gates: Gates, factory: Factory, config: GatesConfig, told: OnPart) -> Gates:
    """Return the gates with how often plans succeed in the simulator and in the model."""
    found, done = {}, len(PARTS)
    with closing(environments(EnvConfig(id=config.oracle_env), 1)) as envs:
        for dynamics in ("oracle", "learned"):
            # The model that is loaded serves both.
            factory.config.dynamics = dynamics
            agent = factory.agent(PlanningConfig(planner=PLANNERS[SEARCH]()), envs)
            told(done, dynamics)
            records: list[EpisodeRecord] = []
            on_episode = partial(_count, records, told, done, dynamics)
            rollout(
                envs,
                agent,
                range(config.oracle_episodes),
                record_frames=False,
                on_episode=on_episode,
            )
            done += len(records)
            found[dynamics] = sum(one.success for one in records) / len(records)
    reasons = {name: why for name, why in gates.not_measured.items() if name != "oracle_success"}
    return replace(
        gates,
        oracle_success=found["oracle"],
        model_success=found["learned"],
        oracle_episodes=config.oracle_episodes,
        not_measured=reasons,
    )


def _count(
    records: list[EpisodeRecord], told: OnPart, before: int, dynamics: str, record: EpisodeRecord
) -> None:
    records.append(record)
    told(before + len(records), dynamics)
