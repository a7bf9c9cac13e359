"""Train the action-conditioned predictor on top of an encoder, then put it to the gates."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vjepa_gym.errors import DatasetError, PlanningError
from vjepa_gym.experiments.frames import Places, open_split
from vjepa_gym.experiments.jobs.gates import judge
from vjepa_gym.experiments.keeping import familiarity_of
from vjepa_gym.experiments.progress import progress
from vjepa_gym.experiments.seeing.settings import WatchConfig
from vjepa_gym.experiments.usage import UsageError, checking
from vjepa_gym.experiments.writable import check_writable
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.precision import choose_precision
from vjepa_gym.learning.training import OnStep
from vjepa_gym.types import Frames
from vjepa_gym.world_models.gates import PARTS, GateConfig
from vjepa_gym.world_models.latents import OnProgress
from vjepa_gym.world_models.post_training import Latents, check_length, train_predictor
from vjepa_gym.world_models.post_training_config import POST_TRAINING, PostTrainingConfig
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.starting_model import starting_model
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

ENCODER = "runs/encoder"
"""Where `pretrain` leaves an encoder unless told otherwise."""

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TrainConfig(WatchConfig):
    """What to train the predictor on, and where to keep the model."""

    data: str = "data/tabletop"
    """Folder of the dataset: ours, or anybody's episodes in DROID's layout."""
    also: list[str] = field(default_factory=list)
    """Further such folders to train on; the gates are measured on `data`."""
    encoder: str = ""
    """The frozen encoder: a folder as `pretrain` leaves it, a released name
    (`facebook/vjepa2-vitg-fpc64-256`), a `.pt` file. By default that of `initial`, or else
    `runs/encoder`."""
    initial: str = ""
    """A whole world model whose predictor is trained on: a folder as `train` leaves it, or a name
    (`vjepa2-ac-vitg`, `tiny`). By default a new predictor is trained."""
    unfinished: bool = False
    """Whether to build on a model whose own training was broken off."""
    folder: str = "runs/model"
    """Folder of the model; a training that was stopped there goes on."""
    held_out: int = 100
    """Episodes at the end of each dataset that no model is trained on."""
    hz: float = 4.0
    """Rows a second of anybody's episodes; of ours each row is a settled move."""
    skip_bad: bool = False
    """Whether to leave out damaged ones of anybody's episodes; else they are an error."""
    latents: Latents = Latents.cache
    """Whether the frames are encoded once beforehand, or those of a batch when it is its turn."""
    latents_folder: str = ""
    """Where latents that were encoded beforehand are kept, for all runs on the same encoder and
    frames. By default `<data>.cache/latents`."""
    precision: str = "auto"
    """In what the frozen encoder computes: `float32`, `bfloat16`, `int8` (CPUs only); `auto` is
    bfloat16 on a GPU and float32 on a CPU. What the predictor is trained in is
    `job.training.bfloat16`."""
    seed: int = 0
    """Everything random derives from this."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    half: bool = False
    """Whether to store the weights in 16 bits, as shipped ones are."""
    gates: GateConfig = field(default_factory=GateConfig)
    """How much is measured at the end."""
    model: ModelConfig | None = None
    """Sizes of a new predictor on an encoder of sizes that must agree; `job.model=<name>` takes a
    preset. By default those that come with the encoder, or with `initial`."""
    training: PostTrainingConfig = field(default_factory=POST_TRAINING["tiny"])
    """How; `job.training=<name>` takes a preset."""

    def __post_init__(self) -> None:
        if not self.encoder and not self.initial:
            self.encoder = ENCODER
        if not self.latents_folder:
            data = Path(self.data)
            self.latents_folder = str(data.with_name(f"{data.name}.cache") / "latents")


def run_train(config: TrainConfig, on_step: OnStep | None = None) -> VJEPA2AC:
    """Train the predictor, judge it on what was held out, and return the whole model.

    `folder` holds it as well, with its gates and what its training views look like to it. Of
    several processes, the first judges and writes.

    Raises:
        CheckpointError: There is no such encoder or initial model, it is of other sizes, or its
            training was not finished.
        UsageError: The recipe does not fit the model, or nothing can be written to `folder`; no
            data were read.
        UnknownNameError: No model has such a name.
        DatasetError: There are no such data, or too little room for their latents.
        TrainingError: The loss is not finite.
    """
    device = choose_device(config.device)
    if current_world().is_first:
        check_writable("job.folder", Path(config.folder))
    start = starting_model(
        config.encoder or None,
        config.model,
        initial=config.initial or None,
        seed=config.seed,
        device=device,
        unfinished=config.unfinished,
    )
    _check(config, start.world_model.config, device)
    frames, held_out = _open([config.data, *config.also], start.world_model, config)
    with encoding() as on_encoded:
        model = train_predictor(
            frames,
            start,
            config.training,
            folder=Path(config.folder),
            seed=config.seed,
            latents=config.latents,
            latents_folder=Path(config.latents_folder),
            precision=config.precision,
            on_step=on_step,
            on_encoded=on_encoded,
            facts={"held_out": config.held_out},
        )
    if current_world().is_first:
        _judge(model, config)
        model.familiarity = familiarity_of(model, frames, held_out, seed=config.seed)
        model.save(Path(config.folder), half=config.half)
    return model


def _check(config: TrainConfig, model: ModelConfig, device: torch.device) -> None:
    """Raise before data are read if the training would refuse this model, or this precision."""
    with checking():
        choose_precision(config.precision, device)
        check_length(config.training, model)
    if model.ac_predictor.use_extrinsics:
        raise UsageError(
            "the predictor takes the camera's extrinsics, and there are none beside the frames that"
            " it is trained on; take one with use_extrinsics=false"
        )


def _open(data: Places, model: VJEPA2AC, config: TrainConfig) -> tuple[Frames, Frames]:
    return open_split(
        data,
        size=model.config.encoder.image_size,
        held_out=config.held_out,
        hz=config.hz,
        skip_bad=config.skip_bad,
    )


def _judge(model: VJEPA2AC, config: TrainConfig) -> None:
    """Measure the gates, by such steps as it was trained on; one that cannot be judged is kept."""
    try:
        known, held_out = _open(config.data, model, config)
        with progress("gates", len(PARTS), "parts") as report:
            model.gates = judge(
                model,
                known,
                held_out,
                data=config.data,
                seed=config.seed,
                config=config.gates,
                stride=config.training.stride,
                on_part=lambda done, now: report(done, {"now": now}),
            )
    except (DatasetError, PlanningError) as error:
        logger.warning("The model is trained, but its gates cannot be measured. %s", error)


@contextmanager
def encoding() -> Iterator[OnProgress]:
    """Yield what shows how many frames are encoded, once there is something to encode."""
    with ExitStack() as shown:
        reports = []

        def on_encoded(done: int, total: int) -> None:
            if not reports:
                reports.append(shown.enter_context(progress("encode", total, "frames")))
            reports[0](done, {})
            if done == total:
                shown.close()

        yield on_encoded
