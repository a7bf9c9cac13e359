"""The loop on one process; `test_distributed.py` has several."""

import logging
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

sys.path[:0] = [str(Path(__file__).parent)]

from training_toys import Toy, config, contents  # noqa: E402

from vjepa_gym.errors import CheckpointError, DatasetError, TrainingError  # noqa: E402
from vjepa_gym.learning.checkpoints import read_tensors, write_tensors  # noqa: E402
from vjepa_gym.learning.training import Task, TrainingConfig, fit, step_generator  # noqa: E402


class Killed(BaseException):
    pass


def last(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir())


@pytest.mark.parametrize("kill_at", [1, 10, 13, 19, 20])
def test_a_run_that_is_cut_off_and_resumes_ends_with_the_same_bytes(
    tmp_path: Path, kill_at: int
) -> None:
    fit(Toy(), config(), folder=tmp_path / "whole", seed=1)

    def kill(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == kill_at:
            raise Killed

    with pytest.raises(Killed):
        fit(Toy(), config(), folder=tmp_path / "killed", seed=1, on_step=kill)
    fit(Toy(), config(), folder=tmp_path / "killed", seed=1)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_training_learns_and_tells_every_step(tmp_path: Path) -> None:
    told: list[tuple[int, int, float]] = []
    fit(
        Toy(),
        config(steps=60),
        folder=tmp_path,
        seed=0,
        on_step=lambda step, total, metrics: told.append((step, total, metrics["loss"])),
    )
    assert [(step, total) for step, total, _ in told] == [(i, 60) for i in range(1, 61)]
    assert told[-1][2] < 0.1 * told[0][2]
    assert (tmp_path / "exported").read_text().startswith("60/60 ")


def test_what_a_task_must_have_can_be_checked() -> None:
    assert isinstance(Toy(), Task)
    assert not isinstance(object(), Task)


def test_chance_is_a_function_of_seed_and_step() -> None:
    def draw(seed: int, step: int) -> int:
        return int(torch.randint(1 << 40, (), generator=step_generator(seed, step)))

    assert draw(3, 7) == draw(3, 7)
    assert len({draw(seed, step) for seed in (-1, 0, 1, 2) for step in range(50)}) == 200


@pytest.mark.parametrize("parts", [2, 8])
def test_parts_one_after_the_other_are_as_good_as_the_whole_batch(
    tmp_path: Path, parts: int
) -> None:
    whole, split = Toy(), Toy()
    fit(whole, config(), folder=tmp_path / "whole", seed=1)
    fit(split, config(accumulate=parts), folder=tmp_path / "split", seed=1)
    assert split.loaded[:parts] == [(1, i * 8 // parts, (i + 1) * 8 // parts) for i in range(parts)]
    mine, theirs = load_file(last(tmp_path / "split")), load_file(last(tmp_path / "whole"))
    assert mine.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], atol=1e-9, rtol=1e-6)
    assert rows(tmp_path / "split") == pytest.approx(rows(tmp_path / "whole"), rel=1e-5)


def rows(folder: Path) -> list[float]:
    """Return all numbers of the log of a run."""
    lines = (folder / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,loss,latent_std,size,gradient_norm"
    return [float(number) for line in lines[1:] for number in line.split(",")]


def test_a_batch_that_cannot_be_split_says_which_could(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"batch of 8 .* 3 equal .* batch_size of 6 or 9 would"):
        fit(Toy(), config(accumulate=3), folder=tmp_path, seed=1)
    with pytest.raises(TrainingError, match=r"batch of 9 .* 2 equal .* batch_size of 8 or 10"):
        fit(Toy(size=9), config(accumulate=2), folder=tmp_path, seed=1)
    assert not contents(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file/run"):
        fit(Toy(), config(), folder=tmp_path / "file" / "run", seed=1)


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_how_far_ahead_is_loaded_changes_nothing(tmp_path: Path, ahead: int) -> None:
    task = Toy()
    fit(task, config(steps=6, prefetch=ahead), folder=tmp_path / "ahead", seed=1)
    fit(Toy(), config(steps=6), folder=tmp_path / "usual", seed=1)
    mine, theirs = contents(tmp_path / "ahead"), contents(tmp_path / "usual")
    assert mine["losses.csv"] == theirs["losses.csv"]
    assert mine["exported"] == theirs["exported"]
    assert [step for step, _, _ in task.loaded] == [1, 2, 3, 4, 5, 6]


def test_what_a_load_raises_comes_out_at_its_step(tmp_path: Path) -> None:
    class Broken(Toy):
        def load(self, plan: Any, part: slice) -> dict[str, Any]:
            if plan.step == 4:
                raise DatasetError("film.mp4 is broken")
            return super().load(plan, part)

    done: list[int] = []
    with pytest.raises(DatasetError, match=r"film\.mp4 is broken"):
        fit(Broken(), config(), folder=tmp_path, seed=1, on_step=lambda *step: done.append(step[0]))
    assert done == [1, 2, 3]


def test_only_what_needs_gradients_is_trained_and_decayed(tmp_path: Path) -> None:
    task = Toy()
    torch.nn.init.ones_(task.objective.net["spares"][2])
    fit(task, config(steps=2), folder=tmp_path, seed=0)
    tensors, words = read_tensors(tmp_path / "checkpoints" / "step-00000002.safetensors")
    assert words["step"] == "2"
    assert "optimiser.exp_avg.net.head.weight" in tensors
    assert not [name for name in tensors if "optimiser" in name and "slow" in name]
    assert not [name for name in tensors if "optimiser" in name and "spares.2" in name]
    assert torch.equal(tensors["modules.net.spares.2"], torch.ones(12).double())


def test_weight_decay_spares_vectors(tmp_path: Path) -> None:
    class Still(Toy):
        def __init__(self) -> None:
            super().__init__()
            forward = self.objective.forward
            self.objective.forward = lambda **batch: (0 * forward(**batch)[0], {})

    task = Still()
    head = task.objective.net["head"]
    torch.nn.init.ones_(head.bias)
    weight = head.weight.clone()
    one = config(steps=1, weight_decay=0.5, warmup=0.0, decay=0.0, learning_rate=0.1)
    fit(task, one, folder=tmp_path, seed=0)
    torch.testing.assert_close(head.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(head.bias, torch.ones(2).double())


def test_the_newest_checkpoints_are_kept_and_leftovers_swept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leftover = tmp_path / "checkpoints" / ".step-00000005.safetensors.77.tmp"
    leftover.parent.mkdir()
    leftover.touch()
    with caplog.at_level(logging.INFO):
        fit(Toy(), config(keep_checkpoints=3), folder=tmp_path, seed=0)
    names = sorted(path.name for path in leftover.parent.iterdir())
    assert names == [f"step-000000{step}.safetensors" for step in (10, 15, 20)]
    assert "half written" in caplog.text
    assert "Nothing to resume" in caplog.text


def test_a_broken_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(Toy(), config(), folder=tmp_path, seed=0)
    whole = last(tmp_path).read_bytes()
    for length in (0, 7, 100, len(whole) - 1):
        last(tmp_path).write_bytes(whole[:length])
        caplog.clear()
        with caplog.at_level(logging.INFO):
            fit(Toy(), config(), folder=tmp_path, seed=0)
        assert "step-00000020.safetensors is truncated" in caplog.text
        assert "after step 15" in caplog.text
        assert last(tmp_path).read_bytes() == whole


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    fit(Toy(), config(steps=5), folder=tmp_path, seed=0)
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (last(tmp_path).stat().st_size // 2, hard))
    try:
        with pytest.raises(OSError, match="large"):
            fit(Toy(), config(), folder=tmp_path, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = contents(tmp_path)
    assert {name: after[name] for name in before if name != "losses.csv"} == {
        name: content for name, content in before.items() if name != "losses.csv"
    }
    assert after.keys() == before.keys()
    fit(Toy(), config(), folder=tmp_path, seed=0)
    assert last(tmp_path).name == "step-00000020.safetensors"


def test_a_checkpoint_is_not_there_before_what_is_made_of_it(tmp_path: Path) -> None:
    class Unlucky(Toy):
        def export(self, folder: Path, weights: Any, step: int, steps: int) -> None:
            assert not (folder / "checkpoints" / f"step-{step:08d}.safetensors").exists()
            assert weights.keys() == {"net", "slow"}
            torch.testing.assert_close(weights["slow"], self.objective.slow.state_dict())
            if step == 10:
                raise OSError("no room for the model")
            super().export(folder, weights, step, steps)

    with pytest.raises(OSError, match="no room"):
        fit(Unlucky(), config(), folder=tmp_path, seed=0)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [
        "step-00000005.safetensors"
    ]
    assert (tmp_path / "exported").read_text().startswith("5/20")


def test_a_run_that_is_over_trains_no_more(tmp_path: Path) -> None:
    fit(Toy(), config(), folder=tmp_path, seed=0)
    before = contents(tmp_path)
    fit(Toy(), config(), folder=tmp_path, seed=0, on_step=lambda *_: pytest.fail("a step"))
    assert contents(tmp_path) == before


def test_the_checkpoint_of_another_model_is_refused_and_kept(tmp_path: Path) -> None:
    fit(Toy(), config(), folder=tmp_path, seed=0)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        fit(Toy(width=24), config(steps=30), folder=tmp_path, seed=0)
    told = str(caught.value)
    assert "shape of modules.net.head.weight: (2, 12), the model has (2, 24)" in told
    assert "shape of modules.net.embed.bias: (12,), the model has (24,)" in told
    assert contents(tmp_path) == before


def test_the_checkpoint_of_an_earlier_version_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "step-00000005.safetensors"
    path.parent.mkdir()
    write_tensors(path, {"generator": torch.zeros(3)}, {"step": "5"})
    with pytest.raises(CheckpointError, match="earlier version"):
        fit(Toy(), config(), folder=tmp_path, seed=0)
    assert path.exists()


@pytest.mark.parametrize(
    ("changed", "seed", "told"),
    [
        ({}, 1, None),
        ({"log_every": 2, "prefetch": 0, "checkpoint_every": 3}, 1, None),
        ({"steps": 30}, 1, "other settings than before: steps 20 -> 30."),
        ({"learning_rate": 0.5, "decay": 0.1}, 1, "decay 0.2 -> 0.1, learning_rate 0.01 -> 0.5."),
        ({"accumulate": 2}, 1, "only rounding will differ: accumulate 1 -> 2."),
        ({"batch_size": 16}, 1, "Not the same run as before, since its batches are others: batch"),
        ({}, 2, "Not the same run as before, since its batches are others: seed 1 -> 2."),
    ],
)
def test_resuming_with_other_settings_says_which(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, Any],
    seed: int,
    told: str | None,
) -> None:
    fit(Toy(), config(), folder=tmp_path, seed=1)
    with caplog.at_level(logging.WARNING):
        fit(Toy(size=changed.get("batch_size", 8)), config(**changed), folder=tmp_path, seed=seed)
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert (told in " ".join(warnings)) if told else not warnings


def test_collapsed_latents_stop_the_run_and_say_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"collapsed: at step 4 .* for 4 steps .*Lower"):
        fit(Toy(std=0.001), config(collapse_patience=4), folder=tmp_path, seed=0)


def test_latents_may_be_alike_for_a_while(tmp_path: Path) -> None:
    task = Toy()
    stds = iter([0.0, 0.0, 0.0, 1.0] * 5)
    task.after_step = lambda done: setattr(task.objective, "std", next(stds))
    fit(task, config(collapse_patience=4), folder=tmp_path, seed=0)


def test_a_loss_that_is_not_finite_names_the_clips_and_spoils_nothing(tmp_path: Path) -> None:
    task = Toy(bad=12)
    with pytest.raises(TrainingError, match="loss became nan at step 12: lower learning") as caught:
        fit(task, config(accumulate=2), folder=tmp_path, seed=1)
    plan = task.plan(12, 20, step_generator(1, 12))
    assert str(caught.value).split("\n  ")[1:] == task.describe(plan, slice(4, 8))
    assert last(tmp_path).name == "step-00000010.safetensors"
    assert all(bool(x.isfinite().all()) for x in task.objective.parameters())
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 12


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path: Path) -> None:
    task = Toy()
    forward = task.objective.forward

    def steep(**batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, metrics = forward(**batch)
        return loss + (task.objective.net["head"].bias * 0).sqrt().sum(), metrics

    task.objective.forward = steep
    task.size = 16
    with pytest.raises(TrainingError, match=r"(?s)gradient became nan at step 1:.*\n  and 8 more"):
        fit(task, config(batch_size=16), folder=tmp_path / "run", seed=1)
    assert not list((tmp_path / "run").iterdir())


def test_bfloat16_still_learns(tmp_path: Path) -> None:
    losses: list[float] = []
    fit(
        Toy(dtype=torch.float32),
        config(steps=60, bfloat16=True),
        folder=tmp_path,
        seed=0,
        on_step=lambda step, total, metrics: losses.append(metrics["loss"]),
    )
    assert losses[-1] < 0.2 * losses[0]


def test_a_latent_deviation_that_is_no_number_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(Toy(std=float("nan")), config(), folder=tmp_path, seed=0)
    told = [one.getMessage() for one in caplog.records if "latent_std is nan" in one.getMessage()]
    assert len(told) == 1
    assert "at step 1 " in told[0]
    assert "Lower accumulate, raise batch_size" in told[0]


def test_blocks_are_compiled_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda forward: compiled.append(forward) or forward)
    task = Toy()
    fit(task, config(steps=1), folder=tmp_path / "plain", seed=0)
    assert not compiled
    fit(task, config(steps=1, compile=True), folder=tmp_path / "changed", seed=0)
    assert len(compiled) == 2


def test_the_rate_warms_up_stays_and_decays() -> None:
    schedule = TrainingConfig(
        learning_rate=2.0, start_rate=0.5, final_rate=0.25, warmup=0.1, decay=0.2
    )
    rates = [schedule.rate_at(done) for done in (0.0, 0.05, 0.1, 0.5, 0.8, 0.9, 1.0)]
    assert rates == pytest.approx([1.0, 1.5, 2.0, 2.0, 2.0, 1.25, 0.5])


def test_the_weight_decay_goes_along_half_a_cosine() -> None:
    schedule = TrainingConfig(weight_decay=0.04, final_weight_decay=0.4)
    decays = [schedule.weight_decay_at(done) for done in (0.0, 0.25, 0.5, 1.0)]
    assert decays == pytest.approx([0.04, 0.4 - 0.36 * (2 + 2**0.5) / 4, 0.22, 0.4])
    assert TrainingConfig(weight_decay=0.3).weight_decay_at(1.0) == 0.3


def test_the_last_weight_decay_is_applied_and_spares_vectors(tmp_path: Path) -> None:
    task = Toy()
    task.objective.forward = nothing_to_learn(task)
    head = task.objective.net["head"]
    torch.nn.init.ones_(head.bias)
    weight = head.weight.clone()
    still = {"warmup": 0.0, "decay": 0.0, "learning_rate": 0.1, "weight_decay": 0.0}
    fit(task, config(steps=2, final_weight_decay=0.5, **still), folder=tmp_path, seed=0)
    torch.testing.assert_close(head.weight, weight * (1 - 0.1 * 0.25) * (1 - 0.1 * 0.5))
    assert torch.equal(head.bias, torch.ones(2).double())


def nothing_to_learn(task: Toy) -> Any:
    forward = task.objective.forward
    return lambda **batch: (0 * forward(**batch)[0], {})


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_are_scaled_down_to_the_largest_norm(tmp_path: Path, accumulate: int) -> None:
    def moments(**changes: Any) -> tuple[dict[str, torch.Tensor], float]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        fit(Toy(), config(steps=1, accumulate=accumulate, **changes), folder=folder, seed=1)
        tensors = load_file(last(folder))
        return {k: x for k, x in tensors.items() if ".exp_avg." in k}, rows(folder)[-1]

    free, norm = moments()
    clipped, told = moments(clip_gradients=norm / 4)
    loose, _ = moments(clip_gradients=norm * 4)
    assert told == norm
    for name, moment in free.items():
        torch.testing.assert_close(clipped[name], moment / 4, rtol=1e-4, atol=0.0)
        assert torch.equal(loose[name], moment)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"accumulate": 0},
        {"prefetch": -1},
        {"warmup": 0.5, "decay": 0.6},
        {"final_weight_decay": -0.1},
        {"clip_gradients": 0.0},
    ],
)
def test_impossible_settings_are_refused_by_name(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        config(**changes)
