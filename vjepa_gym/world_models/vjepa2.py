"""An encoder of the V-JEPA family with its preprocessing, kept in one folder: video to features."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vjepa_gym.learning.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Weights,
    from_json,
    load_into,
    load_weights,
    read_json,
    save_model,
    to_json,
)
from vjepa_gym.learning.precision import Frozen, computing_in
from vjepa_gym.world_models.encoder import VisionTransformer, encode_frames
from vjepa_gym.world_models.pixels import Pixels, checked
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import ModelConfig

PREDICTOR = "predictor."
"""What the names of its weights begin with in a model folder."""
ENCODED_TOGETHER = 64
"""Frames that pass the encoder at once, unless one video has more."""


class VJEPA2(Frozen):
    """A frozen encoder, and the masked predictor that it was pretrained with if it is known.

    Attributes:
        config: Sizes of everything.
        encoder: From video to features.
        predictor: From visible features to masked ones, or None.
        preprocessing: From images of any size to what the encoder takes.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: VisionTransformer,
        predictor: MaskedPredictor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.predictor = predictor
        self.preprocessing = Preprocessing(config.preprocessing, config.encoder.image_size)
        self.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def encode_video(self, frames: Pixels) -> Float[Tensor, "n tokens dim"]:
        """Return the features of videos, ordered by time, then row, then column.

        Args:
            frames: Bytes (uint8) of shape `n time height width 3`, a tensor or an array; see
                `features`.

        Raises:
            ValueError: They are something else, or no whole number of tubelets.
        """
        return features(self.encoder, self.preprocessing, frames, self.precision)

    @torch.no_grad()
    def encode(self, images: Pixels) -> Float[Tensor, "n tokens dim"]:
        """Return the latents of single images as a world model has them.

        Each image is repeated to fill a tubelet, and each token normalised over its features.

        Args:
            images: Bytes (uint8) of shape `n height width 3`, a tensor or an array.

        Raises:
            ValueError: They are something else.
        """
        found = []
        for part in checked(images, "image").split(ENCODED_TOGETHER):
            pixels = self.preprocessing(part.to(self.device))
            with computing_in(self.precision, self.device):
                found.append(encode_frames(self.encoder, pixels).to(pixels.dtype))
        return torch.cat(found)

    def save(self, folder: str | Path, *, half: bool = False) -> None:
        """Write `model.safetensors` and `config.json`.

        Args:
            folder: Made if need be.
            half: Whether to store weights in 16 bits.

        Raises:
            CheckpointError: Its weights were rounded by `lower`.
        """
        self.check_whole()
        save_model(Path(folder), weights=self.state_dict(), config=to_json(self.config), half=half)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> "VJEPA2":
        """Return the model in `folder`: the encoder, and the masked predictor if it is there.

        Raises:
            CheckpointError: A file is missing or broken, or the weights are not what the
                configuration says.
        """
        folder = Path(folder)
        source = folder / CONFIG_FILE
        config = from_json(ModelConfig, read_json(source), source=source)
        model = assemble(config, load_weights(folder), source=folder / WEIGHTS_FILE)
        return model.to(device)


def features(
    encoder: VisionTransformer,
    preprocessing: Preprocessing,
    frames: Pixels,
    precision: str = "float32",
) -> Float[Tensor, "n tokens dim"]:
    """Return what the encoder makes of videos: its last LayerNorm's output, as released.

    Args:
        encoder: Computes where it is.
        preprocessing: Frames its input.
        frames: Bytes (uint8) of shape `n time height width 3`, a whole number of tubelets. A single
            frame is an image: an encoder without a stem for images gets it repeated to fill a
            tubelet.
        precision: In what the encoder computes; see `learning.precision`.

    Raises:
        ValueError: They are something else, or `time` is no whole number of tubelets.
    """
    device, config = next(encoder.parameters()).device, encoder.config
    frames = checked(frames, "video")
    time = frames.shape[1]
    if time == 1 and not config.image_tokens:
        frames, time = frames.expand(-1, config.tubelet_size, -1, -1, -1), config.tubelet_size
    parts = []
    for part in frames.split(max(1, ENCODED_TOGETHER // time)):
        pixels = preprocessing(part.to(device).flatten(0, 1))
        with computing_in(precision, device):
            tokens = encoder(pixels.unflatten(0, (-1, time)).transpose(1, 2))
        parts.append(tokens.to(pixels.dtype))
    return torch.cat(parts)


def assemble(config: ModelConfig, weights: Weights, *, source: Path) -> VJEPA2:
    """Return the model of weights named as in a model folder, which are copied, to float32.

    Raises:
        CheckpointError: They are not what the configuration says; tells the differences.
    """
    predictor = None
    with torch.device("meta"):  # Nothing is drawn at random that would be replaced at once.
        encoder = VisionTransformer(config.encoder)
        if any(name.startswith(PREDICTOR) for name in weights):
            predictor = MaskedPredictor(config.predictor, config.encoder.width)
    fill(weights, source=source, encoder=encoder, predictor=predictor)
    return VJEPA2(config, encoder, predictor)


def fill(weights: Weights, *, source: Path, **parts: nn.Module | None) -> None:
    """Give modules built on the device `meta` memory, and the weights that begin with their names.

    Raises:
        CheckpointError: They do not fit; tells the differences in all of them.
    """
    whole = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
    load_into(whole.to_empty(device="cpu"), weights, source=source)
