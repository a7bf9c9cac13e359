"""Ways to look at an episode that go wrong; worker processes import them by name."""

import os
import signal
import time
from pathlib import Path

from vjepa_gym.datasets.droid.defects import Defect
from vjepa_gym.experiments.audit.episode import Look, LookAtEpisode

LOOK = LookAtEpisode()


def seen(folder: Path, log: Path) -> Look:
    """Note down that an episode was looked at, for the test to count."""
    with log.open("a") as file:
        file.write(f"{folder}\n")
    return LOOK(folder)


def fatal(folder: Path, ends: dict[str, str], log: Path) -> Look:
    """Come to the end that the name of a folder has in `ends`."""
    match ends.get(folder.name):
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os.write(2, b"libfoo: corrupt header\n")
            os._exit(3)
        case "raise":
            raise RuntimeError("no such dataspace")
        case "hang":
            while True:
                time.sleep(0.05)
        case "slow":
            time.sleep(30)
    return seen(folder, log)


def defective(folder: Path) -> Look:
    """Find two defects in each failure."""
    facts = LOOK(folder).facts
    kinds = ["rows", "[bold]gripper"] if facts is not None and not facts.success else []
    return Look(defects=[Defect(kind=kind, detail=f"<b>{kind}</b>") for kind in kinds], facts=facts)


def leaping(folder: Path, few: str) -> Look:
    """Find one note in each episode, and another and an error in the one called `few`."""
    defects = [Defect(kind="wrap_around", detail="an angle leaps at row 7")]
    if folder.name == few:
        defects.append(Defect(kind="calibration", detail="the optical centre of one"))
        defects.append(Defect(kind="time", detail="no clock"))
    return Look(defects=defects, facts=None)


def echo(item: int) -> int:
    """Return what was given, or die of 13."""
    if item == 13:
        os._exit(7)
    return item


def slowly(item: int, log: str) -> int:
    """Say who works, and work for ever."""
    Path(log).write_text(str(os.getpid()))
    time.sleep(600)
    return item
