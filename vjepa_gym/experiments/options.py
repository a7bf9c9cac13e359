"""What can be set on the command line: keys, defaults and meanings, read from the dataclasses."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from typing import Any

from vjepa_gym.experiments.cli import FLAGS, POSITIONAL
from vjepa_gym.experiments.config import GROUPS, PRESETS, SWAPPED, WHOLE, WHOLE_PRESETS

WIDTH = 100
WITH_GROUPS = ("evaluate", "compare", "goal", "landscape")
"""The jobs that depend on more than their own keys."""


def describe_job(job: str, line: str) -> str:
    """Return what `vjepa-gym <job> --help` shows."""
    said = [usage(job), "", f"Will {line}.", ""]
    said += _keys("job", GROUPS["job"][job])
    if job in WITH_GROUPS:
        for group, options in GROUPS.items():
            if group != "job":
                said += _options(group, options)
    for key, presets in PRESETS.get(job, {}).items():
        said += ["", f"{key}=<{'|'.join(presets)}> takes a preset."]
        said += _further_keys(key, presets) if key in SWAPPED else []
    if job in WHOLE_PRESETS:
        said += _whole_presets(WHOLE_PRESETS[job])
    return "\n".join(said)


def usage(job: str) -> str:
    """Return which words a job takes: `vjepa-gym audit [root] [--checksums] [key=value ...]`."""
    words = [f"[{key}]" for key in POSITIONAL.get(job, ())]
    words += [f"[--{key}]" for key in FLAGS.get(job, ())]
    words += ["[group=option ...]"] if job in WITH_GROUPS else []
    return " ".join(["vjepa-gym", job, *words, "[key=value ...]"])


def _whole_presets(presets: Mapping[str, Callable[[], Mapping[str, Any]]]) -> list[str]:
    said = ["", f"{WHOLE}=<{'|'.join(presets)}> sets several keys; what is set besides wins."]
    for name, make in presets.items():
        values = "  ".join(f"{key}={value}" for key, value in make().items())
        said += [f"  {name}: {(make.__doc__ or '').strip()}", f"      {values}"]
    return said


def _further_keys(key: str, presets: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Return the keys that presets have which are of another dataclass than the first."""
    said: list[str] = []
    kinds: dict[type, set[str]] = {}
    for name, make in presets.items():
        config = make()
        if type(config) not in kinds:
            fields = {field.name for field in dataclasses.fields(config)}
            further = fields.difference(*kinds.values()) if kinds else set()
            kinds[type(config)] = fields
            if further:
                said += [f"  with {key}={name}", *_keys(key, config, further)]
    return said


def _options(group: str, options: Mapping[str, Any]) -> list[str]:
    said = ["", f"{group}=<{'|'.join(options)}>"]
    kinds: set[type] = set()
    for name, node in options.items():
        kind = node if isinstance(node, type) else type(node)
        keys = [] if kind in kinds else _keys(group, node)
        if keys:
            said += [f"  {group}={name}", *keys]
        kinds.add(kind)
    return said


def _keys(prefix: str, node: Any, only: Collection[str] | None = None) -> list[str]:
    """Return the lines of each key below `prefix`, or of `only` some of its fields."""
    lines = []
    for key, value, meaning in walk(prefix, node() if isinstance(node, type) else node):
        if only is not None and key.removeprefix(f"{prefix}.") not in only:
            continue
        choices = [one.name for one in type(value)] if isinstance(value, Enum) else []
        lines.append(f"  {key}={typed(value)}" + (f"  ({'|'.join(choices)})" if choices else ""))
        lines += textwrap.wrap(meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines


def typed(value: Any) -> str:
    """Return a value as one would type it, of a dataclass what differs from its defaults."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{typed(one)}" for name, one in value.items()) + "}"
    if dataclasses.is_dataclass(value):
        told = [(field.name, getattr(value, field.name)) for field in _changed(value)]
        return "{" + ",".join(f"{name}:{typed(one)}" for name, one in told) + "}"
    return "null" if value is None else str(value)


def _changed(config: Any) -> list[dataclasses.Field[Any]]:
    defaults = {
        field.name: field.default
        if field.default_factory is dataclasses.MISSING
        else field.default_factory()
        for field in dataclasses.fields(config)
    }
    return [
        field
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != defaults[field.name]
    ]


def walk(prefix: str, config: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield each key below `prefix`, its value in `config`, and its meaning."""
    meanings = field_docstrings(type(config))
    for field in dataclasses.fields(config):
        key, value = f"{prefix}.{field.name}", getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from walk(key, value)
        else:
            yield key, value, meanings.get(field.name, "")


def field_docstrings(kind: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass and of those it derives from."""
    found: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, after in zip(definition.body, definition.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(after.value.value).split())
    return found
