"""Pretrains, as one of the processes that `torchrun` starts: `python <this> <runs as JSON>`."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def pretrain_together(runs: list[dict[str, Any]], processes: int = 2) -> list[int]:
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
            codes.append(process.wait(5 if any(codes) else 150))
        except subprocess.TimeoutExpired:  # The others wait for one that was killed.
            process.kill()
            codes.append(process.wait())
    return codes


def do(folder: str, sharding: str = "replicate", kill_at: int = 0, **given: Any) -> None:
    """Pretrain with images and the dense loss; the first process is killed after a step, if told.

    The clips get longer near the end, and a video cannot be read.
    """
    from dataclasses import replace

    from films import moving_squares

    from vjepa_gym.learning.sharding import Sharding
    from vjepa_gym.world_models.presets import debug
    from vjepa_gym.world_models.pretraining import pretrain
    from vjepa_gym.world_models.pretraining_presets import PRETRAINING

    def on_step(step: int, total: int, metrics: dict[str, float]) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    model = debug()
    shared = {"levels": 2, "image_tokens": True}
    model = replace(
        model,
        encoder=replace(model.encoder, **shared),
        predictor=replace(model.predictor, dense=True, **shared),
    )
    fields = {"steps": 20, "batch_size": 16, "checkpoint_every": 5, "learning_rate": 0.01} | given
    recipe = {"random_crop": True, "context_weight": 0.5, "cooldown_frames": 6, "ema_start": 0.9}
    films = moving_squares()
    films.broken = {"film-3.mp4"}
    pretrain(
        films,
        model,
        replace(
            PRETRAINING["tiny_21"](), **recipe, **fields, sharding=Sharding[sharding], log_every=1
        ),
        folder=Path(folder),
        seed=1,
        on_step=on_step,
        images=moving_squares(episodes=5, rows=1),
        skip_bad=True,
    )


if __name__ == "__main__":
    import torch

    from vjepa_gym.learning.distributed import join_world

    torch.set_num_threads(1)
    with join_world():
        for run in json.loads(sys.argv[1]):
            do(**run)
