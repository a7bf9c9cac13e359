"""A real disk that is full, at any byte at which it can be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DATASETS = Path(__file__).parents[1] / "datasets"

RUN = """
import json, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from episodes import make_episode
from vjepa_gym.datasets.droid import writing as droid
from vjepa_gym.datasets.storage.disk import DiskFullError, free_bytes
from vjepa_gym.datasets.storage.store import EpisodeStore

disk, told = Path({disk!r}), []
for spare in range(0, 160_000, 4096):
    store = EpisodeStore(disk / f"set-{{spare}}")
    store.write(0, make_episode(seed=0))
    filler = disk / "filler"
    filler.write_bytes(bytes(max(free_bytes(disk) - spare, 0)))
    try:
        store.write(1, make_episode(seed=1))
        told.append("")
    except DiskFullError as error:
        told.append(str(error))
    for sidecar in store.root.glob("*/*/*/*/vjg"):
        droid.verify(sidecar.parent)
        droid.read_episode(sidecar.parent)
    filler.unlink()
    store.recover()
    if 1 not in store.indices():
        store.write(1, make_episode(seed=1))
    index = (store.root / "index.jsonl").read_text()
    print(json.dumps([told[-1], index]))
"""


def test_a_full_disk_leaves_whole_episodes_and_says_what_is_missing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "run.py").write_text(RUN.format(helpers=str(DATASETS), disk=str(disk)))
    if not shutil.which("unshare"):
        pytest.fail("this test mounts a disk of its own by `unshare -rm`")
    mount = f"mount -t tmpfs -o size=20m tmpfs {disk}"
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec {sys.executable} {tmp_path / 'run.py'}"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    said = [json.loads(line) for line in run.stdout.splitlines()]
    assert len({index for _, index in said}) == 1
    full = [told for told, _ in said if told]
    print(f"{len(full)} of {len(said)} times too little room; the last: {full[-1]}")
    assert 5 < len(full) < len(said)
    assert all("bytes are missing" in told for told in full)
