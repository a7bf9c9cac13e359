"""Try an installed package from outside its checkout: `python smoke_test.py`."""

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import vjepa_gym


def run(*words: str) -> str:
    """Return what the installed command says."""
    command = Path(sys.executable).with_name("vjepa-gym")
    return subprocess.run([command, *words], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Fail with an AssertionError or a traceback if something is amiss."""
    assert Path(vjepa_gym.__file__).is_relative_to(sys.prefix), vjepa_gym.__file__
    assert vjepa_gym.__version__ == version("vjepa-gym") == run("--version").strip()
    assert (files("vjepa_gym") / "py.typed").is_file()
    assert "evaluate" in run("--help")
    assert "num_elites" in run("evaluate", "agent=planning", "agent.planner=fast", "--cfg", "job")

    from vjepa_gym.world_models.vjepa2_ac import load_world_model

    world_model = load_world_model("tiny")
    print(f"vjepa_gym {vjepa_gym.__version__} works, with {type(world_model).__name__} on board.")


if __name__ == "__main__":
    main()
