"""The error of whoever asks for what cannot be; light, for every job to raise."""

from collections.abc import Iterator
from contextlib import contextmanager

from vjepa_gym.errors import VJEPAGymError


class UsageError(VJEPAGymError, ValueError):
    """The command line asks for what cannot be."""


@contextmanager
def checking() -> Iterator[None]:
    """Around the check of a configuration, make of what it refuses a mistake in the words.

    Not around work: there a `ValueError` is a bug.

    Raises:
        UsageError: The check refused the configuration.
    """
    try:
        yield
    except VJEPAGymError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
