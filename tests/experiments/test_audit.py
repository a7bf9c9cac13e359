import csv
import hashlib
import json
import os
import re
import shutil
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

# The functions below are imported by name in worker processes.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]

from audit_looks import defective, echo, fatal, leaping, seen, slowly  # noqa: E402
from episodes import make_episode  # noqa: E402
from rich.console import Console  # noqa: E402

from vjepa_gym.datasets.storage.staging import Staging  # noqa: E402
from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402
from vjepa_gym.datasets.video.mp4 import VideoFacts  # noqa: E402
from vjepa_gym.errors import DatasetError, UnknownNameError  # noqa: E402
from vjepa_gym.experiments.audit.counts import Histogram, Places  # noqa: E402
from vjepa_gym.experiments.audit.episode import Facts, describe  # noqa: E402
from vjepa_gym.experiments.audit.findings import HARMLESS, MEANINGS  # noqa: E402
from vjepa_gym.experiments.audit.lists import check_lists  # noqa: E402
from vjepa_gym.experiments.audit.report import show_audit, write_audit  # noqa: E402
from vjepa_gym.experiments.audit.statistics import Statistics, most_common  # noqa: E402
from vjepa_gym.experiments.audit.tree import MOST_STRAY_FILES, walk_dataset  # noqa: E402
from vjepa_gym.experiments.audit.workers import Casualty, in_watched_workers  # noqa: E402
from vjepa_gym.experiments.cli import main  # noqa: E402
from vjepa_gym.experiments.jobs.audit import AuditConfig, run_audit  # noqa: E402

EPISODES = 5


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A dataset of whole episodes, the odd ones failures."""
    root = tmp_path_factory.mktemp("collected") / "data"
    store = EpisodeStore(root)
    for index in range(EPISODES):
        policy = "scripted" if index < 3 else "play"
        episode = make_episode(seed=index, size=32, success=index % 2 == 0, policy=policy)
        store.write(index, episode)
    return root


@pytest.fixture
def root(collected, tmp_path):
    """The same, to be spoiled."""
    there = tmp_path / "data"
    shutil.copytree(collected, there)
    # The list holds absolute paths.
    paths = there / "droid_paths.csv"
    paths.write_text(paths.read_text().replace(str(collected), str(there)))
    return there


def audit(root, look_at=None, **settings):
    config = AuditConfig(**{"root": str(root), "workers": 1, "examples": 0, **settings})
    return run_audit(config, walk_dataset(root), look_at=look_at)


def errors(found):
    """Return the path, the kind and the detail of each error."""
    return [(f.path, f.kind, f.detail) for f in found.findings if f.severity == "error"]


def listed(root):
    """Return the findings that need no look into any episode, by kind."""
    tree = walk_dataset(root)
    check_lists(tree)
    found = {}
    for finding in tree.findings:
        assert finding.kind in MEANINGS
        found.setdefault(finding.kind, []).append(finding)
    return found


def shown(found, folder):
    """Return what the terminal says, each line with single blanks."""
    console = Console(record=True, width=200, highlight=False, markup=False, soft_wrap=True)
    show_audit(console, found, folder)
    return "\n".join(" ".join(line.split()) for line in console.export_text().splitlines())


def episode_folders(root):
    return sorted(path.parent for path in root.rglob("trajectory.h5"))


def digest(root):
    files = sorted(path for path in root.parent.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# The whole of it.


def test_every_episode_is_checked_exactly_once_and_nothing_is_changed(root, tmp_path):
    before, log, said = digest(root), tmp_path.parent / f"{tmp_path.name}.log", []
    config = AuditConfig(root=str(root), workers=2, checksums=True)
    look_at = partial(seen, log=log)
    found = run_audit(config, walk_dataset(root), lambda *told: said.append(told), look_at=look_at)
    assert sorted(log.read_text().splitlines()) == sorted(map(str, episode_folders(root)))
    assert said == [(done, EPISODES, 0) for done in range(EPISODES + 1)]
    assert errors(found) == []
    assert found.verdict() == "no error in 5 episodes"
    assert digest(root) == before


def test_what_is_written_has_everything(root, tmp_path):
    found = audit(root, frames=2, fps=4.0, examples=9)
    write_audit(found, tmp_path / "run")
    told = json.loads((tmp_path / "run/audit.json").read_text())
    assert (told["episodes"], told["broken_episodes"], told["errors"]) == (EPISODES, 0, 0)
    assert told["notes"] == len(told["findings"])
    # One camera of three, in each episode.
    assert told["kinds"]["missing_view"] == {
        "severity": "note",
        "meaning": MEANINGS["missing_view"],
        "count": 2 * EPISODES,
        "places": EPISODES,
    }
    data = told["data"]
    assert data["rows"] == 5 * EPISODES
    assert data["outcome"] == {"episodes": 5, "successes": 3}
    assert data["policies"]["scripted"] == {"episodes": 3, "successes": 2}
    assert data["cameras"][0]["header_fps"] == 4.0
    (header,) = data["headers"]
    assert (header["stride"], header["rows_needed"], header["sampled_episodes"]) == (1, 3, 5)
    seconds = sum(make_episode(seed=index).step_seconds.sum() for index in range(EPISODES))
    assert data["hours"] * 3600 == pytest.approx(seconds, rel=1e-3)
    assert header["true_step_seconds"] == pytest.approx(seconds / (4 * EPISODES), rel=1e-3)
    assert data["steps"]["translation_m"]["count"] == 4 * EPISODES
    page = (tmp_path / "run/index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == EPISODES
    assert not re.search(r"""(src|href|url)\W{0,3}(http|/)""", page)


def test_a_defect_is_counted_by_kind_and_escaped(root, tmp_path):
    found = audit(root, defective, examples=9)
    assert {kind: len(those) for kind, those in found.by_kind().items()} == {
        "rows": 2,
        "[bold]gripper": 2,
    }
    assert found.verdict() == "4 errors; 2 of 5 episodes are broken"
    # Broken episodes are described all the same.
    assert found.statistics.episodes == EPISODES
    assert [example.candidate.success for example in found.examples] == [False] * 2 + [True] * 3
    write_audit(found, tmp_path / "run")
    page = (tmp_path / "run/index.html").read_text()
    assert "&lt;b&gt;rows&lt;/b&gt;" in page
    assert "<b>rows</b>" not in page


def test_an_episode_that_kills_or_holds_up_its_reader_is_named_and_the_rest_is_checked(
    root, tmp_path
):
    folders = episode_folders(root)
    ends = dict(zip([f.name for f in folders], ["segfault", "hang", "raise", "exit"], strict=False))
    log = tmp_path / "seen.log"
    found = audit(root, partial(fatal, ends=ends, log=log), timeout_s=1.5, workers=2)
    told = {Path(path).name: (kind, detail) for path, kind, detail in errors(found)}
    assert told == {
        folders[0].name: ("crash", "SIGSEGV."),
        folders[1].name: ("timeout", "more than 1.5 s."),
        folders[2].name: ("crash", "exit status 1: RuntimeError: no such dataspace."),
        folders[3].name: ("crash", "exit status 3: libfoo: corrupt header."),
    }
    assert log.read_text() == f"{folders[4]}\n"
    assert (found.broken, found.statistics.episodes) == (4, 1)


def test_the_command_succeeds_only_without_an_error(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    (root / "notes.bin").write_text("of nobody's interest")
    assert main(["audit", "data", "--checksums", "job.workers=1"]) == 0
    told = capsys.readouterr()
    assert "belongs_to_nothing" in told.out
    assert "no error in 5 episodes" in told.out
    assert "audit: 5/5" in told.err
    shutil.rmtree(episode_folders(root)[0])
    assert main(["audit", "data", "job.workers=1"]) == 1
    told = capsys.readouterr()
    assert "listed_not_there" in told.out
    assert told.err.strip().splitlines()[-1].startswith("vjepa-gym: data: 2 errors; 0 of 4 epis")
    runs = sorted(tmp_path.glob("runs/audit/*/audit.json"))
    assert [json.loads(run.read_text())["errors"] for run in runs] == [0, 2]
    assert all((run.parent / "index.html").is_file() for run in runs)


@pytest.mark.parametrize("what", ["nothing", "file"])
def test_what_is_no_folder_is_refused(tmp_path, what):
    path = tmp_path / "data"
    if what == "file":
        path.write_text("")
    with pytest.raises(DatasetError, match=r"not found|not a folder"):
        walk_dataset(path)


def test_an_empty_dataset_is_reported_as_one(tmp_path):
    (tmp_path / "data").mkdir()
    found = audit(tmp_path / "data")
    assert [finding.kind for finding in found.findings] == ["empty"]
    write_audit(found, tmp_path / "run")
    assert "not known" in (tmp_path / "run/index.html").read_text()


def test_a_single_episode_can_be_checked(root):
    folder = episode_folders(root)[0]
    found = audit(folder)
    assert (found.episodes, errors(found)) == (1, [])
    assert found.statistics.rows == 5


@pytest.mark.parametrize("collected_by_job", [True, False])
def test_how_to_mend_our_damaged_episodes_is_said_once(root, tmp_path, collected_by_job):
    if collected_by_job:
        (root / "collection.json").write_text("{}")
    for folder in episode_folders(root)[:2]:
        (folder / "trajectory.h5").write_bytes(b"")
    found = audit(root)
    (sentence,) = found.advice
    again = (
        f"Collecting into {root} again" if collected_by_job else f'EpisodeStore("{root}").recover()'
    )
    assert again in sentence
    assert f"{root}.damaged" in sentence
    assert shown(found, tmp_path).count(f"{root}.damaged") == 1
    write_audit(found, tmp_path / "run")
    assert (tmp_path / "run/index.html").read_text().count(f"{root}.damaged") == 1
    assert json.loads((tmp_path / "run/audit.json").read_text())["advice"] == [sentence]
    # The advice holds.
    assert len(EpisodeStore(root).recover().damaged) == 2
    assert (audit(root).advice, errors(audit(root))) == ([], [])


def test_damaged_episodes_of_others_can_be_left_out(root):
    folder = episode_folders(root)[0]
    make_foreign(folder)
    (folder / "trajectory.h5").write_bytes(b"")
    (sentence,) = audit(root).advice
    assert "on_defect=skip" in sentence
    assert "aside" not in sentence


def test_episodes_too_short_for_a_loader_are_not_to_be_mended(root):
    found = audit(root, loader="vjepa2")
    assert {finding[1] for finding in errors(found)} == {"too_short"}
    assert found.advice == []


def test_each_number_says_what_it_counts(root, tmp_path):
    broken, lacking, *_ = episode_folders(root)
    (broken / "trajectory.h5").write_bytes(b"")
    (lacking / "trajectory.h5").unlink()
    found = audit(root)
    assert (found.episodes, found.broken, found.statistics.episodes) == (5, 2, 3)
    assert found.verdict().endswith("; 2 of 5 episodes are broken")
    said = shown(found, tmp_path)
    assert "episodes 5, 3 of them without an error" in said
    assert "rows 15 in the 3 that can be read; " in said
    assert re.search(r"success \d of the 3 that can be read", said)
    write_audit(found, tmp_path / "run")
    assert "rows in the 3 episodes that can be read" in (tmp_path / "run/index.html").read_text()


def test_a_note_on_most_episodes_is_one_line(root, tmp_path):
    few = episode_folders(root)[0].name
    found = audit(root, partial(leaping, few=few))
    said = shown(found, tmp_path)
    assert f"{EPISODES} wrap_around {MEANINGS['wrap_around']}" in said
    assert "row 7" not in said
    assert "the optical centre of one" in said
    assert said.index("Errors") < said.index("wrap_around") < said.index("calibration")
    write_audit(found, tmp_path / "run")
    page = (tmp_path / "run/index.html").read_text()
    assert f"{EPISODES} of {EPISODES} episodes; each is in audit.json" in page
    assert "row 7" not in page
    assert "the optical centre of one" in page
    assert (tmp_path / "run/audit.json").read_text().count("row 7") == EPISODES


def test_a_note_on_the_only_episode_has_its_example(root, tmp_path):
    found = audit(episode_folders(root)[0], partial(leaping, few=""))
    assert "row 7" in shown(found, tmp_path)


def test_a_dataset_of_lerobot_is_refused(tmp_path):
    (tmp_path / "data/meta").mkdir(parents=True)
    (tmp_path / "data/meta/info.json").write_text("{}")
    command = re.escape(f"`vjepa-gym convert {tmp_path / 'data'} job.to=droid`")
    with pytest.raises(DatasetError, match=command):
        walk_dataset(tmp_path / "data")


def test_several_datasets_are_refused_by_name(root):
    shutil.copytree(root, root.with_name("more"))
    (root.with_name("more") / "index.jsonl").rename(root.with_name("more") / "collection.json")
    with pytest.raises(DatasetError, match=r"several datasets.*: data, more\."):
        walk_dataset(root.parent)
    # One alone, and what lies in a dataset, is as before.
    shutil.rmtree(root.with_name("more"))
    assert len(walk_dataset(root.parent).episodes) == EPISODES


# What lies below the root, and beside it.


@pytest.mark.parametrize("how", ["copied", "moved", "up"])
def test_a_dataset_that_was_moved_is_a_note(root, how):
    there = root.with_name("elsewhere")
    match how:
        case "copied":
            shutil.copytree(root, there)
        case "moved":
            root.rename(there)
        case "up":
            shutil.copytree(root, there / "data")
            EpisodeStore(there / "data").recover()
            for path in (there / "data").iterdir():
                path.rename(there / path.name)
            (there / "data").rmdir()
    found = audit(there)
    assert errors(found) == []
    (moved,) = (finding for finding in found.findings if finding.kind == "moved")
    assert moved.path == "droid_paths.csv"
    named = there / "data" if how == "up" else root
    assert f"below {named}," in moved.detail
    assert ("would find none" in moved.detail) == (how != "copied")
    assert f'EpisodeStore("{there}").recover()' in moved.detail
    EpisodeStore(there).recover()
    assert "moved" not in listed(there)


def test_lists_of_a_moved_dataset_are_still_compared(root):
    there = root.with_name("elsewhere")
    root.rename(there)
    gone = episode_folders(there)[0]
    shutil.rmtree(gone)
    found = listed(there)
    assert len(found["moved"]) == 1
    assert {f.path for f in found["listed_not_there"]} == {str(gone.relative_to(there))}
    assert "there_not_listed" not in found


def test_a_list_of_which_only_some_lines_point_elsewhere_has_errors(root):
    paths = root / "droid_paths.csv"
    first, *others = paths.read_text().splitlines(keepends=True)
    elsewhere = str(root.with_name("elsewhere"))
    paths.write_text("".join([first.replace(str(root), elsewhere), *others]))
    found = listed(root)
    assert "moved" not in found
    assert [f.path for f in found["listed_not_there"]] == [
        first.split()[0].replace(str(root), elsewhere)
    ]
    assert len(found["there_not_listed"]) == 1


def test_the_list_of_a_moved_foreign_dataset_is_not_to_be_made_anew(root):
    there = root.with_name("elsewhere")
    root.rename(there)
    (there / "index.jsonl").unlink()
    (moved,) = listed(there)["moved"]
    assert moved.detail.endswith(f"put {there} in its place.")


def test_lists_are_compared_with_what_is_there(root):
    gone, unlisted, twice, *_ = episode_folders(root)
    lines = (root / "index.jsonl").read_text().splitlines()
    entries = {root / json.loads(line)["path"]: line for line in lines}
    del entries[unlisted]
    lines = [*entries.values(), entries[twice], '{"path": 3}', '{"index": 7, "pa']
    (root / "index.jsonl").write_text("\n".join(lines))
    shutil.rmtree(gone)
    found = listed(root)
    assert [f.path for f in found["there_not_listed"]] == [str(unlisted.relative_to(root))]
    assert [f.path for f in found["listed_twice"]] == [str(twice.relative_to(root))]
    assert [f.detail for f in found["listed_not_there"]] == [
        "listed in index.jsonl.",
        "listed in droid_paths.csv.",
    ]
    torn, foreign = sorted(f.detail for f in found["unreadable_list"])[::-1]
    assert "torn" in torn
    assert "line 6 is not one of ours" in foreign


def test_a_list_that_says_something_else_than_the_episode_is_found(root):
    file = root / "index.jsonl"
    first, *others = file.read_text().splitlines(keepends=True)
    entry = json.loads(first) | {"rows": 7}
    file.write_text("".join([json.dumps(entry) + "\n", *others]))
    detail = "index.jsonl says rows=7, but it is 5."
    assert errors(audit(root)) == [(entry["path"], "listed_otherwise", detail)]


def test_paths_with_spaces_are_read_from_the_list_and_pointed_out(collected, tmp_path):
    root = tmp_path / "my data"
    shutil.copytree(collected, root)
    EpisodeStore(root).recover()
    found = listed(root)
    assert list(found) == ["space_in_path"]
    rows = list(csv.reader((root / "droid_paths.csv").read_text().splitlines(), delimiter=" "))
    assert len(rows) == EPISODES


def test_two_episodes_of_one_name_are_found(root):
    folder = episode_folders(root)[1]
    shutil.copytree(folder, folder.with_name("Fri_Copy"))
    found = audit(root)
    kinds = {f.kind: f for f in found.findings}
    assert {"same_uuid", "same_number", "there_not_listed"} <= set(kinds)
    assert (found.broken, found.episodes) == (1, EPISODES + 1)
    first, second = sorted([folder, folder.with_name("Fri_Copy")])
    first = first.relative_to(root)
    for kind in ("same_uuid", "same_number"):
        assert kinds[kind].path == str(second.relative_to(root))
    uuid = describe(folder).uuid
    assert kinds["same_uuid"].detail == (
        f"the uuid {uuid} is also that of {first}; remove one of the two."
    )
    number = describe(folder).number
    said = f"the number {number} is also that of {first}; remove one of the two, or `Episode"
    assert kinds["same_number"].detail.startswith(said)
    # The advice holds.
    assert list(EpisodeStore(root).recover().damaged) == [str(second.relative_to(root))]


def test_leftovers_of_writers_are_notes(root):
    staging = Staging(root.with_name("data.staging"))
    (root.with_name("data.staging") / "000007-killed").mkdir(parents=True)
    shutil.copytree(episode_folders(root)[0], root.with_name("data.damaged") / "SIM/x")
    with staging.folder("alive"):
        found = listed(root)
    assert [Path(f.path).name for f in found["unfinished"]] == ["000007-killed"]
    assert [Path(f.path).name[:6] for f in found["being_written"]] == ["alive-"]
    assert [Path(f.path).name for f in found["set_aside"]] == ["x"]
    assert set(found) <= HARMLESS


def test_files_that_belong_to_nothing_are_told_from_those_that_do(root):
    folder = episode_folders(root)[0]
    (folder / "trajectory.h5").unlink()
    (root / "README.md").write_text("what this is")
    (root / "SIM/.index.jsonl.123").write_text("left by a kill")
    for number in range(MOST_STRAY_FILES):
        (root / f"{number}.tmp").write_text("")
    found = listed(root)
    assert [f.path for f in found["no_trajectory"]] == [str(folder.relative_to(root))]
    *named, last = found["belongs_to_nothing"]
    assert len(named) == MOST_STRAY_FILES
    assert last.detail == "and 1 more files."


def test_links_lead_to_no_episode_twice_and_to_no_end(root, tmp_path):
    folder = episode_folders(root)[0]
    (root / "A").symlink_to(folder)
    (root / "SIM/round").symlink_to(root)
    (root / "nowhere").symlink_to(tmp_path / "nothing")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(episode_folders(root)[1], elsewhere)
    (root / "SIM/linked").symlink_to(elsewhere)
    tree = walk_dataset(root)
    assert len(tree.episodes) == EPISODES
    assert folder in tree.episodes
    assert root / "SIM/linked" in tree.episodes
    assert [(f.kind, f.path) for f in tree.findings] == [("belongs_to_nothing", "nowhere")]


def test_a_folder_that_may_not_be_listed_is_named(root, monkeypatch):
    folder, scandir = episode_folders(root)[0], os.scandir

    def refuse(path):
        if path == folder:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    tree = walk_dataset(root)
    assert [(f.kind, f.detail) for f in tree.findings] == [
        ("unreadable_folder", "Permission denied.")
    ]
    assert len(tree.episodes) == EPISODES - 1


# What one episode is like.


def make_foreign(folder):
    """Make of one of ours what DROID's own recorder would have left."""
    shutil.rmtree(folder / "vjg")
    (description,) = folder.glob("*.json")
    text = description.read_text().replace("90000001", "24013089")
    description.write_text(json.dumps(json.loads(text) | {"current_task": " ", "lab": "AUTOLab"}))
    video = folder / "recordings/MP4/90000001.mp4"
    shutil.copy(video, video.with_name("24013089-stereo.mp4"))
    video.rename(video.with_name("24013089.mp4"))
    with h5py.File(folder / "trajectory.h5", "a") as file:
        del file["observation/camera_intrinsics"]
        start = file["observation/timestamp/control/step_start"]
        start[:] = start[0] + np.array([0, 67, 133, 200, 267])


def test_a_foreign_episode_is_described_by_its_own_clock(root):
    folder = episode_folders(root)[0]
    make_foreign(folder)
    facts = describe(folder)
    assert (facts.lab, facts.task, facts.policy) == ("AUTOLab", "not said", "teleoperation")
    assert facts.number is None
    np.testing.assert_allclose(facts.step_seconds, [0.067, 0.066, 0.067, 0.067])
    assert facts.videos["left"] == VideoFacts(width=32, height=32, rate=Fraction(4), frames=5)
    (root / "index.jsonl").unlink()
    assert audit(root).statistics.labs["AUTOLab"].episodes == 1


def test_an_episode_that_lacks_what_it_may_lack_is_described(root):
    folder = episode_folders(root)[0]
    make_foreign(folder)
    shutil.rmtree(folder / "recordings")
    (description,) = folder.glob("*.json")
    metadata = json.loads(description.read_text())
    del metadata["uuid"]
    description.write_text(json.dumps(metadata))
    facts = describe(folder)
    assert (facts.success, dict(facts.videos), facts.uuid) == (False, {}, None)


def test_steps_are_those_that_were_made(root):
    folder = episode_folders(root)[0]
    facts = describe(folder)
    with h5py.File(folder / "trajectory.h5") as file:
        position = file["observation/robot_state/cartesian_position"][:]
        gripper = file["observation/robot_state/gripper_position"][:]
    moved = np.linalg.norm(position[1:, :3] - position[:-1, :3], axis=1)
    np.testing.assert_allclose(facts.moves[:, 0], moved)
    np.testing.assert_allclose(facts.moves[:, 2], np.diff(gripper))
    # Each of the three angles of a command is at most 0.2, though roll jumps from pi to -pi.
    assert np.ptp(position[:, 3]) > 6
    assert facts.moves[:, 1].max() < 0.2 * np.sqrt(3) + 1e-6


def test_a_trajectory_of_other_shapes_cannot_be_described(root):
    folder = episode_folders(root)[0]
    with h5py.File(folder / "trajectory.h5", "a") as file:
        del file["observation/robot_state/cartesian_position"]
        file["observation/robot_state/cartesian_position"] = np.zeros((5, 7))
    with pytest.raises(DatasetError, match=r"found \(5, 7\)"):
        describe(folder)
    ((path, kind, detail),) = errors(audit(root))
    assert (path, kind) == (str(folder.relative_to(root)), "wrong_shape")
    assert detail.startswith("trajectory.h5: ")


# Sums.


def facts(rows=40, seconds=1 / 15, rate=60, **others):
    default = {
        "lab": "lab",
        "task": "task",
        "policy": "policy",
        "success": True,
        "uuid": None,
        "number": None,
        "size": 10,
        "positions": np.zeros((rows, 3)),
        "moves": np.zeros((rows - 1, 3)),
        "step_seconds": np.full(rows - 1, seconds),
        "videos": {"left": VideoFacts(width=320, height=180, rate=Fraction(rate), frames=rows)},
    }
    return Facts(**{**default, **others})


@pytest.mark.parametrize(
    ("rate", "rows", "stride", "true", "sampled"),
    [(60, 120, 15, 1.0, 0), (60, 121, 15, 1.0, 1), (15, 33, 4, 4 / 15, 1), (30, 64, 8, 8 / 15, 0)],
)
def test_the_time_step_of_a_loader_follows_from_the_header(rate, rows, stride, true, sampled):
    statistics = Statistics(loader=AuditConfig(loader="vjepa2").needs)
    statistics.add(facts(rows=rows, rate=rate))
    (header,) = statistics.to_json()["headers"]
    assert header["stride"] == stride
    assert header["sampled_episodes"] == sampled
    assert header["nominal_step_seconds"] == 0.25
    assert header["true_step_seconds"] == pytest.approx(true)


def test_groups_beyond_the_most_common_are_added_up():
    statistics = Statistics()
    for success in (True, False, False):
        statistics.add(facts(success=success, task="rare" if success else "common"))
    assert statistics.outcome.to_json() == {"episodes": 3, "successes": 1}
    assert list(most_common(statistics.tasks)) == ["common", "rare"]
    ((name, rest),) = most_common(statistics.tasks, 0).items()
    assert (name, rest.episodes, rest.successes) == ("2 others", 3, 1)


def test_what_is_not_finite_spoils_no_sum():
    statistics = Statistics()
    bad = np.full((39, 3), np.nan)
    statistics.add(facts(moves=bad, positions=np.full((40, 3), np.inf)))
    statistics.add(facts(step_seconds=np.full(39, np.nan)))
    assert json.loads(json.dumps(statistics.to_json(), allow_nan=False))["rows"] == 80
    assert (statistics.translation.count, statistics.duration.count) == (39, 39)


def test_memory_does_not_grow_with_episodes():
    statistics = Statistics()
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(3):
        for _ in range(50):
            statistics.add(facts(rows=100, moves=rng.normal(size=(99, 3))))
        sizes.append(
            sum(
                histogram.counts.nbytes
                for histogram in (statistics.translation, statistics.rotation)
            )
        )
    assert statistics.rows == 15_000
    assert len(set(sizes)) == 1


def test_a_histogram_keeps_counts_and_quantiles():
    histogram = Histogram(0.0, 1.0, 1000)
    histogram.add(np.array([0.1005] * 98 + [0.5, 7.0]))
    assert histogram.quantile(0.5) == pytest.approx(0.1, abs=2e-3)
    assert (histogram.highest, histogram.count) == (7.0, 100)
    for beyond in (0.0, 0.02):
        edges, counts = histogram.coarse(beyond)
        assert counts.sum() == 100
        assert len(edges) == len(counts) + 1
        assert (np.diff(edges) > 0).all()


def test_places_are_counted_from_above_and_from_the_side():
    places = Places()
    places.add(np.array([[0.5, -0.2, 0.3]] * 4 + [[9.0, 0.0, 0.0]]))
    assert places.above.sum() == places.beside.sum() == 4
    x, y = (int(where[0]) for where in places.above.nonzero())
    assert places.side * x - places.reach == pytest.approx(0.5, abs=0.011)
    assert places.side * y - places.reach == pytest.approx(-0.2, abs=0.011)
    coarse, side = places.coarse(places.above)
    assert coarse.sum() == 4
    assert side == pytest.approx(0.05)
    assert places.to_json()["x"]["highest"] == 9.0


# Settings.


def test_a_loader_has_needs():
    assert AuditConfig().needs is None
    needs = AuditConfig(loader="vjepa2", frames=16).needs
    assert (needs.frames, needs.fps) == (16, 4.0)
    assert AuditConfig(frames=4, fps=5.0).needs.fps == 5.0


@pytest.mark.parametrize(
    "wrong", [{"frames": 8}, {"fps": 4.0}, {"workers": -1}, {"timeout_s": 0.0}, {"frames": -1}]
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match="frames"):
        AuditConfig(**wrong)


def test_an_unknown_loader_is_refused():
    with pytest.raises(UnknownNameError, match="vjepa2"):
        AuditConfig(loader="vjepa")


# Workers.


def test_one_that_dies_takes_nobody_with_it():
    results = dict(in_watched_workers(echo, list(range(20)), 2, 60.0))
    assert results.pop(13) == Casualty(overdue=False, detail="exit status 7")
    assert results == {item: item for item in range(20) if item != 13}


def test_no_process_survives_that_nobody_waits_for(tmp_path):
    log = tmp_path / "pid"
    results = in_watched_workers(partial(slowly, log=str(log)), [1], 1, 2.0)
    assert next(results)[1].overdue
    results.close()
    pid = int(log.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
