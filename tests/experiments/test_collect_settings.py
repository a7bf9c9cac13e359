"""What is collected, where to, and what is refused before anything is written."""

import json
import shutil
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]

from collect_recorders import record_stub  # noqa: E402

from vjepa_gym.datasets.storage import disk  # noqa: E402
from vjepa_gym.datasets.storage.staging import Staging  # noqa: E402
from vjepa_gym.datasets.storage.store import EpisodeStore  # noqa: E402
from vjepa_gym.errors import DatasetError, UnknownNameError  # noqa: E402
from vjepa_gym.experiments import launch  # noqa: E402
from vjepa_gym.experiments.cli import main  # noqa: E402
from vjepa_gym.experiments.collect import folder as collect_folder  # noqa: E402
from vjepa_gym.experiments.collect.config import (  # noqa: E402
    MAX_RECORD_HZ,
    CollectConfig,
    Draw,
    draw,
)
from vjepa_gym.experiments.collect.folder import (  # noqa: E402
    check_root,
    guess_size,
    read_settings,
)
from vjepa_gym.experiments.collect.presets import COLLECTIONS  # noqa: E402
from vjepa_gym.experiments.jobs.collect import run_collect  # noqa: E402
from vjepa_gym.sim.world import World  # noqa: E402


def config(root: Path, **changes) -> CollectConfig:
    return CollectConfig(**({"root": str(root), "episodes": 1, "steps": 3, "workers": 1} | changes))


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """One episode."""
    root = tmp_path_factory.mktemp("collected") / "set"
    run_collect(config(root), open_recorder=record_stub)
    return root


@pytest.fixture
def copy(collected, tmp_path):
    """The same, to do something to."""
    shutil.copytree(collected, tmp_path / "set")
    return tmp_path / "set"


# What is drawn.


@pytest.mark.parametrize(
    ("seed", "index", "drawn"),
    [
        (0, 0, ("reach", "noisy", 661058652)),
        (0, 1, ("reach_with_cup", "random", 650573023)),
        (0, 7, ("grasp_box", "scripted", 1211904295)),
        (0, 1999, ("reach", "scripted", 1763868418)),
        (3, 1, ("pick_place_box", "play", 1659216628)),
        (3, 1999, ("reach_with_box", "noisy", 1133820163)),
    ],
)
def test_the_defaults_draw_what_the_shipped_model_was_trained_on(seed, index, drawn):
    assert draw(CollectConfig(seed=seed), index) == Draw(*drawn, "train")


def test_the_defaults_are_what_the_shipped_model_was_trained_on():
    settings = CollectConfig().settings()
    assert CollectConfig().episodes == 2000
    assert (settings["steps"], settings["variation"], settings["image_size"]) == (24, "none", 256)
    assert (settings["cameras"], settings["labs"]) == (["left"], {"train": 1.0})
    assert (settings["record_hz"], settings["header"]) == (None, "physical")


def test_labs_are_drawn_as_often_as_is_said_and_change_nothing_else():
    both = CollectConfig(labs={"train": 3.0, "test": 1.0})
    drawn = [draw(both, index) for index in range(800)]
    assert sum(one.lab == "test" for one in drawn) / 800 == pytest.approx(0.25, abs=0.05)
    assert [one[:3] for one in drawn] == [draw(CollectConfig(), i)[:3] for i in range(800)]


# What is asked for.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labs": {"train": 0.0}}, "labs needs an entry of positive weight"),
        ({"cameras": ["lefd"]}, "Did you mean 'left'"),
        ({"cameras": ["right"]}, "left among them"),
        ({"cameras": ["left", "left"]}, "different ones"),
        ({"image_size": [180]}, "height and width"),
        ({"image_size": "big"}, "image_size must be"),
        ({"image_size": [181, 320]}, "even image_size, got 181 x 320 px"),
        ({"labs": {"tset": 1.0}}, "Unknown lab 'tset'. Did you mean 'test'"),
        ({"mix": {"scripted": 1.0, "wild": 1.0}}, "Unknown behaviour 'wild'.*idle, noisy"),
        ({"tasks": {"flip": 1.0}}, "Unknown task 'flip'.*reach"),
        ({"record_hz": 0.0}, "record_hz must be positive or null"),
        ({"record_hz": 501.0}, "at most 500 rows a second.* got 501"),
        ({"record_hz": float("nan")}, "record_hz must be positive or null"),
        ({"header": "droid"}, "droid60, physical"),
        ({"header": "droid60"}, "needs record_hz=15, got None"),
        ({"header": "droid60", "record_hz": 10.0}, "needs record_hz=15, got 10"),
        ({"runner": "slurm"}, "local, ray"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises((ValueError, UnknownNameError), match=message):
        CollectConfig(**wrong)


def test_a_row_a_step_is_the_most_that_can_be_recorded():
    assert CollectConfig(record_hz=MAX_RECORD_HZ).record_hz == 500.0
    with closing(World()) as world:
        assert 1.0 / world.model.opt.timestep == pytest.approx(MAX_RECORD_HZ)


def test_episodes_too_short_for_the_public_loader_are_warned_of():
    (warning,) = CollectConfig(header="droid60", record_hz=15.0).warnings()
    assert "121 rows" in warning
    assert "24 moves have about 82; job.steps=48" in warning
    assert CollectConfig(header="droid60", record_hz=15.0, steps=48).warnings() == []
    assert CollectConfig(record_hz=15.0).warnings() == []


def test_equal_settings_are_said_alike():
    one = CollectConfig(cameras=["wrist", "left"], image_size=[64, 64])
    assert one.settings() == CollectConfig(cameras=["left", "wrist"], image_size=64).settings()


@pytest.fixture
def runs(monkeypatch, tmp_path):
    caught = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: caught.append(experiment))
    return caught


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_preset_sets_its_keys_and_no_others(runs, name):
    assert main(["collect", f"job.preset={name}"]) == 0
    assert runs[0].job == CollectConfig(**COLLECTIONS[name]())
    assert runs[0].job.image_size == [180, 320]
    (command,) = Path().glob("runs/collect/*/command.txt")
    assert command.read_text() == f"vjepa-gym collect job.preset={name}\n"


@pytest.mark.parametrize("words", [["job.episodes=20", "job.preset=small"], None])
def test_what_is_set_besides_a_preset_wins(runs, words):
    more = ["job.preset=small", "job.episodes=20"]
    assert main(["collect", *(words or more), "job.record_hz=15", "job.header=droid60"]) == 0
    job = runs[0].job
    assert (job.episodes, job.variation, job.record_hz) == (20, "narrow", 15.0)


def test_an_unknown_preset_is_refused_with_the_nearest(runs, capsys):
    assert main(["collect", "job.preset=smal"]) == 2
    assert "Unknown option of job.preset 'smal'. Did you mean 'small'?" in capsys.readouterr().err
    assert main(["train", "job.preset=small"]) == 2
    assert "Unknown key 'job.preset'" in capsys.readouterr().err
    assert runs == []


def test_help_tells_what_each_preset_sets(capsys):
    assert main(["collect", "--help"]) == 0
    said = capsys.readouterr().out
    assert "job.preset=<tiny|small|medium>" in said
    assert "episodes=5000" in said


# What is kept.


def test_each_episode_keeps_its_settings_and_the_code_that_recorded_it(collected):
    info = EpisodeStore(collected)[0].info
    assert info["collection"] == json.loads((collected / "collection.json").read_text())
    assert {"commit", "changed"} <= set(info["versions"])
    assert info["lab"] == "train"


def test_an_older_collection_is_gone_on_with(copy):
    path = copy / "collection.json"
    old = json.loads(path.read_text())
    del old["labs"], old["cameras"], old["record_hz"], old["header"]
    path.write_text(json.dumps({**old, "lab": "train"}))
    assert read_settings(path) == config(copy).settings()
    assert run_collect(config(copy, episodes=2), open_recorder=record_stub).recorded == 1
    with pytest.raises(DatasetError, match=r"other settings: cameras=\['left'\]"):
        run_collect(config(copy, cameras=["left", "wrist"]), open_recorder=record_stub)


def test_settings_of_which_nothing_is_known_are_not_mixed(copy):
    path = copy / "collection.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "weather": "rain"}))
    with pytest.raises(DatasetError, match="weather='rain'"):
        run_collect(config(copy), open_recorder=record_stub)


def test_a_damaged_description_is_named(copy):
    (copy / "collection.json").write_text('{"seed": ')
    with pytest.raises(DatasetError, match=r"collection\.json: expected whole JSON"):
        run_collect(config(copy), open_recorder=record_stub)


def test_settings_under_which_nothing_was_recorded_bind_nobody(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    (root / "collection.json").write_text('{"seed": 5}')
    assert run_collect(config(root), open_recorder=record_stub).recorded == 1
    assert read_settings(root / "collection.json")["seed"] == 0


# Where it goes.


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    root = tmp_path / "thesis"
    root.mkdir()
    for number in range(7):
        (root / f"chapter {number}.tex").write_text("word")
    with pytest.raises(DatasetError, match=r"chapter 0\.tex.* and 2 more, but no collection\.json"):
        run_collect(config(root), open_recorder=record_stub)
    assert len(list(root.iterdir())) == 7
    assert list(tmp_path.iterdir()) == [root]


def test_episodes_that_were_not_collected_are_not_added_to(copy):
    (copy / "collection.json").unlink()
    with pytest.raises(DatasetError, match=r"index\.jsonl"):
        run_collect(config(copy, episodes=2), open_recorder=record_stub)


def test_a_file_is_refused(tmp_path):
    (tmp_path / "set").write_text("")
    with pytest.raises(DatasetError, match="is a file"):
        run_collect(config(tmp_path / "set"), open_recorder=record_stub)


def test_what_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_folder.os, "access", lambda place, mode: place != tmp_path)
    with pytest.raises(DatasetError, match=f"{tmp_path} may not be written to"):
        check_root(tmp_path / "deep" / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_system_of_its_own_is_refused():
    with pytest.raises(DatasetError, match="/proc is a file system of its own"):
        collect_folder._check_mount(Path("/proc"))


def test_two_runs_do_not_collect_into_the_same_folder(copy):
    with (
        Staging(copy.with_name("set.staging")).alone(),
        pytest.raises(DatasetError, match="another process is writing there"),
    ):
        run_collect(config(copy, episodes=2), open_recorder=record_stub)


# Whether it fits.


@pytest.fixture
def small_disk(monkeypatch):
    def usage(_):
        return shutil._ntuple_diskusage(10**9, 10**9, 50_000)

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)


def test_what_will_not_fit_is_refused_with_numbers(copy, small_disk):
    each = EpisodeStore(copy).mean_size()
    with pytest.raises(DatasetError, match=f"{99 * each - 50_000:,} bytes are missing") as told:
        run_collect(config(copy, episodes=100), open_recorder=record_stub)
    assert "as those there are" in str(told.value)
    assert run_collect(config(copy, episodes=2), open_recorder=record_stub).recorded == 1


def test_before_the_first_episode_its_size_is_guessed(tmp_path, small_disk):
    root = tmp_path / "set"
    with pytest.raises(DatasetError, match=r"a guess.*50 kB are free"):
        run_collect(config(root, episodes=2), open_recorder=record_stub)
    anyway = config(root, episodes=2, check_disk=False)
    assert run_collect(anyway, open_recorder=record_stub).recorded == 2


def test_more_views_rows_and_pixels_are_guessed_to_be_larger(tmp_path):
    few = guess_size(config(tmp_path).settings())
    views = guess_size(config(tmp_path, cameras=["left", "right"]).settings())
    pixels = guess_size(config(tmp_path, image_size=512).settings())
    rows = guess_size(config(tmp_path, record_hz=30.0).settings())
    assert few < min(views, pixels, rows)
