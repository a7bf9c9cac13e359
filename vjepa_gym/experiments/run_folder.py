"""What a run leaves behind about itself: its configuration, its command, the code, the log."""

import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.logging import RichHandler

import vjepa_gym
from vjepa_gym.experiments.progress import CONSOLE

VERSIONS = ("vjepa-gym", "torch", "mujoco", "gymnasium", "numpy", "robosuite")
"""Packages whose versions are noted down with each run; null is what is not installed."""


def note_down(config: DictConfig, folder: Path, words: list[str]) -> None:
    """Write what is run: `config.yaml`, `command.txt` and `version.json` in `folder`."""
    plain = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    # By way of JSON, which knows no paths or tuples: the file can be read without this package.
    plain = json.loads(json.dumps(plain, default=str))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(plain), encoding="utf-8")
    command = shlex.join(["vjepa-gym", *words])
    (folder / "command.txt").write_text(command + "\n", encoding="utf-8")
    versions = {name: _version(name) for name in VERSIONS}
    code = {
        "python": sys.version.split()[0],
        **versions,
        **commit_of(Path(vjepa_gym.__file__).parents[1]),
    }
    (folder / "version.json").write_text(json.dumps(code, indent=1) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # robosuite, where compiled scenes were carried to
        return None


def commit_of(checkout: Path) -> dict[str, str | bool | None]:
    """Return the commit of a checkout, and whether files differ from it; None if it is none."""
    if not (checkout / ".git").exists():
        return {"commit": None, "changed": None}
    said = []
    for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        git = ["git", "-C", str(checkout), *words]
        try:
            answer = subprocess.run(git, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return {"commit": None, "changed": None}
        said.append(answer.stdout.strip())
    return {"commit": said[0], "changed": bool(said[1])}


@contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Show what the library logs, and keep it in `folder`."""
    shown = logging.StreamHandler()
    if CONSOLE.is_terminal:
        # Lines go above a progress bar, instead of through it.
        shown = RichHandler(console=CONSOLE, show_time=False, show_path=False, show_level=False)
    kept = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    library = logging.getLogger("vjepa_gym")
    library.setLevel(logging.INFO)
    for handler in (shown, kept):
        library.addHandler(handler)
    try:
        yield
    finally:
        for handler in (shown, kept):
            library.removeHandler(handler)
        kept.close()


@contextmanager
def in_silence() -> Iterator[None]:
    """Keep what the library logs from being shown: another process says the same."""
    library = logging.getLogger("vjepa_gym")
    nowhere = logging.NullHandler()
    propagated, library.propagate = library.propagate, False
    library.addHandler(nowhere)
    try:
        yield
    finally:
        library.removeHandler(nowhere)
        library.propagate = propagated
