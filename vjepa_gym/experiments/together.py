"""Several processes with the same command line, as `torchrun` starts them; one speaks for all."""

import os
import sys

TOGETHER = ("pretrain", "train")
"""The jobs that several processes can do together."""


def processes() -> int:
    """Return how many processes were started with this command line."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def is_first() -> bool:
    """Return whether this process prints, logs, and writes the folder of the run."""
    return processes() == 1 or os.environ["RANK"] == "0"


def is_to_say(text: str) -> bool:
    """Return whether this process is to say what went wrong: the first of those that know."""
    if processes() == 1:
        return True
    if "vjepa_gym.learning.distributed" in sys.modules:
        from vjepa_gym.learning.distributed import current_world

        if current_world().joined:
            return current_world().is_first_to_say(text)
    return is_first()
