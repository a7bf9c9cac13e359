"""What an encoder makes of a video, to look at: the main components of its features, as colours."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import imageio.v3 as iio
import torch
from jaxtyping import Float
from torch import Tensor

from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.experiments.seeing.footage import read_footage
from vjepa_gym.experiments.seeing.patches import Encode, patch_features, seen
from vjepa_gym.experiments.seeing.pca_video import Panel, enlarge, sheet, side_by_side
from vjepa_gym.learning.checkpoints import write_json
from vjepa_gym.learning.collapse import effective_rank, feature_deviation
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.layers import initialise
from vjepa_gym.learning.pca import colour, foreground
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import ModelConfig

UNTRAINED = "untrained"
"""The name of the model with fresh weights."""
VIDEO, SHEET, FIGURES = "features.mp4", "features.png", "features.json"
QUICK, SLOW = Fraction(30), Fraction(1)
"""Most and fewest frames a second that are shown."""


class FeaturesError(VJEPAGymError, ValueError):
    """The features cannot be shown; the message says what to change."""


@dataclass(kw_only=True)
class FeaturesConfig:
    """Whose features are shown, and of what."""

    video: str = "data/tabletop"
    """A video, a picture, the folder of an episode, or that of a dataset of ours."""
    episode: int = 0
    """Number of the episode, where `video` is a dataset."""
    camera: str = "left"
    """Whose video, where `video` is an episode or a dataset."""
    model: str = "tiny"
    """Whose features: a name or a folder, as `load` takes it; that of an encoder will do."""
    compare: str = ""
    """A second model, shown beside the first; `untrained` is the first with fresh weights."""
    start: int = 0
    """The first frame."""
    frames: int = 64
    """How many frames, at most."""
    stride: int = 1
    """From one frame to the next."""
    encode: Encode = Encode.frames
    """What the encoder sees at once: `frames` by themselves, as a planner has it, or the `clip`."""
    image_size: int = 0
    """Height and width at which frames are encoded [px], a multiple of the model's patches; 0 is
    what it was trained at. More has finer patches, but shows the model what it never saw."""
    foreground: bool = False
    """Whether patches that the first component tells to be background are black, and the colours
    those of the others."""
    smooth: bool = True
    """Whether to interpolate between patches rather than show each as a square."""
    side: int = 256
    """Height and width of what is shown [px]."""
    seed: int = 0
    """Of untrained weights."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""

    def __post_init__(self) -> None:
        if min(self.frames, self.stride) < 1 or min(self.start, self.episode) < 0:
            raise ValueError(
                "frames and stride must be positive, start and episode not negative; got"
                f" {self.frames}, {self.stride}, {self.start} and {self.episode}"
            )
        if self.side < 32 or self.side % 2 or self.image_size < 0:
            raise ValueError(
                f"side must be even and at least 32, and image_size not negative; got {self.side}"
                f" and {self.image_size}"
            )


@dataclass(frozen=True, kw_only=True)
class Components:
    """What was found in the features of one model.

    Attributes:
        model: Whose they are.
        patches: Rows, and columns, of patches in a frame.
        explained: The part of all variance that each component explains; of the foreground alone if
            only that is shown.
        foreground: The part of the patches that is shown.
        deviation: How much features differ between frames, on average over places.
        rank: In how many directions features of patches vary (`effective_rank`).
    """

    model: str
    patches: int
    explained: list[float]
    foreground: float
    deviation: float
    rank: float


def run_features(config: FeaturesConfig, folder: Path) -> list[Components]:
    """Write `features.mp4`, `features.png` and `features.json`; return what the last says.

    Raises:
        DatasetError: There is no such video, or it cannot be decoded.
        CheckpointError: There is no such model.
        FeaturesError: The frames are no whole patches, or the features are not finite.
    """
    footage = read_footage(
        Path(config.video),
        episode=config.episode,
        camera=config.camera,
        start=config.start,
        frames=config.frames,
        stride=config.stride,
    )
    encoders = _encoders(config)
    first = next(iter(encoders.values()))[1]
    panels: dict[str, Panel] = {
        footage.name: seen(Preprocessing(first.preprocessing, config.side), footage.images)
    }
    found: list[Components] = []
    for name, (encoder, model) in encoders.items():
        size = config.image_size or model.encoder.image_size
        if size % model.encoder.patch_size:
            raise FeaturesError(
                f"job.image_size must be a multiple of {model.encoder.patch_size} px for {name},"
                f" got {size}."
            )
        preprocessing = Preprocessing(model.preprocessing, size).to(choose_device(config.device))
        features = patch_features(encoder, preprocessing, footage.images, config.encode)
        if not bool(features.isfinite().all()):
            raise FeaturesError(f"{name}: features are not finite; are its weights broken?")
        panels[f"PCA: {name}"], about = _drawn(name, features, config)
        found.append(about)
    folder.mkdir(parents=True, exist_ok=True)
    rate = min(max(footage.rate, SLOW), QUICK)
    write_video(folder / VIDEO, side_by_side(panels), rate)
    iio.imwrite(folder / SHEET, sheet(panels))
    about = {
        "video": str(footage.path),
        "frames": len(footage.images),
        "encode": config.encode.name,
        "models": [asdict(components) for components in found],
    }
    write_json(folder / FIGURES, about)
    return found


def _encoders(config: FeaturesConfig) -> Mapping[str, tuple[VisionTransformer, ModelConfig]]:
    """Return one encoder, or two to compare, by name."""
    device = choose_device(config.device)
    loaded = load(config.model, device=config.device)
    encoders = {config.model: (loaded.encoder, loaded.config)}
    if config.compare == UNTRAINED:
        fresh = VisionTransformer(loaded.config.encoder)
        initialise(fresh, torch.Generator().manual_seed(config.seed))
        encoders[f"{config.model}, {UNTRAINED}"] = (fresh.to(device).eval(), loaded.config)
    elif config.compare:
        other = load(config.compare, device=config.device)
        encoders[config.compare] = (other.encoder, other.config)
    return encoders


def _drawn(
    name: str, features: Float[Tensor, "frames rows columns dim"], config: FeaturesConfig
) -> tuple[Panel, Components]:
    shown = foreground(features) if config.foreground else None
    colours, pca = colour(features, shown)
    components = Components(
        model=name,
        patches=features.shape[1],
        explained=[round(float(part), 6) for part in pca.explained],
        foreground=1.0 if shown is None else float(shown.double().mean()),
        deviation=float(feature_deviation(features)) if len(features) > 1 else 0.0,
        rank=float(effective_rank(features.flatten(0, -2))),
    )
    return enlarge(colours, config.side, smooth=config.smooth), components
