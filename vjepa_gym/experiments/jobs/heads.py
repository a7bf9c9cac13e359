"""Train the small networks that are kept beside a world model, on its frozen latents."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vjepa_gym.experiments.frames import open_split
from vjepa_gym.experiments.jobs.train import encoding
from vjepa_gym.experiments.seeing.settings import WatchConfig
from vjepa_gym.experiments.usage import UsageError, checking
from vjepa_gym.experiments.writable import check_writable
from vjepa_gym.learning.checkpoints import WEIGHTS_FILE
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.precision import choose_precision
from vjepa_gym.learning.progress import check_finished
from vjepa_gym.learning.training import OnStep, TrainingConfig
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.files import facts_of_encoder, folder_of
from vjepa_gym.world_models.heads.registry import HEADS
from vjepa_gym.world_models.heads.training import RUNS, judge_head, train_head
from vjepa_gym.world_models.loading import check_known
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, load_world_model, shipped_world_models


@dataclass(kw_only=True)
class HeadsConfig(WatchConfig):
    """Which heads to train, for which model and on what."""

    model: str = "runs/model"
    """The finished world model: a folder as `train` leaves it, or a name (`tiny`)."""
    heads: list[str] = field(default_factory=lambda: list(HEADS))
    """`inverse` tells actions from two views, `macro` predicts several steps at once for the
    two-level planner, `decoder` draws latents."""
    folder: str = ""
    """Where they are kept; a training that was stopped there goes on. By default the model's own
    folder. In another one a copy of the model is kept too, so that it is a model with heads."""
    data: str = "data/tabletop"
    """Folder of the dataset: ours, or anybody's episodes in DROID's layout."""
    also: list[str] = field(default_factory=list)
    """Further such folders."""
    held_out: int = 100
    """Episodes at the end of each dataset that no head is trained on, and all are judged on."""
    hz: float = 4.0
    """Rows a second of anybody's episodes; of ours each row is a settled move."""
    skip_bad: bool = False
    """Whether to leave out damaged ones of anybody's episodes; else they are an error."""
    latents_folder: str = ""
    """Where latents are kept, for all that learns from the same encoder and frames. By default
    `<data>.cache/latents`, as in `train`."""
    precision: str = "auto"
    """In what the frozen encoder computes: `float32`, `bfloat16`, `int8` (CPUs only); `auto` is
    bfloat16 on a GPU and float32 on a CPU."""
    steps: int | None = None
    """Steps of the optimiser; each head's own number if null, and likewise the following."""
    batch_size: int | None = None
    """Samples in a batch."""
    learning_rate: float | None = None
    """Learning rate between warm-up and decay."""
    seed: int = 0
    """Everything random derives from this."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    half: bool = False
    """Whether to store the heads in 16 bits, as shipped ones are."""

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError(f"heads must name at least one of {', '.join(HEADS)}")
        for name in self.heads:
            HEADS[name]
        if not self.latents_folder:
            data = Path(self.data)
            self.latents_folder = str(data.with_name(f"{data.name}.cache") / "latents")


@dataclass(frozen=True, kw_only=True)
class HeadRun:
    """What is known of the training of one head before it begins; see `seeing.watching`."""

    name: str
    folder: str
    training: TrainingConfig
    tensorboard: bool
    wandb: str


Watching = Callable[[str, Any], AbstractContextManager[OnStep]]
"""Gives, for a title and a `HeadRun`, what is told of every step."""


def run_heads(config: HeadsConfig, watching: Watching) -> dict[str, dict[str, float]]:
    """Train heads one after the other; return what each loses on held-out episodes.

    Raises:
        CheckpointError: There is no such model, its training was not finished, or there is the
            training of other heads in the folder.
        UsageError: The model has no folder to keep heads in, or it holds another model.
        DatasetError: There are no such data, or too little room for their latents.
        TrainingError: A loss is not finite.
    """
    device = choose_device(config.device)
    source = folder_of(config.model)
    folder = _folder(config, source)
    check_writable("job.folder", folder)
    trainings = {name: _training(name, config) for name in config.heads}
    with checking():
        choose_precision(config.precision, device)
    if source is not None:
        check_finished(source)
    world_model = load_world_model(config.model, device, "float32")
    _check_same(folder, source, world_model)
    frames, held_out = open_split(
        [config.data, *config.also],
        size=world_model.config.encoder.image_size,
        held_out=config.held_out,
        hz=config.hz,
        skip_bad=config.skip_bad,
    )
    if not (folder / WEIGHTS_FILE).exists():
        world_model.save(folder, half=config.half)
    return {
        name: _train(config, name, training, world_model, (frames, held_out), folder, watching)
        for name, training in trainings.items()
    }


def _train(
    config: HeadsConfig,
    name: str,
    training: TrainingConfig,
    world_model: VJEPA2AC,
    split: tuple[Frames, Frames],
    folder: Path,
    watching: Watching,
) -> dict[str, float]:
    run = HeadRun(
        name=name,
        folder=str(folder / RUNS / name),
        training=training,
        tensorboard=config.tensorboard,
        wandb=config.wandb,
    )
    how: dict[str, Any] = {
        "training": training,
        "seed": config.seed,
        "latents_folder": Path(config.latents_folder),
        "precision": config.precision,
    }
    with encoding() as on_encoded, watching(name, run) as on_step:
        head = train_head(
            name,
            world_model,
            split[0],
            folder=folder,
            on_step=on_step,
            on_encoded=on_encoded,
            half=config.half,
            facts={"held_out": config.held_out},
            **how,
        )
    return judge_head(name, head, world_model, split[1], **how)


def _training(name: str, config: HeadsConfig) -> TrainingConfig:
    """Return how a head is trained: its own way, but for what is said."""
    fields = ("steps", "batch_size", "learning_rate")
    said = {key: getattr(config, key) for key in fields if getattr(config, key) is not None}
    with checking():
        return dataclasses.replace(HEADS[name].training(), **said)


def _folder(config: HeadsConfig, source: Path | None) -> Path:
    if config.folder:
        return Path(config.folder)
    check_known(config.model)
    if source is None or config.model in shipped_world_models():
        raise UsageError(
            f"{config.model} is in no folder of yours: say where its heads are to be kept, with a"
            f" copy of it: job.folder=runs/{Path(config.model).name}."
        )
    return source


def _check_same(folder: Path, source: Path | None, world_model: VJEPA2AC) -> None:
    """Raise if the folder that heads are to be kept in holds another model than theirs."""
    if folder == source or not (folder / WEIGHTS_FILE).exists():
        return
    there = load_world_model(folder, world_model.device, "float32")
    if facts_of_encoder(there) != facts_of_encoder(world_model):
        raise UsageError(
            f"job.folder={folder} holds a model with another encoder, which heads for this one"
            " would not fit; name another folder, or that model."
        )
