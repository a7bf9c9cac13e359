"""Reads clips with the unmodified file of facebookresearch/vjepa2; its own program, since it hangs.

Arguments: the file, where to write, and a JSON list of [name, list, frames, fps].
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch

CLIPS = 6


def main(loader: str, target: str, cases: str) -> None:
    spec = importlib.util.spec_from_file_location("droid_loader", loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    np.random.seed(0)
    torch.manual_seed(0)
    for name, paths, frames, fps in json.loads(cases):
        for view in ("left", "right", "wrist"):
            for camera_frame in (False, True):
                dataset = module.DROIDVideoDataset(
                    paths,
                    camera_views=[f"{view}_mp4_path"],
                    frameskip=1,
                    frames_per_clip=frames,
                    fps=fps,
                    camera_frame=camera_frame,
                )
                keys = ("images", "actions", "states", "extrinsics", "rows")
                for clip in range(CLIPS):
                    found = dict(zip(keys, dataset[0], strict=True))
                    np.savez(f"{target}/{name}-{view}-{camera_frame}-{clip}.npz", **found)
    Path(target, "done").touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
