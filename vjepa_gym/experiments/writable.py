"""Whether a folder can be written, before hours of work show that it cannot."""

import tempfile
from pathlib import Path

from vjepa_gym.experiments.usage import UsageError


def check_writable(key: str, folder: Path) -> None:
    """Make a folder and write to it, then take away again what was not there.

    Args:
        key: Where the folder is set, for the message.
        folder: It need not exist.

    Raises:
        UsageError: Nothing can be written there.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{key}={folder}: nothing can be written there ({error.strerror}); name another folder."
        ) from error
    finally:
        _take_away(new)


def _take_away(folders: list[Path]) -> None:
    """Remove folders, deepest first, that are empty."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:  # it was never made, or another process uses it
            return
