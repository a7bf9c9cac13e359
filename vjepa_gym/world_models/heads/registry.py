"""Which heads there are, and what each of them is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float16
from torch import nn

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.learning.tasks import Task
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.types import Frames
from vjepa_gym.world_models.presets import ModelConfig


@dataclass(frozen=True, kw_only=True)
class HeadData:
    """What a head learns from.

    Attributes:
        latents: Of all frames, in 16 bits, in a memory map.
        frames: The episodes that they are of.
    """

    latents: Float16[np.ndarray, "rows tokens dim"]
    frames: Frames


@dataclass(frozen=True, kw_only=True)
class HeadKind:
    """What a head is made of, and how it is trained.

    Attributes:
        config: The dataclass of its sizes, all with defaults.
        sizes: Returns those of a new head.
        module: Returns the head with new weights, drawn from torch's default generator.
        task: Returns what the training loop trains it by. It may fit the head's buffers, such as
            the spread of poses; a resumed training takes those of the checkpoint.
        training: Returns how it is trained by default: in minutes on two CPU cores.
    """

    config: type[Any]
    sizes: Callable[[], Any]
    module: Callable[[Any, ModelConfig], nn.Module]
    task: Callable[[HeadData, Any, TrainingConfig], Task]
    training: Callable[[], TrainingConfig]


class _Heads(Mapping[str, HeadKind]):
    """Heads by name, each imported when it is asked for."""

    def __init__(self, kinds: Mapping[str, Callable[[], HeadKind]]) -> None:
        self._kinds = MappingProxyType(dict(kinds))

    def __getitem__(self, name: str) -> HeadKind:
        if name not in self._kinds:
            raise UnknownNameError("head", name, self._kinds)
        return self._kinds[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def _inverse() -> HeadKind:
    from vjepa_gym.world_models.heads.inverse import InverseDynamics, InverseDynamicsConfig
    from vjepa_gym.world_models.heads.inverse_task import (
        InverseTask,
        inverse_sizes,
        inverse_training,
    )

    return HeadKind(
        config=InverseDynamicsConfig,
        sizes=inverse_sizes,
        module=InverseDynamics,
        task=InverseTask,
        training=inverse_training,
    )


def _macro() -> HeadKind:
    from vjepa_gym.world_models.heads.macro import MacroModel, MacroModelConfig
    from vjepa_gym.world_models.heads.macro_task import MacroTask, macro_training

    return HeadKind(
        config=MacroModelConfig,
        sizes=MacroModelConfig,
        module=MacroModel,
        task=MacroTask,
        training=macro_training,
    )


def _decoder() -> HeadKind:
    from vjepa_gym.world_models.heads.decoder import Decoder, DecoderConfig
    from vjepa_gym.world_models.heads.decoder_task import DecoderTask, decoder_training

    return HeadKind(
        config=DecoderConfig,
        sizes=DecoderConfig,
        module=Decoder,
        task=DecoderTask,
        training=decoder_training,
    )


HEADS: Mapping[str, HeadKind] = _Heads({"inverse": _inverse, "macro": _macro, "decoder": _decoder})
"""Every head by name; to ask for one that there is not raises `UnknownNameError`."""
