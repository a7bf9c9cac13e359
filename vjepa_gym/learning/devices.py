"""Where to compute."""

import torch

from vjepa_gym.errors import UnknownNameError
from vjepa_gym.learning.distributed import current_world


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; for `auto`, a CUDA device if there is one, else the CPU.

    Of several processes that train together, each has a CUDA device of its own, unless told else.

    Raises:
        UnknownNameError: This machine has no such device.
    """
    here = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    world = current_world()
    if world.joined and name in ("auto", "cuda") and world.device.type == "cuda":
        return world.device
    if name == "auto":
        name = here[1] if len(here) > 1 else "cpu"
    if name not in here and not (name == "cuda" and len(here) > 1):
        raise UnknownNameError("device", name, ["auto", *here])
    return torch.device(name)
