"""What changed between the settings that a run was begun with and those it goes on with."""

from collections.abc import Mapping
from pathlib import Path

WITHOUT_EFFECT = (
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "prefetch",
    "readers",
    "collapse_below",
    "collapse_patience",
)
"""Settings that change nothing of what is learnt."""
ROUNDING = ("processes", "accumulate", "sharding", "activation_checkpointing", "compile")
"""Settings by which results differ like sums in another order."""
OTHER_BATCHES = ("seed", "batch_size")
"""Settings without which the batches are others."""
FACTS = "facts"
"""What a run learns from, by name; another one is told, and learnt from."""
DATA = "data"
"""The fact that says what the data are."""
IDENTITY = "identity"
"""What must be as it was, or weights would be put to another use than they were trained for."""
OTHER_FACTS = "Not the same run as before, since it learns from something else"


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return sentences for a log about what is not as it was; none if all is.

    Args:
        before: The settings of a checkpoint, as JSON values.
        now: Those of the run that goes on from it.
    """
    apart = (FACTS, IDENTITY)
    old, new = (
        _flat({name: value for name, value in one.items() if name not in apart})
        for one in (before, now)
    )
    found: dict[str, list[str]] = {}
    if told := _differing(before.get(FACTS), now.get(FACTS)):
        found[OTHER_FACTS] = told
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and name not in WITHOUT_EFFECT:
            told = f"{name} {old.get(name, 'unset')} -> {new.get(name, 'unset')}"
            found.setdefault(_kind(name), []).append(told)
    return [f"{kind}: {', '.join(told)}." for kind, told in sorted(found.items())]


def identity_changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return `model.encoder.heads 2 -> 4` for all that had to be as it was, and is not.

    What only one of them says, such as a checkpoint of an earlier version, counts as equal.

    Args:
        before: The settings of a checkpoint, as JSON values.
        now: Those of the run that is to go on from it.
    """
    return _differing(before.get(IDENTITY), now.get(IDENTITY))


def nothing_left(
    done: int, before: Mapping[str, object], now: Mapping[str, object], folder: Path
) -> str:
    """Return a sentence about a training that is finished, or nothing if it is not.

    Args:
        done: Steps that are done.
        before: The settings of the checkpoint, as JSON values.
        now: Those of the run, with the `steps` that it is to have.
        folder: Of the run.
    """
    steps = now.get("steps")
    if not isinstance(steps, int) or done < steps:
        return ""
    facts = before.get(FACTS)
    data = f", on {facts[DATA]}" if isinstance(facts, Mapping) and DATA in facts else ""
    return (
        f"Nothing is left to do in {folder}: {done} steps of the {steps} asked for are done{data}."
        f" For more, ask for more than {done} steps; for another training, take another folder."
    )


def _differing(before: object, now: object, name: str = "") -> list[str]:
    """Return `name old -> new` for what both say, and differently; lists are told whole."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            line
            for key in before
            if key in now
            for line in _differing(before[key], now[key], f"{name}.{key}" if name else str(key))
        ]
    return [] if not name or before == now else [f"{name} {before} -> {now}"]


def _kind(name: str) -> str:
    if name in ROUNDING:
        return "Resuming on other terms; only rounding will differ"
    if name in OTHER_BATCHES:
        return "Not the same run as before, since its batches are others"
    return "Resuming with other settings than before"


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Return the leaves of JSON values by dotted name."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {name: value}
    leaves: dict[str, object] = {}
    for key, item in items:
        leaves |= _flat(item, f"{name}.{key}" if name else key)
    return leaves
