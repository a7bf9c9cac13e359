"""Where to compute."""

import torch

from vjepa_gym.errors import UnknownNameError


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; for `auto`, a CUDA device if there is one, else the CPU.

    Raises:
        UnknownNameError: This machine has no such device.
    """
    here = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name == "auto":
        name = here[1] if len(here) > 1 else "cpu"
    if name not in here and not (name == "cuda" and len(here) > 1):
        raise UnknownNameError("device", name, ["auto", *here])
    return torch.device(name)
