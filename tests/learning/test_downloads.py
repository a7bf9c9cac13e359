import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning import downloads
from vjepa_gym.learning.downloads import (
    RemoteFile,
    fetch,
    is_trusted,
    models_folder,
    sha256_of,
    trust,
)

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A file on a server of this machine that can be told to misbehave."""

    def __init__(self) -> None:
        self.content, self.etag = CONTENT, '"one"'
        self.ranges, self.length = True, True
        self.break_after: list[int] = []
        self.answers: list[int] = []
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/weights/model.pt"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if self.answers:
            handler.send_error(self.answers.pop(0))
            return
        condition = handler.headers.get("If-Range", self.etag)
        start = 0
        if asked and self.ranges and condition == self.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.end_headers()
            return
        part = self.content[start:]
        handler.send_response(206 if start else 200)
        if self.length:
            handler.send_header("Content-Length", str(len(part)))
        handler.send_header("ETag", self.etag)
        handler.end_headers()
        handler.wfile.write(part[: self.break_after.pop(0)] if self.break_after else part)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    monkeypatch.setattr(downloads, "ATTEMPTS", 3)
    server = Server()
    yield server
    server.close()


def remote(server: Server, **known: object) -> RemoteFile:
    return RemoteFile(url=server.url, **{"size": len(CONTENT), "sha256": SHA256, **known})


def test_a_file_is_fetched_once_and_its_progress_told(server: Server, tmp_path: Path) -> None:
    told = []
    path = fetch(remote(server), tmp_path / "new", lambda done, total: told.append((done, total)))
    assert path == tmp_path / "new" / "model.pt"
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(remote(server), tmp_path / "new") == path
    assert len(server.asked) == 1
    assert sha256_of(path) == SHA256


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    server: Server, tmp_path: Path
) -> None:
    server.break_after = [1000, 3000, 0, 5]
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    expected = [None, "bytes=1000-", "bytes=4000-", "bytes=4000-", "bytes=4005-"]
    assert server.asked == expected


def test_what_arrived_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000, 0, 0, 0]
    with pytest.raises(CheckpointError, match=r"1,000 bytes are kept, and the next call goes on"):
        fetch(remote(server), tmp_path)
    assert (tmp_path / "model.pt.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "model.pt").exists()
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000-"
    assert not (tmp_path / "model.pt.part").exists()


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.break_after = [1000]
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_joined_to_the_old_one(
    server: Server, tmp_path: Path
) -> None:
    server.break_after = [1000, 0, 0, 0]
    unknown = remote(server, size=None, sha256=None)
    with pytest.raises(CheckpointError):
        fetch(unknown, tmp_path)
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert fetch(unknown, tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_whole_already_is_not_fetched_again(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    (tmp_path / "model.pt.part").write_bytes(CONTENT)
    assert fetch(remote(server, size=size), tmp_path).read_bytes() == CONTENT
    assert server.asked == ([] if size else [f"bytes={len(CONTENT)}-"])


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").write_bytes(CONTENT + b"more")
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_server_that_tells_no_length_is_believed(server: Server, tmp_path: Path) -> None:
    server.length = False
    assert fetch(remote(server, size=None), tmp_path).read_bytes() == CONTENT


def test_a_file_with_another_digest_never_gets_its_name(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=rf"SHA-256 [0-9a-f]{{64}} instead of {SHA256}"):
        fetch(remote(server), tmp_path)
    assert not (tmp_path / "model.pt").exists()
    # Who knows better says so, and nothing is fetched again.
    asked = len(server.asked)
    digest = hashlib.sha256(CONTENT[::-1]).hexdigest().upper()
    assert fetch(remote(server, sha256=digest), tmp_path).read_bytes() == CONTENT[::-1]
    assert len(server.asked) == asked


def test_a_file_of_another_size_is_told(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:500]
    with pytest.raises(CheckpointError, match=r"500 bytes instead of the 10,240 that it should"):
        fetch(remote(server), tmp_path)


def test_without_a_known_digest_the_first_file_is_trusted_and_then_watched(
    server: Server, tmp_path: Path
) -> None:
    unknown = remote(server, size=None, sha256=None)
    path, record = fetch(unknown, tmp_path), tmp_path / "model.pt.json"
    assert not record.exists()  # Nobody has loaded it yet.
    trust(path, unknown)
    assert is_trusted(path)
    known = json.loads(record.read_text())
    assert known == {"url": server.url, "size": len(CONTENT), "sha256": SHA256}
    path.write_bytes(CONTENT[:-1] + b"?")
    told = rf"which it had when it was first loaded, by {record}: it is .* delete {record};"
    with pytest.raises(CheckpointError, match=told):
        fetch(unknown, tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=r"10,239 bytes instead of the 10,240"):
        fetch(unknown, tmp_path)
    path.unlink()
    assert fetch(unknown, tmp_path).read_bytes() == CONTENT
    assert not record.exists()


def test_a_file_put_there_by_hand_is_checked_and_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(CONTENT)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    (tmp_path / "model.pt").write_bytes(CONTENT[::-1])
    with pytest.raises(CheckpointError, match="damaged or another file"):
        fetch(remote(server), tmp_path)
    assert server.asked == []


def test_offline_the_message_says_which_file_from_where_and_where_to_put_it(
    server: Server, tmp_path: Path
) -> None:
    server.close()
    with pytest.raises(CheckpointError) as caught:
        fetch(remote(server, size=11_760_743_310), tmp_path)
    message = str(caught.value)
    assert message.startswith("model.pt (11.76 GB) is not on this machine and cannot be fetched")
    assert f"get {server.url} and put it at {tmp_path / 'model.pt'}" in message


def test_a_refusal_is_told_at_once_and_a_hiccup_is_waited_out(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [403]
    with pytest.raises(CheckpointError, match="the server answers 403 Forbidden"):
        fetch(remote(server), tmp_path)
    server.answers = [503, 500]
    (tmp_path / "model.pt.part").write_bytes(CONTENT[:10])
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_noticed_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5000))
    with pytest.raises(CheckpointError, match=r"needs 0\.00 GB more and the disk has 0\.00 GB"):
        fetch(remote(server), tmp_path)
    assert not (tmp_path / "model.pt.part").exists()
    (tmp_path / "model.pt.part").write_bytes(CONTENT[:6000])
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_two_who_want_the_same_file_fetch_it_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(remote(server), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


def test_files_are_kept_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VJEPA_GYM_CACHE", str(tmp_path))
    assert models_folder() == tmp_path / "models"
    monkeypatch.delenv("VJEPA_GYM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert models_folder() == tmp_path / "home" / ".cache" / "vjepa_gym" / "models"
