"""Pretraining on two processes follows that on one, and goes on exactly after a kill."""

import signal
from pathlib import Path

import numpy as np
import pytest
from pretraining_worker import do, pretrain_together

from vjepa_gym.learning.checkpoints import load_weights

pytestmark = pytest.mark.slow

KINDS = {
    "replicate": {},
    "accumulate": {"accumulate": 2},
    "full": {"sharding": "full", "activation_checkpointing": True},
}


def columns_of(folder: Path) -> np.ndarray:
    rows = np.genfromtxt(folder / "losses.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == list(range(1, 21))
    return rows


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    runs = [{"folder": f"{folder / name}", **given} for name, given in KINDS.items()]
    assert pretrain_together(runs) == [0, 0]
    do(f"{folder / 'alone'}")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_one_process(together: Path, kind: str) -> None:
    alone, two = columns_of(together / "alone"), columns_of(together / kind)
    assert alone["masked_loss"][-1] < alone["masked_loss"][0]
    for name in ("loss", "masked_loss", "context_loss"):
        np.testing.assert_allclose(two[name], alone[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_is_that_of_one_process(together: Path, kind: str) -> None:
    alone, two = load_weights(together / "alone"), load_weights(together / kind)
    assert alone.keys() == two.keys()
    for name, weight in alone.items():
        np.testing.assert_allclose(two[name], weight, rtol=0, atol=2e-3, err_msg=name)


def test_a_killed_run_of_two_processes_goes_on_bit_for_bit(together: Path, tmp_path: Path) -> None:
    run = {"folder": f"{tmp_path / 'killed'}"}
    assert pretrain_together([{**run, "kill_at": 13}])[0] == -signal.SIGKILL
    assert pretrain_together([run]) == [0, 0]
    whole, killed = (load_weights(one) for one in (together / "replicate", tmp_path / "killed"))
    assert all(whole[name].equal(killed[name]) for name in whole)
    np.testing.assert_array_equal(
        columns_of(together / "replicate"), columns_of(tmp_path / "killed")
    )


def test_a_killed_run_of_two_processes_goes_on_in_one(together: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    assert pretrain_together([{"folder": f"{folder}", "kill_at": 13}])[0] == -signal.SIGKILL
    do(f"{folder}")
    alone = columns_of(together / "alone")["loss"]
    np.testing.assert_allclose(columns_of(folder)["loss"], alone, rtol=0, atol=1e-4)
