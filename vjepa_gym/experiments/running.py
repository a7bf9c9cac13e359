"""Each job, run with what it needs, its progress and its results shown."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from vjepa_gym.experiments.audit.findings import ERROR
from vjepa_gym.experiments.audit.report import PAGE, show_audit, write_audit
from vjepa_gym.experiments.audit.tree import walk_dataset
from vjepa_gym.experiments.benchmark.report import Benchmark
from vjepa_gym.experiments.camera.job import sweep_camera
from vjepa_gym.experiments.compare.job import compare
from vjepa_gym.experiments.config import ExperimentConfig, agent_name
from vjepa_gym.experiments.convert.report import show_converted
from vjepa_gym.experiments.demo_report import show_demo
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.gate_report import show_gates
from vjepa_gym.experiments.goals import find_goal
from vjepa_gym.experiments.jobs.audit import AuditConfig, DefectsFoundError, run_audit
from vjepa_gym.experiments.jobs.benchmark import BenchmarkConfig, run_benchmark
from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect
from vjepa_gym.experiments.jobs.compare import CompareConfig
from vjepa_gym.experiments.jobs.convert import ConvertConfig, plan_conversion, run_conversion
from vjepa_gym.experiments.jobs.demo import DemoConfig, count_episodes, run_demo
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, OnEpisode, run_evaluate
from vjepa_gym.experiments.jobs.features import FeaturesConfig
from vjepa_gym.experiments.jobs.gates import GatesConfig
from vjepa_gym.experiments.jobs.goal import GoalConfig, run_goal
from vjepa_gym.experiments.jobs.heads import HeadsConfig, run_heads
from vjepa_gym.experiments.jobs.imagine import ImagineConfig
from vjepa_gym.experiments.jobs.landscape import LandscapeConfig
from vjepa_gym.experiments.jobs.pretrain import PretrainConfig, run_pretrain
from vjepa_gym.experiments.jobs.probe import ProbeConfig
from vjepa_gym.experiments.jobs.train import TrainConfig, run_train
from vjepa_gym.experiments.looking import look_into
from vjepa_gym.experiments.progress import RESULTS, progress, size
from vjepa_gym.experiments.report import show_results
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.rollout import EpisodeRecord
from vjepa_gym.experiments.seeing.watching import watch
from vjepa_gym.experiments.settings import EnvConfig
from vjepa_gym.goal_file import GoalFile

logger = logging.getLogger(__name__)


def run(experiment: ExperimentConfig, folder: Path) -> None:
    """Do the job of an experiment; what has no place of its own is written to `folder`."""
    match experiment.job:
        case DemoConfig() as job:
            demo(job, folder)
        case EvaluateConfig() as job:
            measure(experiment, job, folder)
        case CompareConfig() as job:
            compare(experiment, job, RESULTS)
        case CollectConfig() as job:
            collect(job)
        case AuditConfig() as job:
            audit(job, folder)
        case ConvertConfig() as job:
            convert(job)
        case BenchmarkConfig() as job:
            benchmark(job, folder)
        case GoalConfig() as job:
            made = run_goal(job, experiment.env, folder)
            RESULTS.print("Nothing was saved." if made is None else f"The goal is in {job.file}.")
        case PretrainConfig() | TrainConfig() as job:
            train(job)
        case HeadsConfig() as job:
            heads(job, folder)
        case ProbeConfig() | FeaturesConfig() | LandscapeConfig() | ImagineConfig() | GatesConfig():
            look_into(experiment, folder)


def demo(job: DemoConfig, folder: Path) -> None:
    """Let the shipped model do what it is shown, showing how far it is and how often it succeeds.

    What its model does not pass is said too.
    """
    with _episodes("demo", count_episodes(job)) as on_episode:
        shown = run_demo(job, folder, on_episode)
    show_demo(RESULTS, shown, folder)


def train(job: PretrainConfig | TrainConfig) -> None:
    """Train, showing how far it is; say where the model is, and what it passes."""
    if isinstance(job, PretrainConfig):
        with watch("pretrain", job) as on_step:
            run_pretrain(job, on_step)
        RESULTS.print(f"The encoder is in {job.folder}.")
        return
    with watch("train", job) as on_step:
        model = run_train(job, on_step)
    RESULTS.print(f"The world model is in {job.folder}.")
    if model.gates is not None:
        show_gates(RESULTS, model.gates)


def heads(job: HeadsConfig, folder: Path) -> None:
    """Train heads of a model, showing how far each is, and what they lose on held-out episodes."""
    judged = run_heads(job, watch)
    for name, figures in judged.items():
        told = ", ".join(f"{key} {value:.3g}" for key, value in figures.items())
        RESULTS.print(f"{name}, on held-out episodes: {told}")
    RESULTS.print(f"The heads are beside their model, in {job.folder or job.model}.")
    (folder / "heads.json").write_text(json.dumps(judged, indent=1) + "\n", encoding="utf-8")


def collect(job: CollectConfig) -> None:
    """Collect, showing how far it is."""
    for warning in job.warnings():
        logger.warning("%s", warning)
    with progress("collect", job.episodes, "episodes", each_minute=True) as report:

        def on_episode(done: int, _: int, successes: int, count: int) -> None:
            share = f"{successes} ({successes / max(done, 1):.0%})"
            report(done, {"successes": share, "size": size(count)})

        there = run_collect(job, on_episode)
    RESULTS.print(
        f"{job.root}: {there.found + there.recorded} episodes, {there.recorded} of them new,"
        f" {there.successes} successful, {size(there.bytes)}."
    )


def audit(job: AuditConfig, folder: Path) -> None:
    """Check a dataset, showing how far it is and what was found.

    Raises:
        DefectsFoundError: Something is wrong that a reader would trip over.
    """
    tree = walk_dataset(Path(job.root))
    with progress("audit", len(tree.episodes), "episodes") as report:
        found = run_audit(
            job, tree, lambda done, _total, bad: report(done, {"with errors": str(bad)})
        )
    write_audit(found, folder)
    show_audit(RESULTS, found, folder)
    if found.count(ERROR):
        page = (folder / PAGE).resolve()
        raise DefectsFoundError(f"{job.root}: {found.verdict()}; see {page}.")
    RESULTS.print(f"{job.root}: {found.verdict()}.")


def convert(job: ConvertConfig) -> None:
    """Convert a dataset, showing how far it is and what was left out."""
    plan = plan_conversion(job)
    with progress("convert", plan.total, "episodes") as report:
        converted = run_conversion(plan, lambda done, _total: report(done, {}))
    show_converted(RESULTS, converted)


def benchmark(job: BenchmarkConfig, folder: Path) -> None:
    """Measure how fast the simulator, or reading and writing data, is, showing how far it is."""
    with progress("benchmark", job.parts, "parts") as report:
        found = run_benchmark(job, folder, lambda done, part: report(done, {"now": part}))
    RESULTS.print("\n".join(figure_lines(found)))
    RESULTS.print(f"All of it is in {folder}.")


def figure_lines(found: Benchmark) -> list[str]:
    """Return what a benchmark found, two lines a figure, which a narrow terminal has room for."""
    lines = []
    for what, ours, other, ratio, wanted, met in found.rows():
        told = [f"ours {ours}"]
        told += [f"{found.other} {other}"] if other else []
        told += [f"ratio {ratio}"] if ratio else []
        told += [f"wanted {wanted}: {'met' if met == 'yes' else 'not met'}"] if wanted else []
        lines += [what, "    " + "   ".join(told)]
    return lines


def measure(experiment: ExperimentConfig, job: EvaluateConfig, folder: Path) -> None:
    """Evaluate an agent, or carry the camera round, and show what was found."""
    if job.camera.offsets:
        sweep_camera(experiment, job, folder, RESULTS)
    else:
        show_results(RESULTS, evaluate(experiment, job, folder), folder)


def evaluate(experiment: ExperimentConfig, job: EvaluateConfig, folder: Path) -> Evaluation:
    """Evaluate the agent of an experiment and its controls, showing how far it is."""
    factory = Factory(experiment.world_model)
    where, options, seeds = experiment.env, None, None
    if job.goal:
        goal = find_goal(job.goal)
        where, seeds = goal_scene(goal, experiment.env)
        options = goal.reset_options(where.image_size)
        if seeds:
            RESULTS.print(f"The goal was made in {where.id} with seed {seeds[0]}: there it goes.")
    name = agent_name(experiment.agent)
    envs = environments(where, job.num_envs if seeds is None else 1, processes=job.processes)
    episodes = job.episodes if seeds is None else len(seeds)
    with closing(envs):
        controls = factory.controls(job.controls, experiment.agent, job.first_seed, envs)
        agents = {name: factory.agent(experiment.agent, envs), **controls}
        facts = factory.facts(experiment.agent)
        with _episodes("evaluate", episodes * len(agents)) as on_episode:
            return run_evaluate(
                job,
                envs=envs,
                agents=agents,
                folder=folder,
                title=f"{where.id}: {name}",
                seeds=seeds,
                options=options,
                facts=facts,
                configuration=asdict(experiment),
                on_episode=on_episode,
                explain=factory.explainer(experiment.agent, where, options) if job.causes else None,
                world_model=factory.model if facts else None,
            )


def goal_scene(goal: GoalFile, env: EnvConfig) -> tuple[EnvConfig, list[int] | None]:
    """Return the environment that a goal belongs to, and the seed of its one episode.

    A photograph belongs to none: `env` and the job's seeds are taken.
    """
    if goal.scene is None:
        return env, None
    scene = goal.scene
    where = EnvConfig(id=scene.env, image_size=env.image_size, options=scene.keywords())
    return where, [scene.seed]


@contextmanager
def _episodes(title: str, total: int) -> Iterator[OnEpisode]:
    with progress(title, total, "episodes") as report:
        successes: dict[str, list[bool]] = {}

        def on_episode(agent: str, record: EpisodeRecord) -> None:
            successes.setdefault(agent, []).append(record.success)
            done = sum(map(len, successes.values()))
            mine = successes[agent]
            report(done, {agent: f"{sum(mine)} of {len(mine)}"})

        report(0, {})
        yield on_episode
