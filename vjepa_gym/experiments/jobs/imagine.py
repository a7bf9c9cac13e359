"""Show what a world model imagines of moves that were really made, beside what was then seen."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.experiments.frames import open_split
from vjepa_gym.experiments.progress import Report, progress
from vjepa_gym.experiments.seeing.films import Film, films_now, films_of
from vjepa_gym.experiments.seeing.imagined import Future, imagine_film, imagine_plan, plan_for
from vjepa_gym.experiments.seeing.imagined_pictures import write_errors, write_future
from vjepa_gym.experiments.seeing.showing import OF_PLANS, Showing, Titles
from vjepa_gym.experiments.settings import EnvConfig
from vjepa_gym.learning.checkpoints import write_json
from vjepa_gym.learning.devices import choose_device
from vjepa_gym.types import Agent, Frames
from vjepa_gym.world_models.heads.decoder import Decoder
from vjepa_gym.world_models.heads.files import folder_of, has_head, load_head
from vjepa_gym.world_models.nearest import NearestFrames, Norm
from vjepa_gym.world_models.post_training import frame_latents
from vjepa_gym.world_models.thinning import SomeImages
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, load_world_model

DECODER = "decoder"
FIGURES, ERRORS = "imagined.json", "errors.png"


class ImagineError(VJEPAGymError, ValueError):
    """Nothing can be shown; the message says what to change."""


@dataclass(kw_only=True)
class ImagineConfig:
    """Whose imagination is shown, and of what."""

    model: str = "tiny"
    """Name of a shipped model, or a folder that `train` left."""
    data: str = "data/tabletop"
    """Folder of the dataset: ours, or anybody's episodes in DROID's layout."""
    held_out: int = 100
    """Episodes at the end of the dataset, those that the model was not trained on."""
    episodes: list[int] = field(default_factory=lambda: [0])
    """Which of the held-out episodes, counted from 0; of `job.live`, the seeds."""
    live: bool = False
    """Whether the episodes are done now, by the environment's own expert (`env=reach`), rather
    than taken from the dataset."""
    start: int = 0
    """The row that is shown to the model; all after it is imagined."""
    horizon: int = 7
    """Steps that are imagined."""
    stride: int = 1
    """Rows from one step to the next, as the model was trained on."""
    hz: float = 4.0
    """Rows a second of anybody's episodes; of ours each row is a settled move."""
    skip_bad: bool = False
    """Whether to leave out damaged ones of anybody's episodes; else they are an error."""
    plan: bool = False
    """Whether the agent of group `agent` plans for the view `horizon` steps ahead, and what it
    plans is imagined, instead of the moves that were made. Its plans may be shorter."""
    decoded: bool = True
    """Whether to draw what is imagined, if the model has a decoder (`vjepa-gym heads`)."""
    candidates: int = 10_000
    """Frames, of the episodes that are not held out, among which the nearest are looked up; 0 takes
    all, -1 none. They are encoded the first time."""
    norm: Norm = Norm.l1
    """How far two views are apart."""
    latents_folder: str = ""
    """Where latents of frames are kept. By default `<data>.cache/latents`."""
    side: int = 192
    """Height and width of a panel [px]."""
    device: str = "auto"
    """Where to compute, as torch calls it; `auto` is a CUDA device if there is one."""

    def __post_init__(self) -> None:
        if not self.episodes or min(self.episodes) < 0:
            raise ValueError(f"episodes must name one or more, from 0; got {self.episodes}")
        if min(self.horizon, self.stride) < 1 or self.start < 0 or self.candidates < -1:
            raise ValueError(
                "horizon and stride must be positive, start not negative, candidates at least -1;"
                f" got {self.horizon}, {self.stride}, {self.start} and {self.candidates}"
            )
        if self.side < 96 or self.side % 2:
            raise ValueError(f"side must be even and at least 96, got {self.side}")
        if not self.latents_folder:
            data = Path(self.data)
            self.latents_folder = str(data.with_name(f"{data.name}.cache") / "latents")


def run_imagine(
    config: ImagineConfig,
    folder: Path,
    env: EnvConfig | None = None,
    agent: Agent | None = None,
) -> dict[str, Any]:
    """Write a video, an animated picture and stills of each episode, and the figures.

    Args:
        config: Of what.
        folder: Gets `episode_<number>.mp4`, `.gif` and `.png`, `errors.png` and `imagined.json`.
        env: Where episodes are done if they are done now; reaching, by default.
        agent: Who plans if `config.plan`: a planning agent with the same model.

    Returns:
        What `imagined.json` says.

    Raises:
        CheckpointError: There is no such model, or its decoder is of another encoder.
        DatasetError: There are no such data, no such episode, or it is too short.
        ImagineError: There is neither a decoder nor a frame to show the future with, or nobody
            who plans.
    """
    if config.plan and not isinstance(agent, PlanningAgent):
        raise ImagineError("job.plan=true shows what an agent plans; choose one: agent=planning.")
    device = choose_device(config.device)
    world_model = load_world_model(config.model, device)
    decoder = _decoder(config, world_model)
    films, known = _opened(config, world_model, env or EnvConfig())
    showing = Showing(
        model=world_model.config,
        decoder=decoder,
        known=known,
        nearest=None if known is None else _nearest(config, world_model, known),
        side=config.side,
    )
    folder.mkdir(parents=True, exist_ok=True)
    futures: list[Future] = []
    told: list[dict[str, Any]] = []
    for index, film in zip(config.episodes, films, strict=True):
        if isinstance(agent, PlanningAgent) and config.plan:
            future = imagine_plan(world_model, film, plan_for(agent, film), device)
        else:
            future = imagine_film(world_model, film, device)
        panels, figures = showing.panels(future, OF_PLANS if config.plan else Titles())
        write_future(folder, f"episode_{index}", panels)
        futures.append(future)
        told.append({"episode": index, **figures})
    errors, unchanged = [x.errors for x in futures], [x.unchanged for x in futures]
    write_errors(folder / ERRORS, errors, unchanged)
    about = {
        "model": config.model,
        "from": (env or EnvConfig()).id if config.live else config.data,
        "start": config.start,
        "error": np.mean(errors, 0).tolist(),
        "unchanged": np.mean(unchanged, 0).tolist(),
        "error_over_unchanged": (np.sum(errors, 0) / np.sum(unchanged, 0)).tolist(),
        "episodes": told,
    }
    write_json(folder / FIGURES, about)
    return about


def _decoder(config: ImagineConfig, world_model: VJEPA2AC) -> Decoder | None:
    """Return the decoder of the model, if it is wanted and there.

    Raises:
        ImagineError: There is none, and no frame is looked up either.
    """
    source = folder_of(config.model)
    if config.decoded and source is not None and has_head(DECODER, source):
        head = load_head(DECODER, source, world_model, world_model.device)
        assert isinstance(head, Decoder)
        return head
    if config.candidates < 0:
        raise ImagineError(
            f"There is nothing to show futures with: {config.model} has no decoder, or"
            " job.decoded=false, and job.candidates=-1 looks up no frame. Train a decoder"
            f" (vjepa-gym heads job.model={config.model} job.heads=[decoder]) or leave out"
            " job.candidates."
        )
    return None


def _opened(
    config: ImagineConfig, world_model: VJEPA2AC, env: EnvConfig
) -> tuple[list[Film], Frames | None]:
    """Return what is to be imagined, and the frames that are looked up among, if any."""
    known = held_out = None
    if not config.live or config.candidates >= 0:
        known, held_out = open_split(
            config.data,
            size=world_model.config.encoder.image_size,
            held_out=config.held_out,
            hz=config.hz,
            skip_bad=config.skip_bad,
        )
    which = {"start": config.start, "steps": config.horizon, "stride": config.stride}
    if config.live or held_out is None:
        films = films_now(env, config.episodes, **which)
    else:
        films = films_of(held_out, config.episodes, **which)
    if config.candidates < 0 or known is None:
        return films, None
    return films, _sampled(known, config.candidates)


def _sampled(frames: Frames, count: int) -> Frames:
    """Return about `count` frames, evenly spaced, as one episode; all of them if `count` is 0."""
    total = len(frames.images)
    if not 0 < count < total:
        return frames
    rows = np.linspace(0, total - 1, count).round().astype(np.int64)
    return Frames(
        images=SomeImages(frames.images, rows),
        poses=frames.poses[rows],
        offsets=np.array([0, count], np.int64),
    )


def _nearest(config: ImagineConfig, world_model: VJEPA2AC, known: Frames) -> NearestFrames:
    with ExitStack() as stack:
        shown: list[Report] = []

        def on_encoded(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(progress("encode", total, "frames")))
            shown[0](done, {})

        latents = frame_latents(
            world_model, known, Path(config.latents_folder), on_encoded=on_encoded
        )
    return NearestFrames(latents, known.images, norm=config.norm)
