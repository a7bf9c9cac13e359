"""JSON objects with known keys, read so that anything else is named."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vjepa_gym.datasets.droid.kinds import Defect, defect

LARGEST = 1 << 28
"""No description of an episode is larger [bytes]."""
NOUNS = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}


def read_json(path: Path) -> tuple[dict[str, Any] | None, list[Defect]]:
    """Return an object from a file, or what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            return None, [defect("description", path, f"expected at most {LARGEST} bytes")]
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, [defect("missing_file", path, "not found")]
    except (OSError, ValueError, RecursionError) as error:
        return None, [defect("description", path, f"expected whole JSON, but {error}")]
    if not isinstance(content, dict):
        found = type(content).__name__
        return None, [defect("description", path, f"expected an object, found {found}")]
    return content, []


def check_types(
    path: Path, content: Mapping[str, Any], expected: Mapping[str, type]
) -> list[Defect]:
    """Return which keys of `content` are missing or have values of another type.

    Args:
        path: Where `content` is from.
        content: What was read.
        expected: The type of each key that must be there: bool, str, int, float, list or dict.
    """
    defects = []
    for key, kind in expected.items():
        noun = NOUNS.get(kind, f"a {kind.__name__}")
        if content.get(key) is None:
            defects.append(defect("missing_key", path, f"expected {noun} as {key}, found nothing"))
        elif not is_a(content[key], kind):
            said = f"expected {noun} as {key}, found {shown(content[key])}"
            defects.append(defect("wrong_type", path, said))
    return defects


def is_a(value: Any, kind: type) -> bool:
    """Return whether a JSON value is of a type; a truth value is no number, infinity neither."""
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
    return isinstance(value, kind)


def shown(value: Any) -> str:
    """Return a value in words that are not too long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number with thousands of digits, lists in lists
        return f"a huge {type(value).__name__}"
    return text if len(text) < 100 else f"{text[:100]}..."
