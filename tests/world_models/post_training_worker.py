"""Post-trains, as one of the processes that `torchrun` starts: `python <this> <runs as JSON>`."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def train_together(runs: list[dict[str, Any]], processes: int = 2) -> list[int]:
    """Do `runs` one after the other on several processes, see `do`; return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        env = {**os.environ, **{k: str(v) for k, v in places.items()}, "MASTER_ADDR": "127.0.0.1"}
        words = [sys.executable, __file__, json.dumps(runs)]
        started.append(subprocess.Popen(words, env=env, cwd=HERE))
    codes = []
    for process in started:
        try:
            codes.append(process.wait(20 if any(codes) else 120))
        except subprocess.TimeoutExpired:  # The others wait for one that was killed.
            process.kill()
            codes.append(process.wait())
    return codes


def do(
    folder: str, latents: str = "cache", sharding: str = "replicate", kill_at: int = 0, **given: Any
) -> None:
    """Post-train in a folder; the first process is killed after a step, if told."""
    from post_training_cases import some_model, walks

    from vjepa_gym.learning.sharding import Sharding
    from vjepa_gym.world_models.post_training import Latents, train_predictor
    from vjepa_gym.world_models.post_training_config import PostTrainingConfig
    from vjepa_gym.world_models.starting_model import StartingModel

    def on_step(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    fields = {"steps": 20, "batch_size": 8, "checkpoint_every": 5, "log_every": 1} | given
    trained = train_predictor(
        walks(),
        StartingModel(world_model=some_model(), trained=False),
        PostTrainingConfig(**fields, random_start=True, sharding=Sharding[sharding]),
        folder=Path(folder),
        seed=1,
        latents=Latents[latents],
        on_step=on_step,
    )
    # Whole again on every process, however it was shared out.
    total = sum(float(x.sum()) for x in trained.predictor.parameters())
    (Path(folder) / f"sum-{os.environ.get('RANK', '0')}").write_text(f"{total:.6f}")


if __name__ == "__main__":
    import torch

    from vjepa_gym.learning.distributed import join_world

    torch.set_num_threads(1)
    with join_world():
        for run in json.loads(sys.argv[1]):
            do(**run)
