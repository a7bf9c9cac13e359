"""V-JEPA 2-AC as a world model: encoder, predictor and preprocessing in one, kept in one folder."""

import logging
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    from_json,
    load_into,
    load_weights,
    read_json,
    save_model,
    to_json,
)
from vjepa_gym.learning.precision import Frozen, computing_in
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context, Imagined, WorldModel
from vjepa_gym.world_models.encoder import VisionTransformer, encode_frames
from vjepa_gym.world_models.familiarity import FAMILIARITY_FILE, Familiarity
from vjepa_gym.world_models.gates import Gates
from vjepa_gym.world_models.imagination import imagine
from vjepa_gym.world_models.pixels import Pixels, checked
from vjepa_gym.world_models.poses import follow
from vjepa_gym.world_models.preprocessing import Preprocessing
from vjepa_gym.world_models.presets import ModelConfig
from vjepa_gym.world_models.vjepa2 import features

GATES_FILE = "gates.json"
ENCODED_TOGETHER = 64
"""Images that pass the encoder at once."""

logger = logging.getLogger(__name__)


class VJEPA2AC(Frozen):
    """The world model that agents plan with. It is frozen; gradients reach actions only.

    Attributes:
        config: Sizes of everything.
        encoder: From images to latents.
        predictor: From latents and an action to the next latents.
        gates: What was measured on held-out episodes, if it was.
        familiarity: What the views that it was trained on look like to it, if that was measured.
        precision: In what it computes; `lower` changes it.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: nn.Module,
        predictor: ACPredictor,
        gates: Gates | None = None,
        familiarity: Familiarity | None = None,
    ) -> None:
        """Put the world model together.

        Args:
            config: Sizes of everything.
            encoder: A `VisionTransformer`. To train and to plan, any module will do whose `config`
                is an `EncoderConfig` (image and tubelet size, width) and that maps videos
                [batch 3 time height width] to tokens [batch tokens width], row by row.
            predictor: Predicts in its latents.
            gates: What was measured on held-out episodes, if it was.
            familiarity: What the views that it was trained on look like to it, if that was
                measured.
        """
        super().__init__()
        self.config = config
        self.encoder = cast("VisionTransformer", encoder)
        self.predictor = predictor
        self.preprocessing = Preprocessing(config.preprocessing, config.encoder.image_size)
        self.gates = gates
        self.familiarity = familiarity
        self.to(predictor.state_mean.device).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, images: Pixels) -> Float[Tensor, "n tokens dim"]:
        """Return the latents of single images, cropped and scaled to the model's own size.

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

    @torch.no_grad()
    def encode_video(self, frames: Pixels) -> Float[Tensor, "n tokens dim"]:
        """Return the features of videos, ordered by time, row, column; see `vjepa2.features`.

        Args:
            frames: Bytes (uint8) of shape `n time height width 3`, a tensor or an array.

        Raises:
            ValueError: They are something else, or no whole number of tubelets.
        """
        return features(self.encoder, self.preprocessing, frames, self.precision)

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return what would be seen after each of the actions.

        The oldest frames of `context` are left out where they and the horizon together would make
        more steps than the predictor was trained on.
        """
        kept = max(1, self.config.ac_predictor.context_frames - actions.shape[2] + 1)
        recent = Context(
            latents=context.latents[:, -kept:],
            poses=context.poses[:, -kept:],
            actions=context.actions[:, max(0, context.actions.shape[1] - kept + 1) :],
            extrinsics=None if context.extrinsics is None else context.extrinsics[:, -kept:],
        )
        gradients = torch.is_grad_enabled() and actions.requires_grad
        with torch.set_grad_enabled(gradients), computing_in(self.precision, self.device):
            imagined = imagine(self.predictor, recent, actions)
        return replace(imagined, latents=imagined.latents.to(context.latents.dtype))

    def save(self, folder: str | Path, *, half: bool = False) -> None:
        """Write `model.safetensors`, `config.json` and what was measured.

        That is `gates.json` and `familiarity.safetensors`, of which each is there if the model has
        it. An older familiarity, of other weights, goes.

        Args:
            folder: Made if need be.
            half: Whether to store weights in 16 bits, as shipped ones are.

        Raises:
            CheckpointError: Its weights were rounded by `lower`.
        """
        self.check_whole()
        extra: dict[str, Any] = {"gates": self.gates.to_json()} if self.gates else {}
        save_model(
            Path(folder), weights=self.state_dict(), config=to_json(self.config), half=half, **extra
        )
        if self.familiarity is None:
            (Path(folder) / FAMILIARITY_FILE).unlink(missing_ok=True)
        else:
            self.familiarity.save(Path(folder) / FAMILIARITY_FILE, self.encoder)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> "VJEPA2AC":
        """Return the world model in `folder`.

        Raises:
            CheckpointError: A file is missing or broken, or the weights are not what the
                configuration says.
        """
        folder = Path(folder)
        source = folder / CONFIG_FILE
        config = from_json(ModelConfig, read_json(source), source=source)
        measured = folder / GATES_FILE
        gates = None
        if measured.exists():
            gates = from_json(Gates, read_json(measured), source=measured)
        encoder = VisionTransformer(config.encoder)
        predictor = ACPredictor(config.ac_predictor, config.encoder.width)
        model = cls(config, encoder, predictor, gates)
        load_into(model, load_weights(folder), source=folder / WEIGHTS_FILE)
        model.familiarity = _familiarity(folder, model.encoder)
        return model.to(device)


class Persistence:
    """A control: a world in which nothing changes but the pose. A plan in it is a blind guess."""

    def __init__(self, world_model: WorldModel) -> None:
        self._world_model = world_model

    def encode(self, images: UInt8[Tensor, "n height width 3"]) -> Float[Tensor, "n tokens dim"]:
        """Return what the wrapped world model makes of the images."""
        return self._world_model.encode(images)

    def imagine(self, context: Context, actions: Float[Tensor, "n samples horizon 7"]) -> Imagined:
        """Return the current latents, again and again."""
        samples, horizon = actions.shape[1:3]
        return Imagined(
            context=context,
            actions=actions,
            latents=context.latents[:, -1][:, None, None].expand(-1, samples, horizon, -1, -1),
            poses=follow(context.poses[:, -1:].expand(-1, samples, -1), actions),
        )


def _familiarity(folder: Path, encoder: nn.Module) -> Familiarity | None:
    """Return what lies beside a model, if it is of this encoder."""
    path = folder / FAMILIARITY_FILE
    if not path.is_file():
        return None
    found = Familiarity.load(path, encoder)
    if found is None:
        logger.warning(
            "%s was measured with another encoder and is left aside; `vjepa-gym gates job.model=%s`"
            " measures it again.",
            *(path, folder),
        )
    return found


def shipped_world_models() -> dict[str, Path]:
    """Return the folders of the world models that come with the package, by name."""
    root = Path(str(files("vjepa_gym.checkpoints")))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{WEIGHTS_FILE}"))}


def load_world_model(
    name_or_path: str | Path,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> VJEPA2AC:
    """Return a world model, whatever `loading.load` takes for one.

    Args:
        name_or_path: Which.
        device: Where to compute.
        precision: In what; see `VJEPA2AC.lower`.

    Raises:
        UnknownNameError: It is no name and no path; lists the names.
        CheckpointError: There is no model, it is damaged, or it is an encoder only.
    """
    from vjepa_gym.world_models.loading import load  # It loads what is defined here.

    model = load(name_or_path, device=device, precision=precision)
    if not isinstance(model, VJEPA2AC):
        raise CheckpointError(
            f"{name_or_path} holds an encoder only; a world model has an action-conditioned"
            " predictor too, which `vjepa-gym train` adds."
        )
    return model
