"""Ways in which an episode on disk goes wrong, each drawn from a generator."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

Mutation = Callable[[Path, np.random.Generator], str]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def one_of(rng: np.random.Generator, things: list):
    return things[int(rng.integers(len(things)))]


def _said(path: Path, folder: Path, what: str) -> str:
    return f"{path.relative_to(folder)}: {what}"


def flip(folder: Path, rng: np.random.Generator) -> str:
    """Bits anywhere in a file, most of them in its first or last kilobytes, where structure is."""
    path = one_of(rng, files(folder))
    content = bytearray(path.read_bytes())
    where = rng.integers(len(content), size=int(rng.integers(1, 9)))
    region = int(rng.integers(3))
    if region == 1:
        where %= min(len(content), 2048)
    if region == 2:
        where = len(content) - 1 - where % min(len(content), 1500)
    for position in where:
        content[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return _said(path, folder, f"bits flipped at {sorted(where.tolist())}")


def overwrite(folder: Path, rng: np.random.Generator) -> str:
    path = one_of(rng, files(folder))
    content = bytearray(path.read_bytes())
    start = int(rng.integers(len(content)))
    length = min(int(rng.integers(4, 600)), len(content) - start)
    kind = one_of(rng, ["zeros", "ones", "noise"])
    fill = {"zeros": b"\0" * length, "ones": b"\xff" * length, "noise": rng.bytes(length)}[kind]
    content[start : start + length] = fill
    path.write_bytes(content)
    return _said(path, folder, f"{length} bytes of {kind} at {start}")


def truncate(folder: Path, rng: np.random.Generator) -> str:
    path = one_of(rng, files(folder))
    content = path.read_bytes()
    kept = int(rng.integers(len(content)))
    path.write_bytes(content[:kept])
    return _said(path, folder, f"cut after {kept} of {len(content)} bytes")


def append(folder: Path, rng: np.random.Generator) -> str:
    path = one_of(rng, files(folder))
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(1, 300))))
    return _said(path, folder, "bytes appended")


def replace_file(folder: Path, rng: np.random.Generator) -> str:
    """A file is gone, a folder, a link to nothing or itself, a pointer, or another file."""
    path = one_of(rng, files(folder))
    other = one_of(rng, files(folder)).read_bytes()
    kind = one_of(rng, ["gone", "folder", "empty", "dangling", "loop", "pointer", "other"])
    path.unlink()
    if kind == "folder":
        path.mkdir()
    if kind in ("empty", "pointer", "other"):
        pointer = b"version https://git-lfs.github.com/spec/v1\nsize 1234\n"
        path.write_bytes({"empty": b"", "pointer": pointer, "other": other}[kind])
    if kind in ("dangling", "loop"):
        path.symlink_to(path.name if kind == "loop" else "nowhere")
    return _said(path, folder, kind)


def _columns(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, thing: names.append(name) and None)
    return sorted(names)


def change_key(folder: Path, rng: np.random.Generator) -> str:
    path = folder / "trajectory.h5"
    with h5py.File(path, "a") as file:
        name = one_of(rng, _columns(file))
        kind = one_of(rng, ["removed", "renamed", "a group", "a dangling link", "a loop"])
        if kind == "renamed":
            file.move(name, f"{name}s")
        else:
            del file[name]
        if kind == "a group":
            file.create_group(name)
        if kind == "a dangling link":
            file[name] = h5py.SoftLink("/nowhere")
        if kind == "a loop":
            file[name] = h5py.SoftLink(f"/{name}")
    return _said(path, folder, f"{name} {kind}")


ALTERATIONS: dict[str, Callable[[np.ndarray], object]] = {
    "as text": lambda values: values.astype("S32"),
    "as truth values": lambda values: values.astype(bool),
    "as bytes": lambda values: values.astype(np.uint8),
    "as half floats": lambda values: values.astype(np.float16),
    "as objects": lambda values: [str(value) for value in values.reshape(-1)],
    "with an axis more": lambda values: values[..., None],
    "without its first axis": lambda values: values[0] if len(values) else 0.0,
    "with a row more": lambda values: np.concatenate([values, values[-1:]]),
    "with a row less": lambda values: values[:-1],
    "empty": lambda values: values[:0],
    "as one number": lambda values: 1.0,
    "with NaN": lambda values: np.where(
        np.arange(values.size).reshape(values.shape), values, np.nan
    ),
    "huge": lambda values: values * 1e300,
    "turned about": lambda values: values.T,
    "backwards": lambda values: values[::-1],
}


def change_column(folder: Path, rng: np.random.Generator) -> str:
    path = folder / "trajectory.h5"
    with h5py.File(path, "a") as file:
        names = [name for name in _columns(file) if isinstance(file[name], h5py.Dataset)]
        name, kind = one_of(rng, names), one_of(rng, [*ALTERATIONS, "claimed endless", "compound"])
        values = np.array(file[name])
        del file[name]
        if kind == "claimed endless":
            shape = (1 << 40, *values.shape[1:])
            file.create_dataset(name, shape, values.dtype, chunks=(1, *values.shape[1:]))
        elif kind == "compound":
            file[name] = np.zeros(len(values), [("a", "f8"), ("b", "i4")])
        else:
            with np.errstate(all="ignore"):
                file[name] = ALTERATIONS[kind](values)
    return _said(path, folder, f"{name} {kind}")


VALUES = [None, True, -1, 1.5, "", "text", [], {}, [1, 2], 10**400, "recordings/MP4/../../x.mp4"]


def change_json(folder: Path, rng: np.random.Generator) -> str:
    """Another value, type or name of a key, at any depth; or no JSON at all."""
    path = one_of(rng, sorted(folder.rglob("*.json")))
    kind = one_of(rng, ["value", "removed", "renamed", "deep", "list", "not UTF-8", "twice"])
    if kind in ("deep", "list", "not UTF-8"):
        whole = {"deep": b'{"a":' * 90_000, "list": b"[]", "not UTF-8": b'{"a": "\xff"}'}[kind]
        path.write_bytes(whole)
        return _said(path, folder, kind)
    if kind == "twice":
        (path.parent / "another.json").write_bytes(path.read_bytes())
        return _said(path, folder, kind)
    content = json.loads(path.read_text())
    inner = content
    for _ in range(int(rng.integers(3))):
        nested = [value for value in inner.values() if isinstance(value, dict) and value]
        inner = one_of(rng, nested) if nested else inner
    key = one_of(rng, list(inner))
    value = inner.pop(key)
    if kind == "renamed":
        inner[f"{key}_"] = value
    if kind == "value":
        inner[key] = one_of(rng, VALUES)
    path.write_text(json.dumps(content))
    return _said(path, folder, f"{key} {kind} {inner.get(key)!r:.40}")


MUTATIONS: list[Mutation] = [
    flip,
    flip,
    flip,
    overwrite,
    truncate,
    append,
    replace_file,
    change_key,
    change_column,
    change_column,
    change_json,
    change_json,
]
"""Those that say more are drawn more often."""
