"""What changed between the settings that a run was begun with and those it goes on with."""

from collections.abc import Mapping

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


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return sentences for a log about what is not as it was; none if all is.

    Args:
        before: The settings of a checkpoint, as JSON values.
        now: Those of the run that goes on from it.
    """
    old, new = _flat(before), _flat(now)
    found: dict[str, list[str]] = {}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and name not in WITHOUT_EFFECT:
            told = f"{name} {old.get(name, 'unset')} -> {new.get(name, 'unset')}"
            found.setdefault(_kind(name), []).append(told)
    return [f"{kind}: {', '.join(told)}." for kind, told in sorted(found.items())]


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
