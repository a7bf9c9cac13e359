"""Post-training on two processes follows that on one, and goes on exactly after a kill."""

import signal
from pathlib import Path

import numpy as np
import pytest
from post_training_worker import do, train_together

from vjepa_gym.learning.checkpoints import load_weights

pytestmark = pytest.mark.slow

KINDS = {
    "replicate": {},
    "accumulate": {"accumulate": 2},
    "full": {"sharding": "full", "activation_checkpointing": True},
    "online": {"latents": "online"},
}


def losses_of(folder: Path) -> np.ndarray:
    rows = np.genfromtxt(folder / "losses.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == list(range(1, 21))
    return rows["loss"]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    runs = [{"folder": f"{folder / name}", **given} for name, given in KINDS.items()]
    assert train_together(runs) == [0, 0]
    do(f"{folder / 'alone'}")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_one_process(together: Path, kind: str) -> None:
    alone, two = losses_of(together / "alone"), losses_of(together / kind)
    assert alone[-1] < alone[0]
    np.testing.assert_allclose(two, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_each_process_ends_with_the_whole_model_and_the_first_writes_it(
    together: Path, kind: str
) -> None:
    sums = [float((together / kind / f"sum-{rank}").read_text()) for rank in (0, 1)]
    assert sums[0] == sums[1]
    written = load_weights(together / kind)
    scales = ("state_mean", "state_scale", "action_scale")
    trained = [x for name, x in written.items() if "predictor." in name]
    scaled = [written[f"predictor.{name}"] for name in scales]
    total = sum(float(x.sum()) for x in trained) - sum(float(x.sum()) for x in scaled)
    assert total == pytest.approx(sums[0], abs=1e-4)


def test_latents_are_encoded_by_the_first_process_only(together: Path) -> None:
    assert [path.suffix for path in (together / "replicate" / "latents").iterdir()] == [".npy"]
    assert not (together / "online" / "latents").exists()


def test_a_killed_run_of_two_processes_goes_on_bit_for_bit(together: Path, tmp_path: Path) -> None:
    run = {"folder": f"{tmp_path / 'killed'}"}
    codes = train_together([{**run, "kill_at": 13}])
    assert codes[0] == -signal.SIGKILL
    assert train_together([run]) == [0, 0]
    whole, killed = (
        load_weights(folder) for folder in (together / "replicate", tmp_path / "killed")
    )
    assert all(whole[name].equal(killed[name]) for name in whole)
    np.testing.assert_array_equal(losses_of(together / "replicate"), losses_of(tmp_path / "killed"))
