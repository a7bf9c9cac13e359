"""Tasks of a few hundred weights, and how to train them on several processes."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjepa_gym.learning.averaging import update_average
from vjepa_gym.learning.layers import Block, Rope, grid_positions, run_blocks
from vjepa_gym.learning.training import LATENT_STD, TrainingConfig

HERE = Path(__file__).parent


@dataclass(frozen=True)
class ToyPlan:
    size: int
    step: int
    seeds: Tensor


class ToyObjective(nn.Module):
    """Maps tokens to what a slower copy makes of them all; one of its spare weights is in use."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.net = nn.ModuleDict(
            {
                "embed": nn.Linear(3, width),
                "blocks": nn.ModuleList(Block(width, 2) for _ in range(2)),
                "spares": nn.ParameterList(torch.zeros(width) for _ in range(3)),
                "head": nn.Linear(width, 2),
            }
        )
        self.slow = nn.Linear(width, 2).requires_grad_(False)
        self.slow.load_state_dict(self.net["head"].state_dict())
        self.std, self.checkpointing = std, False

    def forward(self, x: Tensor, spare: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        net = self.net
        rope = Rope.at(grid_positions(1, 1, x.shape[1]), net["embed"].out_features // 2)
        tokens = net["embed"](x) + net["spares"][int(spare[0])]
        tokens = run_blocks(net["blocks"], tokens, rope, checkpointing=self.checkpointing)
        wanted = x[..., :2] + 0.1 * self.slow(tokens.detach())
        loss = (net["head"](tokens) - wanted).square().mean()
        metrics = {LATENT_STD: torch.tensor(self.std), "size": x.abs().mean()}
        return loss, metrics


class Toy:
    """A task that knows nothing of processes; `bad` is a step in which a sample is not finite.

    In float64 by default: Adam makes steps of the rounding of gradients that should be 0.
    """

    def __init__(
        self,
        width: int = 12,
        std: float = 1.0,
        size: int = 8,
        bad: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        torch.manual_seed(0)
        self.dtype = dtype
        self.size, self.bad = size, bad
        self.objective = ToyObjective(width, std).to(dtype)
        self.loaded: list[tuple[int, int, int]] = []

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"net": self.objective.net, "slow": self.objective.slow}

    def plan(self, step: int, steps: int, generator: torch.Generator) -> ToyPlan:
        return ToyPlan(self.size, step, torch.randint(1 << 30, (self.size,), generator=generator))

    def load(self, plan: ToyPlan, part: slice) -> dict[str, Any]:
        self.loaded.append((plan.step, part.start, part.stop))
        draws = [torch.Generator().manual_seed(int(seed)) for seed in plan.seeds[part]]
        x = torch.stack([torch.randn(4, 3, generator=draw, dtype=self.dtype) for draw in draws])
        if plan.step == self.bad and part.start <= 5 < part.stop:
            x[5 - part.start] = torch.nan
        # Of three spares, the last is never used, and the second from the fourth step on.
        return {"x": x, "spare": torch.full((len(x),), int(plan.step > 3))}

    def describe(self, plan: ToyPlan, part: slice) -> list[str]:
        return [f"clip {int(seed)}" for seed in plan.seeds[part]]

    def after_step(self, done: float) -> None:
        update_average(self.objective.slow, self.objective.net["head"], 1 - 0.1 * done)

    def export(self, folder: Path, weights: Any, step: int, steps: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "exported").write_text(f"{step}/{steps} {weights['net']['head.bias'].tolist()}")


def config(**changes: Any) -> TrainingConfig:
    usual: dict[str, Any] = {"steps": 20, "batch_size": 8, "checkpoint_every": 5, "log_every": 1}
    usual["learning_rate"] = 0.01
    return TrainingConfig(**{**usual, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def start(runs: list[dict[str, Any]], processes: int = 2) -> list[subprocess.Popen[str]]:
    """Start processes that do `runs` one after the other; see `do`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        env = {**os.environ, **{k: str(v) for k, v in places.items()}, "MASTER_ADDR": "127.0.0.1"}
        words = [sys.executable, __file__, json.dumps(runs)]
        started.append(
            subprocess.Popen(
                words, env=env, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    return started


def wait_killed(started: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """Wait for processes of which the first is killed; return what they said, and to whom."""
    said = [process.communicate(timeout=120) for process in started]
    assert started[0].returncode == -signal.SIGKILL, said
    assert all(process.returncode == 1 for process in started[1:]), said
    return said


def do(
    folder: str,
    *,
    toy: dict[str, Any] = {},  # noqa: B006
    config_of: dict[str, Any] = {},  # noqa: B006
    kill_at: int = 0,
    room: int | None = None,
) -> None:
    """Train a toy in a folder; say how it failed, if it did.

    After the step `kill_at` the first process is killed. No file may have more than `room` bytes.
    """
    from vjepa_gym.errors import VJEPAGymError
    from vjepa_gym.learning.sharding import Sharding
    from vjepa_gym.learning.training import fit

    def on_step(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    fields = dict(config_of)
    if "sharding" in fields:
        fields["sharding"] = Sharding[fields["sharding"]]
    if fields.get("bfloat16"):
        toy = {**toy, "dtype": torch.float32}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room or before[0], before[1]))
    task = Toy(**toy)
    task.objective.checkpointing = fields.get("activation_checkpointing", False)
    try:
        fit(task, config(**fields), folder=Path(folder), seed=1, on_step=on_step)
    except (VJEPAGymError, OSError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


if __name__ == "__main__":
    import logging

    from vjepa_gym.learning.distributed import join_world

    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    with join_world():
        for run in json.loads(sys.argv[1]):
            do(**run)
