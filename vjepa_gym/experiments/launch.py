"""From words to a run: Hydra composes, we check, note down what is run, and run it."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.experiments.config import (
    GROUPS,
    PRESETS,
    SWAPPED,
    WHOLE,
    WHOLE_PRESETS,
    ExperimentConfig,
    job_of,
    mapping_keys,
    preset_group,
    register,
    typed_key,
)
from vjepa_gym.experiments.mistakes import UsageError, explain
from vjepa_gym.experiments.progress import CONSOLE
from vjepa_gym.experiments.run_folder import in_silence, log_to, note_down
from vjepa_gym.experiments.running import run
from vjepa_gym.experiments.together import is_first
from vjepa_gym.learning.distributed import join_world


def launch(overrides: list[str]) -> int:
    """Compose the configuration of `overrides` and run it; with `-m`, each of a sweep.

    Returns:
        0, or 1 if some run of a sweep failed; the others are run all the same.

    Raises:
        VJEPAGymError: There is nothing to run, or the only run failed.
    """
    register()
    failures: list[VJEPAGymError] = []

    def task(config: DictConfig) -> None:
        # Hydra would print an error of its own before ours.
        try:
            _run_one(config)
        except VJEPAGymError as error:
            failures.append(error)

    check_presets(overrides)
    # Errors come to us, rather than to Hydra's own printer, which ends the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra reads its words from here only.
    sys.argv[1:] = flags_first(with_mappings(with_presets(overrides)))
    if not is_first():
        # The folder of the run is the first process's: others would make more, a moment later.
        sys.argv.append("hydra.run.dir=.")
    try:
        hydra.main(version_base="1.3", config_path="presets", config_name="experiment")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from error
    if len(failures) == 1:
        raise failures[0]
    for failure in failures:
        CONSOLE.print(f"vjepa-gym: {failure}", markup=False)
    return 1 if failures else 0


def with_presets(overrides: list[str]) -> list[str]:
    """Return overrides in which `agent.planner=fast` is said as Hydra has it said.

    Hydra calls what fills a key from a file or a preset a group, and has it appended with a plus,
    unless there is a default that it takes the place of.
    """
    job = job_of(overrides)
    keys = {*PRESETS.get(job, {}), *([WHOLE] if job in WHOLE_PRESETS else [])}
    words = []
    for word in overrides:
        key, equals, value = word.partition("=")
        if equals and key in keys:
            word = f"{'' if key in SWAPPED else '+'}{preset_group(job, key)}={value}"
        words.append(word)
    return words


def check_presets(overrides: list[str]) -> None:
    """Look for `job.model.encoder.depth=2` where `job.model` is nothing before a preset is named.

    And for `agent.planner=fast` of an agent that does not plan.

    Raises:
        UsageError: There is such a word; says what else to type.
    """
    job = job_of(overrides)
    for word in overrides:
        key, equals, _ = word.partition("=")
        if equals and key in SWAPPED and key in PRESETS.get(job, {}):
            _check_has(key, overrides)
    for key, presets in PRESETS.get(job, {}).items():
        group, _, name = key.partition(".")
        if group != "job" or getattr(GROUPS["job"][job](), name) is not None:
            continue
        within = [word for word in overrides if word.startswith(f"{key}.")]
        if within and not any(word.startswith(f"{key}=") for word in overrides):
            raise UsageError(
                f"{within[0]!r}: {key} is not set by default; name a preset of it as well:"
                f" {key}=<{'|'.join(presets)}>."
            )


def _check_has(key: str, overrides: list[str]) -> None:
    """Raise if an option that was named has no such key."""
    group, _, field = key.partition(".")
    named = [word.partition("=")[2] for word in overrides if word.startswith(f"{group}=")]
    options = [
        name
        for name, node in GROUPS[group].items()
        if field in {one.name for one in dataclasses.fields(node)}
    ]
    for name in ",".join(named).split(",") if named else []:
        if name in GROUPS[group] and name not in options:
            raise UsageError(f"{group}={name} has no {field}; {group}=<{'|'.join(options)}> has.")


def with_mappings(overrides: list[str]) -> list[str]:
    """Return overrides in which `job.labs.test=1` is said as Hydra has it said.

    Without two pluses Hydra sets only those keys of a mapping that its default has.
    """
    keys = mapping_keys(job_of(overrides))
    words = []
    for word in overrides:
        key, equals, _ = word.partition("=")
        words.append(f"++{word}" if equals and _is_within(key, keys) else word)
    return words


def _is_within(key: str, keys: Collection[str]) -> bool:
    return any(key == above or key.startswith(f"{above}.") for above in keys)


def flags_first(words: list[str]) -> list[str]:
    """Return the words with Hydra's flags in front: it takes none between overrides."""
    parser = argparse.ArgumentParser("vjepa-gym", add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    flags, others = parser.parse_known_args(words)
    sweep = ["--multirun"] if flags.multirun else []
    return [*sweep, *(["--cfg", flags.cfg] if flags.cfg else []), *others]


def as_typed(overrides: Sequence[str]) -> list[str]:
    """Return the words that a user types for Hydra's overrides.

    The inverse of `with_presets` and `with_mappings`.
    """
    words, mappings = [], mapping_keys(job_of(overrides))
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "job":
            words.append(value)
        elif key.lstrip("+").startswith("presets/"):
            words.append(f"{typed_key(key.lstrip('+'))}={value}")
        elif key.startswith("++") and _is_within(key[2:], mappings):
            words.append(override[2:])
        else:
            words.append(override)
    return words


def _run_one(config: DictConfig) -> None:
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        experiment = _checked(config)
    except VJEPAGymError:
        if is_first():
            folder.rmdir()  # Hydra made it for a run that will not be
        raise
    if is_first():
        # As it was checked: what a key means by its default is filled in.
        note_down(OmegaConf.structured(experiment), folder, as_typed(settings.overrides.task))
    with log_to(folder) if is_first() else in_silence(), join_world():
        run(experiment, folder)


def _checked(config: DictConfig) -> ExperimentConfig:
    """Return plain dataclasses; from here on there is no Hydra."""
    try:
        experiment = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise explain(error) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    assert isinstance(experiment, ExperimentConfig)
    return experiment
