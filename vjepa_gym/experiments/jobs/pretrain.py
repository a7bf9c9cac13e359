"""Train an encoder on videos, masked; stopped and resumed at will."""

from dataclasses import dataclass, field
from pathlib import Path

from vjepa_gym.datasets.sampling.joining import join
from vjepa_gym.datasets.sampling.videos import JoinedVideos
from vjepa_gym.experiments.frames import has_poses, open_split, open_videos, open_whole
from vjepa_gym.experiments.seeing.settings import WatchConfig
from vjepa_gym.experiments.usage import checking
from vjepa_gym.experiments.writable import check_writable
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.distributed import current_world
from vjepa_gym.learning.training import OnStep
from vjepa_gym.types import Frames
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.presets import ModelConfig, tiny
from vjepa_gym.world_models.pretraining import pretrain
from vjepa_gym.world_models.pretraining_checks import check_recipe, clip_shapes
from vjepa_gym.world_models.pretraining_config import PretrainingConfig
from vjepa_gym.world_models.pretraining_presets import PRETRAINING
from vjepa_gym.world_models.vjepa2 import VJEPA2


@dataclass(kw_only=True)
class PretrainConfig(WatchConfig):
    """What to train the encoder on, and where to keep it."""

    data: str = "data/tabletop"
    """Folder of a dataset of ours, of episodes in DROID's layout, or of videos of any kind."""
    also: list[str] = field(default_factory=list)
    """Further such folders."""
    weights: list[float] = field(default_factory=list)
    """How often `data` and each of `also` is drawn from, in any unit; by their sizes if empty."""
    images: str = ""
    """Folder of still images, or of videos whose frames are taken as such, for part of each batch
    (`job.training.image_share`); none if empty."""
    folder: str = "runs/encoder"
    """Folder of the encoder; a training that was stopped there goes on."""
    initial: str = ""
    """A model to start from: a folder, a released name or a `.pt` file. Sizes are its own then, and
    `job.model` is not heeded. By default all weights are new."""
    held_out: int = 100
    """Episodes at the end of datasets of ours, and in DROID's layout, that no model is trained
    on."""
    skip_bad: bool = False
    """Whether to leave out videos that are too short or cannot be decoded; else they are an error.
    A clip that cannot be read in the training is replaced by another, drawn beforehand."""
    seed: int = 0
    """Everything random derives from this."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""
    model: ModelConfig = field(default_factory=tiny)
    """Sizes; `job.model=<name>` takes a preset."""
    training: PretrainingConfig = field(default_factory=PRETRAINING["tiny"])
    """How; `job.training=<name>` takes a preset."""

    def __post_init__(self) -> None:
        count = 1 + len(self.also)
        if self.weights and (len(self.weights) != count or not min(self.weights) > 0):
            raise ValueError(
                "job.weights must be positive numbers, one for job.data and one for each of"
                f" job.also, {count} in all; got {list(self.weights)}"
            )


def run_pretrain(config: PretrainConfig, on_step: OnStep | None = None) -> VisionTransformer:
    """Train the encoder and return it; `folder` holds it as well, and the predictor.

    Raises:
        DatasetError: There are no such data, or bad ones that are not to be left out.
        CheckpointError: There is no such model to start from.
        TrainingError: The loss is not finite, or the latents collapsed.
        UsageError: The recipe does not fit the model, or nothing can be written to `folder`; no
            data were read.
    """
    device = choose_device(config.device)
    if current_world().is_first:
        check_writable("job.folder", Path(config.folder))
    initial = _initial(config.initial) if config.initial else None
    model = config.model if initial is None else initial.config
    with checking():
        check_recipe(model, config.training, with_images=bool(config.images))
    size = max(model.encoder.image_size, config.training.cooldown_image_size or 0)
    episodes = _episodes(config, size) if config.training.recovery.weight else None
    videos = open_videos(
        [config.data, *config.also],
        image_size=size,
        held_out=config.held_out,
        skip_bad=config.skip_bad,
        weights=config.weights or None,
        clips=clip_shapes(config.training),
    )
    images = None
    if config.images:
        images = open_videos(config.images, image_size=size, skip_bad=config.skip_bad)
    return pretrain(
        videos,
        model,
        config.training,
        folder=Path(config.folder),
        seed=config.seed,
        device=device,
        on_step=on_step,
        images=images,
        weights=videos.weights if isinstance(videos, JoinedVideos) else None,
        initial=initial,
        skip_bad=config.skip_bad,
        facts={"held_out": config.held_out},
        episodes=episodes,
    )


def _episodes(config: PretrainConfig, size: int) -> Frames:
    """Return the episodes whose doings are to be recovered: of the folders that have poses.

    Raises:
        DatasetError: The first has none.
    """
    places = [config.data, *filter(has_poses, config.also)]
    if not config.held_out:
        return join([open_whole(place, size=size, skip_bad=config.skip_bad) for place in places])
    how = {"held_out": config.held_out, "skip_bad": config.skip_bad}
    return open_split(places, size=size, **how)[0]


def _initial(name: str) -> VJEPA2:
    """Return the encoder of a model, and its masked predictor if it has one."""
    model = load(name, device="cpu", precision="float32")
    return model if isinstance(model, VJEPA2) else VJEPA2(model.config, model.encoder)
