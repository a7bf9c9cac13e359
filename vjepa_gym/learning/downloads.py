"""Fetching large files: broken-off downloads go on, and what arrives is checked by its digest."""

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import read_json, write_json

OnProgress: TypeAlias = Callable[[int, int | None], None]
"""Told how many bytes there are so far, and how many there will be, if that is known."""

CHUNK = 1 << 20
"""Bytes that are read at once."""
TIMEOUT = 60.0
"""Longest silence of a server that is waited for [s]."""
ATTEMPTS = 5
"""Times in a row that a connection may break without a byte before giving up."""
PAUSE = 1.0
"""Wait before the next attempt [s]."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file somewhere else.

    Attributes:
        url: Where it is.
        size: Its bytes, if they are known.
        sha256: Its digest in hexadecimals, if it is known.
    """

    url: str
    size: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """What it is called, there and here."""
        return self.url.rsplit("/", 1)[-1]


def models_folder() -> Path:
    """Return where files are kept: `models` in `$VJEPA_GYM_CACHE` or in `~/.cache/vjepa_gym`."""
    root = os.environ.get("VJEPA_GYM_CACHE") or Path.home() / ".cache" / "vjepa_gym"
    return Path(root) / "models"


def fetch(remote: RemoteFile, folder: Path, on_progress: OnProgress | None = None) -> Path:
    """Return the file in `folder`, fetched before if it is not there yet.

    What has arrived of it is kept as `<name>.part`, and the next call goes on from there. Every
    call with a known digest, or with one that `trust` wrote down, reads the whole file once to
    compare. Several processes may call at once: one fetches, the others wait.

    Args:
        remote: What to fetch.
        folder: Made if need be.
        on_progress: Told of every megabyte.

    Raises:
        CheckpointError: It cannot be fetched (the message says where to put it by hand), the disk
            has no room for it, or it is not what it should be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / remote.name
    record = _record_of(path)
    with _locked(folder / f"{remote.name}.lock"):
        if path.is_file():
            _check(path, remote, record)
        else:
            record.unlink(missing_ok=True)  # It was of a file that is gone.
            part = _Part(remote, path, on_progress)
            part.complete()
            # Checked before it gets its name: under that name there are whole files only.
            _check(part.path, remote, None)
            part.path.replace(path)
            part.etag_path.unlink(missing_ok=True)
    return path


def trust(path: Path, remote: RemoteFile) -> None:
    """Write down the digest of a fetched file beside it, so that later damage is noticed.

    Called when the file was found to be whole and good, since from then on it is held against it.
    """
    known = {"url": remote.url, "size": path.stat().st_size, "sha256": sha256_of(path)}
    write_json(_record_of(path), known)


def is_trusted(path: Path) -> bool:
    """Return whether `trust` wrote down the digest of a file."""
    return _record_of(path).exists()


def check_digest(path: Path, sha256: str) -> None:
    """Refuse a file whose SHA-256 is not the one that is given.

    Raises:
        CheckpointError: It is another.
    """
    digest = sha256_of(path)
    if digest != sha256.lower():
        raise CheckpointError(
            f"{path} has the SHA-256 {digest} instead of {sha256.lower()}, which was asked for: it"
            " is damaged or another file."
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimals."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _check(path: Path, remote: RemoteFile, record: Path | None) -> None:
    """Refuse a file whose size or digest is not the one that is known, if one is."""
    size, sha256, said_by = remote.size, remote.sha256, "it should have"
    delete = "Delete it"
    if sha256 is None and record is not None and record.exists():
        known = read_json(record)
        if not isinstance(known, dict) or not {"size", "sha256"} <= known.keys():
            raise CheckpointError(
                f"{record} has no size and sha256; delete it to take {path} on trust."
            )
        size, sha256 = known["size"], known["sha256"]
        said_by = f"it had when it was first loaded, by {record}"
        delete = f"If it is the right one, delete {record}; otherwise delete it"
    found = path.stat().st_size
    if size is not None and found != size:
        raise CheckpointError(
            f"{path} has {found:,} bytes instead of the {size:,} that {said_by}. {delete} to"
            f" fetch {remote.url} again."
        )
    if sha256 is None:
        return
    digest = sha256_of(path)
    if digest != sha256.lower():
        raise CheckpointError(
            f"{path} has the SHA-256 {digest} instead of {sha256.lower()}, which {said_by}: it is"
            f" damaged or another file. {delete} to fetch {remote.url} again; if the publisher has"
            " changed the file, give the new `sha256`."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Part:
    """What has arrived of a file."""

    def __init__(self, remote: RemoteFile, path: Path, on_progress: OnProgress | None) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.etag_path = path.with_name(f"{path.name}.part.json")
        self._remote, self._final, self._on_progress = remote, path, on_progress
        self._total = remote.size

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def complete(self) -> None:
        """Fetch what is missing; go on after breaks for as long as bytes arrive."""
        failures = 0
        while True:
            before = self.size
            try:
                self._receive()
            except urllib.error.HTTPError as error:
                failures += 1
                self._refused(error, failures)
            except (OSError, http.client.HTTPException) as error:
                failures = 0 if self.size > before else failures + 1
                self._broken(error, failures)
            else:
                if self._total is None or self.size == self._total:
                    return
                failures = 0 if self.size > before else failures + 1
                self._broken(ConnectionError("the connection was closed early"), failures)

    def _receive(self) -> None:
        """Ask for what is missing and append it."""
        have = self.size
        if self._total is not None and have == self._total:
            return
        with urllib.request.urlopen(self._request(have), timeout=TIMEOUT) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                have = 0  # All of it comes, since the server knows no ranges or has a new file.
            length = response.headers.get("Content-Length")
            if length is not None:
                self._total = have + int(length)
            self._make_room(have)
            write_json(self.etag_path, {"etag": response.headers.get("ETag")})
            with self.path.open("r+b" if have else "wb") as file:
                file.seek(have)
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    if self._on_progress is not None:
                        self._on_progress(file.tell(), self._total)

    def _request(self, have: int) -> urllib.request.Request:
        headers = {"User-Agent": "vjepa-gym"}
        if have:
            headers["Range"] = f"bytes={have}-"
            try:
                etag = json.loads(self.etag_path.read_text())["etag"]
            except (OSError, ValueError, KeyError, TypeError):
                etag = None
            if etag and not etag.startswith("W/"):
                headers["If-Range"] = etag  # A file that has changed since comes whole.
        return urllib.request.Request(self._remote.url, headers=headers)

    def _make_room(self, have: int) -> None:
        if self._total is None:
            return
        free = shutil.disk_usage(self.path.parent).free
        if self._total - have > free + (self.size - have):
            raise CheckpointError(
                f"{self._final} needs {(self._total - have) / 1e9:.2f} GB more and the disk has"
                f" {free / 1e9:.2f} GB. Make room, or let VJEPA_GYM_CACHE name a folder elsewhere."
            )

    def _refused(self, error: urllib.error.HTTPError, failures: int) -> None:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.size:
            if error.headers.get("Content-Range") == f"bytes */{self.size}":
                self._total = self.size
            else:
                self.path.unlink()  # More than the server has: of another file.
        elif error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            self._broken(error, failures)
        else:
            answer = f"the server answers {error.code} {error.reason}"
            raise CheckpointError(f"{self._told()}: {answer}.") from error

    def _broken(self, error: Exception, failures: int) -> None:
        """Wait, unless there is no network at all or it has been tried often enough."""
        unreachable = isinstance(error, urllib.error.URLError) and not self.size
        if unreachable or failures >= ATTEMPTS:
            reason = getattr(error, "reason", error)
            kept = f" {self.size:,} bytes are kept, and the next call goes on." if self.size else ""
            raise CheckpointError(f"{self._told()}: {reason}.{kept}") from error
        time.sleep(PAUSE)

    def _told(self) -> str:
        size = f" ({self._total / 1e9:.2f} GB)" if self._total else ""
        return (
            f"{self._final.name}{size} is not on this machine and cannot be fetched. Where there is"
            f" a network, get {self._remote.url} and put it at {self._final}. What went wrong"
        )
