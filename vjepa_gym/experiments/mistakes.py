"""What is wrong with a command line, said with the names that exist."""

import dataclasses

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError
from omegaconf.errors import OmegaConfBaseException as ConfigError

from vjepa_gym.errors import UnknownNameError, VJEPAGymError
from vjepa_gym.experiments.config import typed_key


class UsageError(VJEPAGymError, ValueError):
    """The command line asks for what cannot be."""


def explain(error: HydraException | ConfigError) -> VJEPAGymError:
    """Return an error that a user can act on, for one of Hydra's or OmegaConf's."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return UnknownNameError(f"option of {typed_key(group)}", name, error.options)
    cause = error if isinstance(error, ConfigError) else error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(cause)
    if isinstance(cause, ConfigError):
        return UsageError(f"{cause.full_key}: {_first_line(cause)}")
    return UsageError(_first_line(error))


def _unknown_key(error: ConfigError) -> VJEPAGymError:
    key = str(error.full_key)
    path = key.rpartition(".")[0]
    if not dataclasses.is_dataclass(error.object_type):
        return UsageError(f"{path} has no {error.key} yet; +{key}=... adds it.")
    prefix = f"{path}." if path else ""
    names = [prefix + field.name for field in dataclasses.fields(error.object_type)]
    return UnknownNameError("key", key, names)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
