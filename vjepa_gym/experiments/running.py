"""Each job, run with what it needs, its progress and its results shown."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vjepa_gym.experiments.audit.findings import ERROR
from vjepa_gym.experiments.audit.report import PAGE, show_audit, write_audit
from vjepa_gym.experiments.audit.tree import walk_dataset
from vjepa_gym.experiments.benchmark.report import Benchmark
from vjepa_gym.experiments.config import GROUPS, ExperimentConfig
from vjepa_gym.experiments.convert.report import show_converted
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.jobs.audit import AuditConfig, DefectsFoundError, run_audit
from vjepa_gym.experiments.jobs.benchmark import BenchmarkConfig, run_benchmark
from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect
from vjepa_gym.experiments.jobs.convert import ConvertConfig, plan_conversion, run_conversion
from vjepa_gym.experiments.jobs.demo import DemoConfig, folder_name, run_demo
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, OnEpisode, run_evaluate
from vjepa_gym.experiments.jobs.features import FeaturesConfig, run_features
from vjepa_gym.experiments.jobs.gates import GatesConfig, run_gates
from vjepa_gym.experiments.jobs.goal import GoalConfig, run_goal
from vjepa_gym.experiments.jobs.pretrain import PretrainConfig, run_pretrain
from vjepa_gym.experiments.jobs.probe import ProbeConfig, run_probe
from vjepa_gym.experiments.jobs.train import TrainConfig, run_train
from vjepa_gym.experiments.progress import progress, size
from vjepa_gym.experiments.report import show_results
from vjepa_gym.experiments.results import Evaluation
from vjepa_gym.experiments.rollout import EpisodeRecord
from vjepa_gym.experiments.seeing.watching import watch
from vjepa_gym.experiments.settings import EnvConfig
from vjepa_gym.experiments.together import is_first
from vjepa_gym.goal_file import GoalFile, read_goal
from vjepa_gym.world_models.gates import Gates

logger = logging.getLogger(__name__)
RESULTS = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_first())
"""Where results are shown; progress and log lines go elsewhere, to the standard error."""


def run(experiment: ExperimentConfig, folder: Path) -> None:
    """Do the job of an experiment; what has no place of its own is written to `folder`."""
    match experiment.job:
        case DemoConfig() as job:
            demo(job, folder)
        case EvaluateConfig() as job:
            show_results(RESULTS, evaluate(experiment, job, folder), folder)
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
        case ProbeConfig() as job:
            probe(job, folder)
        case FeaturesConfig() as job:
            features(job, folder)
        case GatesConfig() as job:
            gates = run_gates(job)
            text = json.dumps(gates.to_json(), indent=1)
            (folder / "gates.json").write_text(text + "\n", encoding="utf-8")
            show_gates(gates)


def demo(job: DemoConfig, folder: Path) -> None:
    """Let the shipped model reach, showing how far it is and how often it succeeds."""
    total = job.evaluation.episodes * (1 + len(job.evaluation.controls)) * len(job.tasks)
    with _episodes("demo", total) as on_episode:
        evaluations = run_demo(job, folder, on_episode)
    for task, evaluation in evaluations.items():
        show_results(RESULTS, evaluation, folder / folder_name(task))
    RESULTS.print(f"All   {(folder / 'index.html').resolve()}")


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
    show_gates(model.gates)


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


def probe(job: ProbeConfig, folder: Path) -> None:
    """Read hand and objects from encoders, showing how far it is."""
    with progress("probe", job.readings, "readings") as report:
        readings = run_probe(job, lambda done, what: report(done, {"now": what}))
    table = Table("model", "target", "probe", "error", "untrained", "chance", "ratio")
    for one in readings:
        errors = [f"{x:.1f} mm" for x in (one.error_mm, one.untrained_mm, one.chance_mm)]
        table.add_row(one.model, one.target, one.probe, *errors, f"{one.ratio:.2f}")
    RESULTS.print(table)
    content = [{**asdict(one), "ratio": one.ratio} for one in readings]
    (folder / "probes.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def features(job: FeaturesConfig, folder: Path) -> None:
    """Show what encoders make of a video, and say how much of it the colours show."""
    table = Table("model", "patches", "explained by red, green, blue", "deviation", "rank")
    for one in run_features(job, folder):
        parts = "  ".join(f"{part:.1%}" for part in one.explained)
        figures = [f"{one.deviation:.3f}", f"{one.rank:.1f}"]
        table.add_row(one.model, f"{one.patches} x {one.patches}", parts, *figures)
    RESULTS.print(table)
    RESULTS.print(f"The video, the stills and the figures are in {folder}.")


def evaluate(experiment: ExperimentConfig, job: EvaluateConfig, folder: Path) -> Evaluation:
    """Evaluate the agent of an experiment and its controls, showing how far it is."""
    factory = Factory(experiment.world_model)
    where, options, seeds = experiment.env, None, None
    if job.goal:
        goal = read_goal(job.goal)
        where, seeds = goal_scene(goal, experiment.env)
        options = goal.reset_options(where.image_size)
        if seeds:
            RESULTS.print(f"The goal was made in {where.id} with seed {seeds[0]}: there it goes.")
    (name,) = [name for name, kind in GROUPS["agent"].items() if type(experiment.agent) is kind]
    controls = factory.controls(job.controls, experiment.agent, job.first_seed)
    envs = environments(where, job.num_envs if seeds is None else 1, processes=job.processes)
    agents = {name: factory.agent(experiment.agent, envs), **controls}
    episodes = job.episodes if seeds is None else len(seeds)
    with closing(envs), _episodes("evaluate", episodes * len(agents)) as on_episode:
        return run_evaluate(
            job,
            envs=envs,
            agents=agents,
            folder=folder,
            title=f"{where.id}: {name}",
            seeds=seeds,
            options=options,
            facts=factory.facts(experiment.agent),
            configuration=asdict(experiment),
            on_episode=on_episode,
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


def show_gates(gates: Gates | None) -> None:
    """Show what was measured, and what of it should be better before anyone plans."""
    if gates is None:
        return
    table = Table("gate", "measured")
    for name, value in gates.to_json().items():
        numbers = value if isinstance(value, list) else [value]
        table.add_row(name.replace("_", " "), "  ".join(f"{number:.3g}" for number in numbers))
    RESULTS.print(table)
    for failure in gates.failures():
        RESULTS.print(f"not passed: {failure}")
