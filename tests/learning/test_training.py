import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError, TrainingError
from vjepa_gym.learning.checkpoints import read_tensors
from vjepa_gym.learning.training import LATENT_STD, TrainingConfig, fit


class Regression:
    """Fits a linear map to a known one, and follows it with a moving average."""

    def __init__(self, width: int = 3, std: float = 1.0) -> None:
        torch.manual_seed(0)
        self.net, self.slow = nn.Linear(width, 2), nn.Linear(width, 2).requires_grad_(False)
        self.spare = nn.Linear(1, 1)
        self.std = std

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"net": self.net, "slow": self.slow, "spare": self.spare}

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.randn(16, self.net.in_features, generator=generator)
        loss = (self.net(x) - x[:, :2]).square().mean()
        return loss, {LATENT_STD: torch.tensor(self.std)}

    def after_step(self, done: float) -> None:
        self.slow.weight.data.lerp_(self.net.weight.data, 0.1 * done)

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "exported").write_text(str(self.net.bias.tolist()))


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(
        **{"steps": 20, "checkpoint_every": 5, "log_every": 1, "learning_rate": 0.1} | changes
    )


class Killed(BaseException):
    pass


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kill_at", [1, 10, 13, 19, 20])
def test_a_killed_run_that_resumes_ends_with_the_same_bytes(tmp_path: Path, kill_at: int) -> None:
    fit(Regression(), config(), folder=tmp_path / "whole", seed=1)

    def kill(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == kill_at:
            raise Killed

    with pytest.raises(Killed):
        fit(Regression(), config(), folder=tmp_path / "killed", seed=1, on_step=kill)
    fit(Regression(), config(), folder=tmp_path / "killed", seed=1)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_training_learns_and_tells_every_step(tmp_path: Path) -> None:
    told: list[tuple[int, int, float]] = []
    fit(
        Regression(),
        config(steps=60),
        folder=tmp_path,
        seed=0,
        on_step=lambda step, total, metrics: told.append((step, total, metrics["loss"])),
    )
    assert [(step, total) for step, total, _ in told] == [(i, 60) for i in range(1, 61)]
    assert told[-1][2] < 0.1 * told[0][2]


def test_only_what_needs_gradients_is_trained_and_decayed(tmp_path: Path) -> None:
    task = Regression()
    spare = task.spare.weight.clone()
    fit(task, config(steps=2), folder=tmp_path, seed=0)
    tensors, words = read_tensors(tmp_path / "checkpoints" / "step-00000002.safetensors")
    assert words == {"step": "2"}
    assert "optimiser.exp_avg.net.weight" in tensors
    assert not [name for name in tensors if "optimiser" in name and "slow" in name]
    assert torch.equal(tensors["modules.spare.weight"], spare)


def test_weight_decay_spares_vectors(tmp_path: Path) -> None:
    class Still(Regression):
        def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            return 0 * (self.net.weight.sum() + self.net.bias.sum()), {}

    task = Still()
    weight, bias = task.net.weight.clone(), task.net.bias.clone()
    one = config(steps=1, weight_decay=0.5, warmup=0.0, decay=0.0)
    fit(task, one, folder=tmp_path, seed=0)
    torch.testing.assert_close(task.net.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(task.net.bias, bias)


def test_the_newest_checkpoints_are_kept_and_leftovers_swept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leftover = tmp_path / "checkpoints" / ".step-00000005.safetensors.77.tmp"
    leftover.parent.mkdir()
    leftover.touch()
    with caplog.at_level(logging.INFO):
        fit(Regression(), config(), folder=tmp_path, seed=0)
    names = sorted(path.name for path in leftover.parent.iterdir())
    assert names == ["step-00000015.safetensors", "step-00000020.safetensors"]
    assert "half written" in caplog.text
    assert "Nothing to resume" in caplog.text


def test_a_broken_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(Regression(), config(), folder=tmp_path, seed=0)
    last = tmp_path / "checkpoints" / "step-00000020.safetensors"
    whole = last.read_bytes()
    last.write_bytes(whole[:100])
    with caplog.at_level(logging.INFO):
        fit(Regression(), config(), folder=tmp_path, seed=0)
    assert "step-00000020.safetensors is truncated" in caplog.text
    assert "after step 15" in caplog.text
    assert last.read_bytes() == whole


def test_a_run_that_is_over_trains_no_more(tmp_path: Path) -> None:
    fit(Regression(), config(), folder=tmp_path, seed=0)
    before = contents(tmp_path)
    fit(Regression(), config(), folder=tmp_path, seed=0, on_step=lambda *_: pytest.fail("a step"))
    assert contents(tmp_path) == before


def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    fit(Regression(), config(), folder=tmp_path, seed=0)
    with pytest.raises(CheckpointError, match=r"shape of modules\.net\.weight"):
        fit(Regression(width=4), config(steps=30), folder=tmp_path, seed=0)


def test_collapsed_latents_stop_the_run_and_say_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"collapsed: at step 4 .* for 4 steps .*Lower"):
        fit(Regression(std=0.001), config(collapse_patience=4), folder=tmp_path, seed=0)


def test_latents_may_be_alike_for_a_while(tmp_path: Path) -> None:
    task = Regression()
    stds = iter([0.0, 0.0, 0.0, 1.0] * 5)
    task.after_step = lambda done: setattr(task, "std", next(stds))
    fit(task, config(collapse_patience=4), folder=tmp_path, seed=0)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    task = Regression()
    task.net.bias.data[:] = torch.nan
    with pytest.raises(TrainingError, match="became nan at step 1: lower learning_rate"):
        fit(task, config(), folder=tmp_path, seed=0)


def test_bfloat16_still_learns(tmp_path: Path) -> None:
    losses: list[float] = []
    fit(
        Regression(),
        config(steps=60, bfloat16=True),
        folder=tmp_path,
        seed=0,
        on_step=lambda step, total, metrics: losses.append(metrics["loss"]),
    )
    assert losses[-1] < 0.2 * losses[0]


def test_the_rate_warms_up_stays_and_decays() -> None:
    schedule = TrainingConfig(
        learning_rate=2.0, start_rate=0.5, final_rate=0.25, warmup=0.1, decay=0.2
    )
    rates = [schedule.rate_at(done) for done in (0.0, 0.05, 0.1, 0.5, 0.8, 0.9, 1.0)]
    assert rates == pytest.approx([1.0, 1.5, 2.0, 2.0, 2.0, 1.25, 0.5])


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"batch_size": 0}, {"warmup": 0.5, "decay": 0.6}]
)
def test_impossible_settings_are_refused_by_name(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        config(**changes)
