"""Features of a video with any model: `python examples/features.py video.mp4 tiny`."""

import sys
from pathlib import Path

import av
import numpy as np
import torch

import vjepa_gym


def read(video: Path, frames: int) -> torch.Tensor:
    """Return frames that are evenly spread over a video."""
    with av.open(str(video)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = np.linspace(0, len(images) - 1, frames).round().astype(int)
    return torch.from_numpy(np.stack([images[i] for i in chosen]))


def main(video: Path, name: str = "tiny", frames: int = 16, device: str = "auto") -> None:
    """Encode a video and say what comes out."""
    model = vjepa_gym.load(name, device=device)
    features = model.encode_video(read(video, frames)[None])
    times, rows, columns = model.encoder.grid(frames, *[model.config.encoder.image_size] * 2)
    print(f"{times} times x {rows} rows x {columns} columns of {features.shape[-1]} features each")
    moved = features.unflatten(1, (times, -1)).diff(dim=1).norm(dim=-1).mean((0, 2))
    print("how far they move from one time to the next:", [round(x, 1) for x in moved.tolist()])


if __name__ == "__main__":
    main(Path(sys.argv[1]), name=sys.argv[2] if len(sys.argv) > 2 else "tiny")
