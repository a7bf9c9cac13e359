"""The loop on two processes, which gloo brings together."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

sys.path[:0] = [str(Path(__file__).parent)]

from training_toys import Toy, config, contents, start, wait_killed  # noqa: E402

from vjepa_gym.learning.distributed import World, current_world, join_world  # noqa: E402
from vjepa_gym.learning.training import fit, step_generator  # noqa: E402

LAST = "checkpoints/step-00000020.safetensors"


class Stopped(BaseException):
    pass


def run(
    folder: Path, *, kill_at: int = 0, toy: dict[str, Any] | None = None, **fields: Any
) -> dict:
    return {"folder": str(folder), "toy": toy or {}, "config_of": fields, "kill_at": kill_at}


def one_process(folder: Path, stop_at: int = 0) -> None:
    def stop(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == stop_at:
            raise Stopped

    fit(Toy(), config(), folder=folder, seed=1, on_step=stop)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """Return the folder of all runs, and what each of two processes said that went on with some."""
    at = tmp_path_factory.mktemp("runs")
    one_process(at / "one")
    with pytest.raises(Stopped):
        one_process(at / "mixed", stop_at=7)
    first = [run(at / "ddp"), run(at / "ddp_parts", accumulate=2), run(at / "killed", kill_at=12)]
    wait_killed(start(first))
    full = {"sharding": "full"}
    second = [
        run(at / "killed"),
        run(at / "fsdp", **full),
        run(at / "fsdp_parts", accumulate=2, activation_checkpointing=True, **full),
        run(at / "ddp_half", bfloat16=True),
        run(at / "fsdp_half", bfloat16=True, **full),
        run(at / "nan", toy={"bad": 12}, accumulate=2, **full),
        run(at / "odd", toy={"size": 9}, batch_size=9),
        run(at / "one" / "losses.csv" / "run"),
        run(at / "cramped", **full) | {"room": 10_000},
        run(at / "mixed", kill_at=17, **full),
    ]
    said = wait_killed(start(second))
    one_process(at / "mixed")
    return at, said


def check_alike(mine: Path, theirs: Path) -> None:
    """Assert that two runs have the same log and weights, but for rounding."""
    a, b = load_file(mine / LAST), load_file(theirs / LAST)
    assert a.keys() == b.keys()
    for name in b:
        torch.testing.assert_close(a[name], b[name], atol=1e-6, rtol=1e-6)
    logs = [(path / "losses.csv").read_text().splitlines() for path in (mine, theirs)]
    assert logs[0][0] == logs[1][0]
    numbers = [[float(x) for line in log[1:] for x in line.split(",")] for log in logs]
    assert len(numbers[0]) == 20 * 5
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "ddp_parts", "fsdp", "fsdp_parts", "mixed"])
def test_two_processes_are_as_good_as_one(runs: tuple[Path, Any], name: str) -> None:
    check_alike(runs[0] / name, runs[0] / "one")


@pytest.mark.slow
def test_two_killed_processes_that_resume_end_with_the_same_bytes(runs: tuple[Path, Any]) -> None:
    assert contents(runs[0] / "killed") == contents(runs[0] / "ddp")


@pytest.mark.slow
def test_bfloat16_is_about_the_same_however_weights_are_spread(runs: tuple[Path, Any]) -> None:
    ends = {}
    for name in ("one", "ddp_half", "fsdp_half"):
        ends[name] = float(
            (runs[0] / name / "losses.csv").read_text().splitlines()[-1].split(",")[1]
        )
    assert ends["ddp_half"] != ends["one"]
    assert ends["ddp_half"] == pytest.approx(ends["one"], rel=0.05)
    assert ends["fsdp_half"] == pytest.approx(ends["one"], rel=0.05)
    weights = load_file(runs[0] / "fsdp_half" / LAST)
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


@pytest.mark.slow
def test_all_processes_stop_together_and_say_the_same(runs: tuple[Path, Any]) -> None:
    at, said = runs
    first, second = (out.splitlines() for out, _ in said)
    task = Toy()
    clips = task.describe(task.plan(12, 20, step_generator(1, 12)), slice(4, 6))
    assert "TrainingError: The loss became nan at step 12" in first[0]
    assert [line.strip() for line in first[1:3]] == clips
    assert first[:4] == second[:4]
    assert "A batch of 9 cannot be split into 2 equal parts" in first[3]
    assert max((at / "nan" / "checkpoints").iterdir()).name == "step-00000010.safetensors"
    assert first[4] == second[4]
    assert "losses.csv/run" in first[4]
    # Shares are whole on the first process only, and it alone is out of room.
    assert first[5].startswith("OSError")
    assert second[5] == first[5].replace("OSError", "TrainingError")
    assert not list((at / "cramped" / "checkpoints").iterdir())
    assert len(first) == len(second) == 6


@pytest.mark.slow
def test_only_the_first_process_logs(runs: tuple[Path, Any]) -> None:
    (_, first), (_, second) = runs[1]
    assert "after step 10" in first
    assert "INFO" not in second
    assert "TrainingError: Another of the processes that train together ended" in second
    assert "Warning" not in first + second


def test_a_process_that_nobody_started_others_with_is_alone() -> None:
    with join_world() as world:
        assert world == current_world() == World()
        assert (world.is_first, world.size, world.joined) == (True, 1, False)
        world.barrier()
        numbers = torch.arange(3.0)
        world.broadcast(numbers)
        assert torch.equal(world.gather(numbers), numbers[None])
        assert torch.equal(world.mean(numbers), numbers)
        assert world.tell("a word") == "a word"
        assert world.is_first_to_say("a word")
