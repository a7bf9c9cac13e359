"""What is wrong with a command line, said with the names that exist."""

import dataclasses
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ValidationError
from omegaconf.errors import OmegaConfBaseException as ConfigError

from vjepa_gym.errors import UnknownNameError, VJEPAGymError
from vjepa_gym.experiments.config import GROUPS, WHOLE, job_keys, job_of, typed_key
from vjepa_gym.experiments.usage import UsageError

NO_LIST = "is not a ListConfig"
"""What OmegaConf says of what is no list."""
AMBIGUOUS = "Ambiguous value for argument "
"""What Hydra says of `key=a,b` without `-m`."""


def explain(error: HydraException | ConfigError, overrides: Sequence[str] = ()) -> VJEPAGymError:
    """Return an error that a user can act on, for one of Hydra's or OmegaConf's.

    Args:
        error: What they say.
        overrides: The words that they say it of, as far as known.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        return UnknownNameError(f"option of {typed_key(group)}", name, options)
    cause = error if isinstance(error, ConfigError) else error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(cause, job_of(overrides))
    if isinstance(cause, ValidationError) and NO_LIST in str(cause):
        return _no_list(str(cause.full_key), overrides)
    if isinstance(cause, ConfigError):
        return UsageError(f"{cause.full_key}: {_first_line(cause)}")
    said = _first_line(error)
    if said.startswith(AMBIGUOUS):
        key, _, value = said.removeprefix(AMBIGUOUS).strip("' ").partition("=")
        typed = typed_key(key.lstrip("+"))
        a_list = f"A list is {key}=[{value}]; " if typed == key else ""
        return UsageError(f"{typed} has several values. {a_list}-m runs each.")
    return UsageError(said)


def _no_list(key: str, overrides: Sequence[str]) -> UsageError:
    values = [word.split("=", 1)[1] for word in overrides if word.lstrip("+").startswith(f"{key}=")]
    return UsageError(f"{key} takes a list: {key}=[{values[-1] if values else '...'}]")


def _unknown_key(error: ConfigError, job: str) -> VJEPAGymError:
    key = str(error.full_key)
    path = key.rpartition(".")[0]
    if not dataclasses.is_dataclass(error.object_type):
        return UsageError(f"{path} has no {error.key} yet; +{key}=... adds it.")
    prefix = f"{path}." if path else ""
    names = [prefix + field.name for field in dataclasses.fields(error.object_type)]
    of_job = job_keys(job)
    if not path and f"job.{key}" in of_job:
        return UsageError(f"Unknown key {key!r}. Did you mean 'job.{key}'?")
    if path == "job" and (deeper := _deeper(job, str(error.key))):
        return UsageError(f"Unknown key {key!r}. Did you mean {' or '.join(map(repr, deeper))}?")
    if path == "job" and WHOLE in of_job:
        names.append(WHOLE)
    return UnknownNameError("key", key, names if path else [*names, *of_job])


def _deeper(job: str, name: str) -> list[str]:
    """Return the keys of this name one level further down; of `benchmark`, those of what it is."""
    node = GROUPS["job"].get(job)
    if node is None:
        return []
    config = node() if isinstance(node, type) else node
    parts = [(field.name, getattr(config, field.name)) for field in dataclasses.fields(config)]
    return [
        f"job.{part}.{name}"
        for part, value in parts
        if dataclasses.is_dataclass(value) and hasattr(value, name)
    ]


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
