"""Where the hand and the objects are, read from frozen latents, beside the untrained encoder's."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from vjepa_gym.datasets.droid.sidecar import read_extras, read_sidecar
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.experiments.frames import open_split
from vjepa_gym.learning.attentive_probe import fit_attentive
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.learning.layers import initialise
from vjepa_gym.learning.probes import Probe, fit_mlp, fit_ridge
from vjepa_gym.types import Frames
from vjepa_gym.world_models.latents import encoded
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

Model = VJEPA2 | VJEPA2AC
Tokens = Float[Tensor, "rows tokens dim"]
Targets = Float[Tensor, "rows targets"]
HAND, OBJECTS = "end effector", "objects"

FITS: Mapping[str, Callable[[Tokens, Targets, torch.Generator], Callable[[Tokens], Targets]]] = {
    "ridge": lambda x, y, generator: _flat(fit_ridge(x.flatten(1), y, generator=generator)),
    "mlp": lambda x, y, generator: _flat(fit_mlp(x.flatten(1), y, generator=generator)),
    "attentive": lambda x, y, generator: fit_attentive(x, y, generator=generator),
}
"""Readers by name: two that are given all tokens in order, and one that looks for what it needs."""

OnReading = Callable[[int, str], None]
"""Called with how many readings are done, and with what comes next."""


@dataclass(kw_only=True)
class ProbeConfig:
    """Which encoders are judged, by what, and on which episodes."""

    models: list[str] = field(default_factory=lambda: ["tiny"])
    """Names or folders, as `load` takes them."""
    data: str = "data/tabletop"
    """Folder of a dataset of ours, whose episodes say where objects were."""
    fitted: int = 600
    """Episodes, from the first, that the readers are fitted on."""
    held_out: int = 100
    """Episodes, at the end, that they are judged on; no model was trained on these."""
    probes: list[str] = field(default_factory=lambda: list(FITS))
    """Readers: `ridge` and `mlp` see all tokens in order, `attentive` is V-JEPA's."""
    seed: int = 0
    """Of the untrained weights and of the readers."""
    device: str = "auto"
    """Where to compute, as torch calls it."""

    @property
    def readings(self) -> int:
        """How many readings there are to do, for showing how far it is."""
        return len(self.models) * len(self.probes) * 4  # two targets, trained and untrained

    def __post_init__(self) -> None:
        if not self.models or not self.probes:
            raise ValueError("there must be at least one model and one probe")
        for name in self.probes:
            if name not in FITS:
                raise UnknownNameError("probe", name, FITS)
        if min(self.fitted, self.held_out) < 1:
            raise ValueError(
                f"fitted and held_out must be positive, got {self.fitted} and {self.held_out}"
            )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How far off a reader is, on episodes that it was not fitted on.

    Attributes:
        model: What was asked for.
        target: What is read: the end effector, all objects, or one of them by name.
        probe: How.
        error_mm: Mean absolute error an axis with the encoder's weights [mm].
        untrained_mm: The same with weights as they are before any training [mm].
        chance_mm: The same if the mean is said always [mm].
    """

    model: str
    target: str
    probe: str
    error_mm: float
    untrained_mm: float
    chance_mm: float

    @property
    def ratio(self) -> float:
        """The error, as a part of the untrained encoder's."""
        return self.error_mm / self.untrained_mm


def run_probe(config: ProbeConfig, on_reading: OnReading | None = None) -> list[Reading]:
    """Return how well hand and objects are read from the latents of single frames.

    Raises:
        CheckpointError: A model cannot be loaded.
        DatasetError: There are no such data, too few, or nobody noted where objects were.
    """
    done = 0

    def begin(what: str) -> None:
        nonlocal done
        if on_reading is not None:
            on_reading(done, what)
        done += 1

    readings = []
    for name in config.models:
        readings += _judge(name, config, begin)
    return readings


def object_positions(
    data: str, episodes: Sequence[int]
) -> tuple[list[str], Float32[np.ndarray, "rows targets"]]:
    """Return the names of the objects of episodes, and where each was in every row: x y z [m].

    Raises:
        DatasetError: An episode does not say, or has other objects than the first.
    """
    store = EpisodeStore(data)
    entries, found, objects = store.entries(), [], None
    for episode in episodes:
        folder = store.folder(entries[episode])
        names = read_sidecar(folder).get("info", {}).get("objects")
        extras, _ = read_extras(folder, entries[episode].rows)
        if not (extras and names) or "object_poses" not in extras or names != (objects or names):
            raise DatasetError(
                f"{folder} does not say where the objects {objects or ''} were, as episodes that"
                " `vjepa-gym collect` made do; probes need that."
            )
        objects = names
        found.append(extras["object_poses"][..., :3].reshape(len(extras["object_poses"]), -1))
    return objects or [], np.concatenate(found).astype(np.float32)


def _judge(name: str, config: ProbeConfig, begin: Callable[[str], None]) -> list[Reading]:
    model = load(name, device=config.device)
    frames = _frames(config, model.config.encoder.image_size)
    objects, wanted = _targets(config, frames, choose_device(config.device))
    untrained = deepcopy(model)
    initialise(untrained.encoder, torch.Generator().manual_seed(config.seed))
    errors = _errors(name, model, frames, wanted, config, begin)
    before = _errors(f"{name}, untrained", untrained, frames, wanted, config, begin)
    parts = {HAND: (HAND, slice(None)), OBJECTS: (OBJECTS, slice(None))}
    parts |= {one: (OBJECTS, slice(3 * i, 3 * i + 3)) for i, one in enumerate(objects)}
    chance = {
        what: (known.mean(0) - truth).abs().mean(0) for what, (known, truth) in wanted.items()
    }
    return [
        Reading(
            model=name,
            target=target,
            probe=probe,
            error_mm=_mean_mm(errors[what, probe][axes]),
            untrained_mm=_mean_mm(before[what, probe][axes]),
            chance_mm=_mean_mm(chance[what][axes]),
        )
        for target, (what, axes) in parts.items()
        for probe in config.probes
    ]


def _mean_mm(errors: Float[Tensor, " axes"]) -> float:
    return float(errors.mean()) * 1000


def _frames(config: ProbeConfig, size: int) -> tuple[Frames, Frames]:
    """Return the episodes that readers are fitted on, and those that they are judged on."""
    known, judged = open_split(config.data, size=size, held_out=config.held_out)
    spare = known.num_episodes - config.fitted
    if spare < 0:
        raise DatasetError(
            f"{config.data} has {known.num_episodes} episodes besides the {config.held_out} held"
            f" out; job.fitted={config.fitted} is more."
        )
    return (known.split(spare)[0] if spare else known), judged


def _targets(
    config: ProbeConfig, frames: tuple[Frames, Frames], device: torch.device
) -> tuple[list[str], dict[str, tuple[Tensor, Tensor]]]:
    """Return the names of the objects, and what is to be read in each row of both sets [m]."""
    fitted, judged = frames
    count = len(EpisodeStore(config.data))
    objects, known = object_positions(config.data, range(config.fitted))
    _, truth = object_positions(config.data, range(count - config.held_out, count))
    rows = {HAND: (fitted.poses[:, :3], judged.poses[:, :3]), OBJECTS: (known, truth)}
    return objects, {
        what: (torch.tensor(known, device=device), torch.tensor(truth, device=device))
        for what, (known, truth) in rows.items()
    }


def _errors(
    name: str,
    model: Model,
    frames: tuple[Frames, Frames],
    wanted: Mapping[str, tuple[Tensor, Tensor]],
    config: ProbeConfig,
    begin: Callable[[str], None],
) -> dict[tuple[str, str], Float[Tensor, " axes"]]:
    """Return the mean absolute error of each target and probe along each axis [m]."""
    tokens, unseen = (torch.cat(list(encoded(model, part))) for part in frames)
    found = {}
    for what, (known, truth) in wanted.items():
        for probe in config.probes:
            begin(f"{name}: {what}, {probe}")
            generator = torch.Generator().manual_seed(config.seed)
            read = FITS[probe](tokens, known, generator)
            found[what, probe] = (read(unseen) - truth).abs().mean(0)
    return found


def _flat(probe: Probe) -> Callable[[Tokens], Targets]:
    return lambda tokens: probe(tokens.flatten(1))
