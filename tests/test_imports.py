"""What importing costs: a robot's computer has no torch, and `--help` has no patience."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "mujoco", "robosuite", "hydra", "omegaconf", "rich", "matplotlib", "av", "h5py")

COUNT = """
import json, sys, time
start = time.process_time()
import {module}
seconds = time.process_time() - start
print(json.dumps([seconds, [name for name in {heavy} if name in sys.modules]]))
"""


def import_alone(module: str) -> tuple[float, list[str]]:
    """Return how long a processor works to import `module` [s], and what is imported with it."""
    code = COUNT.format(module=module, heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return tuple(json.loads(run.stdout))


@pytest.mark.parametrize(
    "module",
    ["vjepa_gym", "vjepa_gym.spaces", "vjepa_gym.goal_file", "vjepa_gym.experiments.cli"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(module):
    _, heavy = import_alone(module)
    assert heavy == []


def test_importing_the_package_takes_less_than_a_third_of_a_second():
    # The fastest of several: the first one may have to compile.
    assert min(import_alone("vjepa_gym")[0] for _ in range(4)) < 0.3


@pytest.mark.parametrize("package", ["envs", "datasets", "sim", "robots"])
def test_packages_that_need_no_torch_import_none(package):
    _, heavy = import_alone(f"vjepa_gym.{package}")
    assert "torch" not in heavy
