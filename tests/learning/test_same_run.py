"""Whether a run that goes on is the one that was begun: what is told, and what is refused."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from training_toys import Toy, config, contents  # noqa: E402

from vjepa_gym.errors import CheckpointError  # noqa: E402
from vjepa_gym.learning.training import fit  # noqa: E402

FILMS: dict[str, Any] = {"data": "6 films [ab]", "held_out": 2}
SIZES: dict[str, Any] = {"model": {"encoder": {"heads": 2, "levels": []}, "rope": "half"}}


def train(folder: Path, **changes: Any) -> None:
    facts, identity = changes.pop("facts", FILMS), changes.pop("identity", SIZES)
    fit(Toy(), config(**changes), folder=folder, seed=1, facts=facts, identity=identity)


def test_the_same_run_is_gone_on_with_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path)
    train(tmp_path)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_other_data_are_told_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path, steps=10)
    train(tmp_path, facts={"data": "9 films [cd]", "held_out": 2})
    told = [one.getMessage() for one in caplog.records if "Not the same run" in one.getMessage()]
    assert len(told) == 1
    assert told[0].endswith("data 6 films [ab] -> 9 films [cd].")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"model": {"encoder": {"heads": 4, "levels": []}}}, "model.encoder.heads 2 -> 4"),
        ({"model": {"encoder": {"levels": [1, 2]}}}, "model.encoder.levels [] -> [1, 2]"),
        ({"model": {"rope": "interleaved"}}, "model.rope half -> interleaved"),
    ],
)
def test_another_identity_is_refused_and_nothing_touched(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    train(tmp_path, steps=10)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        train(tmp_path, identity=other)
    assert str(caught.value).splitlines()[1:-1] == [f"  {told}"]
    assert str(tmp_path) in str(caught.value)
    assert "job.initial" in str(caught.value)
    assert contents(tmp_path) == before


def test_checkpoints_that_say_nothing_of_it_are_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path, facts=None, identity=None, steps=10)
    train(tmp_path, steps=10)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    train(tmp_path, steps=15)
    with pytest.raises(CheckpointError, match="heads"):
        train(tmp_path, identity={"model": {"encoder": {"heads": 3}}})


@pytest.mark.parametrize("steps", [20, 12])
def test_a_finished_training_says_that_nothing_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: int
) -> None:
    with caplog.at_level(logging.INFO):
        train(tmp_path)
        assert "Nothing is left" not in caplog.text
        train(tmp_path, steps=steps, facts={"data": "others", "held_out": 2})
    wanted = f"{tmp_path}: 20 steps of the {steps} asked for are done, on 6 films [ab]."
    assert f"Nothing is left to do in {wanted}" in caplog.text
    assert "data 6 films [ab] -> others" in caplog.text
