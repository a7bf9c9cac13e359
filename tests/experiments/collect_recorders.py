"""What stands in for the simulator in the workers of a collection."""

import os
import time
from pathlib import Path

from episodes import make_episode

from vjepa_gym.datasets.storage.lists import Entry, Lists
from vjepa_gym.experiments.collect.config import CollectConfig, Draw
from vjepa_gym.experiments.jobs.collect import Recorder
from vjepa_gym.types import Episode


def record_stub(config: CollectConfig) -> Recorder:
    def record(drawn: Draw) -> Episode:
        return make_episode(
            steps=config.steps,
            size=32,
            seed=drawn.seed,
            success=drawn.seed % 2 == 0,
            policy=drawn.behaviour,
        )

    return record


def record_slowly(config: CollectConfig) -> Recorder:
    record = record_stub(config)

    def record_later(drawn: Draw) -> Episode:
        time.sleep(0.02)
        return record(drawn)

    return record_later


def die_once(config: CollectConfig) -> Recorder:
    """Kill the first worker that begins its second episode, or every worker at once."""
    record, grave = record_stub(config), Path(config.root).with_name("died")
    recorded = []

    def record_or_die(drawn: Draw) -> Episode:
        first_death = len(recorded) == 1 and not grave.exists()
        if config.env_options.get("always") or first_death:
            grave.touch()
            os._exit(9)
        recorded.append(drawn.seed)
        return record(drawn)

    return record_or_die


def fail(config: CollectConfig) -> Recorder:
    raise RuntimeError(f"no such arm: {', '.join(config.labs)}")


def die_after_adding(config: CollectConfig) -> Recorder:
    """Kill the worker once its first episode is listed, before it can say so."""
    record, append = record_stub(config), Lists.append

    def append_and_die(lists: Lists, entry: Entry) -> None:
        append(lists, entry)
        grave = Path(config.root).with_name("died")
        if not grave.exists():
            grave.touch()
            os._exit(9)

    Lists.append = append_and_die
    return record
