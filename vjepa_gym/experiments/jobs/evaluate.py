"""How often an agent succeeds, with intervals, beside controls on the same seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from vjepa_gym.agents.controls import Expert, HoldStill, RandomAgent
from vjepa_gym.errors import UnknownNameError
from vjepa_gym.experiments.camera.settings import CameraSweep
from vjepa_gym.experiments.causes import Cause, failures
from vjepa_gym.experiments.familiar import FirstLook
from vjepa_gym.experiments.report import write_report
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.rollout import EpisodeRecord, rollout
from vjepa_gym.types import Agent
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

DEFAULT_CONTROLS = ("no_proposals", "inverse", "persistence", "hold_still", "random", "expert")
"""What stands beside an agent unless something else is asked for, as far as it makes sense."""
Explain = Callable[[Sequence[int]], Mapping[int, Cause]]
"""Says why episodes failed, by seed."""
OnEpisode = Callable[[str, EpisodeRecord], None]
"""Called with the agent's name as soon as one of its episodes is over."""


@dataclass(kw_only=True)
class EvaluateConfig:
    """How much is measured, and against what."""

    episodes: int = 50
    """Episodes an agent; an interval is then at most 14 points to either side."""
    first_seed: int = 0
    """Episodes have this seed and the following ones, for every agent the same."""
    num_envs: int = 4
    """Robots that are driven at the same time."""
    processes: bool = False
    """Whether each environment has a process of its own."""
    controls: list[str] = field(default_factory=lambda: list(DEFAULT_CONTROLS))
    """Agents that bound the figures: `no_proposals` plans without the model's inverse-dynamics
    head, and `inverse` is that head alone; `persistence` plans likewise but imagines that nothing
    changes, `expert` does what the environment's own expert would. Of these, the ones that make
    sense; an agent without proposals has `with_proposals` beside it."""
    near_distance: float = 0.02
    """A distance to the goal that is reported beside success [m]."""
    videos: int = 50
    """Of how many episodes to keep a video."""
    causes: int = 0
    """Of how many failed episodes of an agent that plans to find out why: each is run again with an
    exhaustive search, and with the simulator in the model's place, which takes a minute or two."""
    goal: str = ""
    """A goal file that `vjepa-gym goal` made, instead of the task's own goals; or a frame of an
    episode: `<dataset>:<episode>:<frame>`. One that was made in simulation brings its environment
    and its seed with it, so that there is one episode."""
    camera: CameraSweep = field(default_factory=CameraSweep)
    """Offsets at which the camera stands, for a study instead of one evaluation."""

    def __post_init__(self) -> None:
        for name in ("episodes", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("first_seed", "near_distance", "videos", "causes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


def make_envs(
    env_id: str, num_envs: int, *, processes: bool = False, **kwargs: Any
) -> gym.vector.VectorEnv:
    """Return environments side by side that restart only when they are told to.

    Args:
        env_id: Registered name.
        num_envs: How many.
        processes: Whether each has a process of its own.
        kwargs: Given to each environment.
    """
    # Drawing contexts do not survive a fork.
    context = {"context": "spawn"} if processes else {}
    return gym.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="async" if processes else "sync",
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.DISABLED} | context,
        **kwargs,
    )


def make_controls(
    names: list[str],
    *,
    blind: Callable[[], Agent] | None = None,
    seed: int = 0,
    others: Mapping[str, Callable[[], Agent]] | None = None,
) -> dict[str, Agent]:
    """Return the controls of an agent, by name.

    Args:
        names: Which: `hold_still`, `random`, `expert`, `persistence` if there is `blind`, and those
            of `others`.
        blind: Makes the agent under test with a world model in which nothing changes; None for an
            agent without a world model, which has no such control.
        seed: Seeds the random moves.
        others: Make further controls, by name.

    Raises:
        UnknownNameError: There is no such control.
    """
    makers: dict[str, Callable[[], Agent]] = {
        "hold_still": HoldStill,
        "random": partial(RandomAgent, seed),
        "expert": Expert,
        **(others or {}),
    }
    if blind:
        makers["persistence"] = blind
    for name in names:
        if name not in makers:
            raise UnknownNameError("control", name, makers)
    return {name: makers[name]() for name in names}


def model_card(world_model: VJEPA2AC, name: str) -> dict[str, Any]:
    """Return what is known about a model, for the page: its size and its gates."""
    encoder, predictor = (
        sum(weight.numel() for weight in part.parameters()) / 1e6
        for part in (world_model.encoder, world_model.predictor)
    )
    card: dict[str, Any] = {
        "model": name,
        "parameters": f"encoder {encoder:.2f} M, predictor {predictor:.2f} M",
        "image size": f"{world_model.config.encoder.image_size} px",
    }
    if world_model.gates is None:
        return card | {"gates": "not measured"}
    failures = world_model.gates.failures() or ["all passed"]
    table = {row.gate: f"{row.measured} ({row.wanted})" for row in world_model.gates.rows()}
    return card | {"gates": "; ".join(failures)} | table


def run_evaluate(
    config: EvaluateConfig,
    *,
    envs: gym.vector.VectorEnv,
    agents: Mapping[str, Agent],
    folder: Path,
    title: str,
    seeds: Sequence[int] | None = None,
    options: dict[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
    on_episode: OnEpisode | None = None,
    explain: Explain | None = None,
    world_model: VJEPA2AC | None = None,
) -> Evaluation:
    """Run every agent on the same seeds and write the report to `folder`.

    Args:
        config: How much is measured.
        envs: Where; see `make_envs`.
        agents: The agent under test first, then its controls.
        folder: Where the report goes; its page is `index.html`.
        title: What is evaluated.
        seeds: Of the episodes; those of `config` by default.
        options: Given to every reset.
        facts: What is known about the model, for the page.
        configuration: What the run was told, for the page; `config` by default.
        on_episode: Called after each episode.
        explain: Says why the first agent's failures failed, of as many as `config` says.
        world_model: What the first agent sees with. How far what it sees is from the model's
            training is told if it is far, and added to `facts`.
    """
    if seeds is None:
        seeds = range(config.first_seed, config.first_seed + config.episodes)
    first = next(iter(agents))
    look = FirstLook(agents[first], world_model) if world_model else None
    looking = {**agents, first: look} if look else agents
    records = _run(looking, envs, seeds, options, on_episode, record=config.videos > 0)
    failed = failures(records[first])[: config.causes]
    evaluation = Evaluation(
        title=title,
        records=records,
        near_distance=config.near_distance,
        thresholds=(config.near_distance,),
        facts={**(facts or {}), **(look.facts if look else {})},
        configuration=configuration or asdict(config),
        causes=explain(failed) if explain and failed else {},
    )
    write_report(evaluation, folder, videos=config.videos)
    return evaluation


def _run(
    agents: Mapping[str, Agent],
    envs: gym.vector.VectorEnv,
    seeds: Sequence[int],
    options: dict[str, Any] | None,
    on_episode: OnEpisode | None,
    *,
    record: bool,
) -> dict[str, list[EpisodeRecord]]:
    """Return what each agent did, and if wanted what the first of them saw."""
    return {
        name: rollout(
            envs,
            agent,
            seeds,
            record_frames=record and number == 0,
            options=options,
            on_episode=partial(on_episode, name) if on_episode else None,
        )
        for number, (name, agent) in enumerate(agents.items())
    }
