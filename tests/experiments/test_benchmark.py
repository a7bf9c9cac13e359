import json
import os
import sys
import time
from fractions import Fraction

import imageio.v3 as iio
import numpy as np
import pytest

from vjepa_gym.datasets.video.mp4 import write_video
from vjepa_gym.datasets.video.seeking import read_frames_at
from vjepa_gym.errors import DatasetError, UnknownNameError, VJEPAGymError
from vjepa_gym.experiments import timing
from vjepa_gym.experiments.benchmark import data as benchmark_data
from vjepa_gym.experiments.benchmark import limits as benchmark_limits
from vjepa_gym.experiments.benchmark import report as benchmark_report
from vjepa_gym.experiments.benchmark.report import Benchmark, Comparison, Limit
from vjepa_gym.experiments.benchmark.settings import DataSettings, SimulatorSettings
from vjepa_gym.experiments.jobs.benchmark import BenchmarkConfig, run_benchmark
from vjepa_gym.experiments.timing import Rate


def rates(*values):
    return [Rate(process=float(value), wall=value / 2) for value in values]


def test_everything_is_measured_and_written_down(tmp_path):
    parts = []
    small = SimulatorSettings(moves=10, resets=1, tasks=["reach"], image_size=64)
    config = BenchmarkConfig(rounds=1, seconds=0.02, simulator=small)
    found = run_benchmark(config, tmp_path, lambda done, what: parts.append((done, what)))
    assert [done for done, _ in parts] == list(range(config.parts + 1))
    written = json.loads((tmp_path / "results.json").read_text())
    whats = [row["what"] for row in written["comparisons"]]
    assert whats[0] == "control steps of 0.2 s, with a picture of 64 px each"
    assert whats[3:] == ["pictures of 128 px", "pictures of 256 px"]
    assert all(row["ratio"] > 1 for row in written["comparisons"])
    errors = {row["most"]: row for row in written["limits"] if row["unit"] == "mm"}
    for most in (2.0, 4.0):
        assert errors[most]["met"]
        assert errors[most]["stock"] < 5.0
    assert written["machine"]["robosuite"]
    assert (tmp_path / "table.md").read_text() == found.markdown()
    picture = iio.imread(tmp_path / "rendering.png")
    assert picture.shape[1] > 1.5 * picture.shape[0]


def test_reading_and_collecting_data_is_measured(tmp_path):
    parts = []
    small = DataSettings(episodes=2, steps=5, task="reach", image_size=[32, 64], frames=3, fps=5.0)
    config = BenchmarkConfig(what="data", rounds=2, seconds=0.02, data=small)
    found = run_benchmark(config, tmp_path, lambda done, what: parts.append((done, what)))
    assert [done for done, _ in parts] == list(range(config.parts + 1))
    written = json.loads((tmp_path / "results.json").read_text())
    pixels, jpeg, video, whole = written["comparisons"]
    assert pixels["what"] == "clips of 3 frames of 64 x 32 px, every 3 rows, from memory map"
    assert (pixels["least"], jpeg["least"], video["least"]) == (100.0, 2.0, None)
    assert pixels["ratio"] > whole["ratio"] > video["ratio"] > 0
    assert len(pixels["ratios"]) == 2
    collecting, videos, rows, sidecar, _ = written["limits"]
    assert collecting["unit"] == "1/min"
    assert 60 / (collecting["seconds_recording"] + collecting["seconds_writing"]) == pytest.approx(
        collecting["ours"], rel=0.5
    )
    assert min(part["ours"] for part in (videos, rows, sidecar)) > 1
    assert (tmp_path / "table.md").read_text() == found.markdown()
    assert "decord, opened per clip" in found.head
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}


def test_decord_and_ours_read_the_same_frames(tmp_path):
    path = tmp_path / "video.mp4"
    row, column = np.mgrid[:48, :64]
    ramps = [[row * 5, column * 3, row + 5 * number] for number in range(40)]
    write_video(
        path, np.stack([np.stack(ramp, -1) for ramp in ramps]).astype(np.uint8), Fraction(15)
    )
    for start in (0, 5, 11):
        rows = start + 4 * np.arange(8)
        theirs = benchmark_data.read_with_decord(benchmark_data.import_decord(), path, rows)
        assert np.abs(read_frames_at(path, rows).astype(int) - theirs).mean() < 1


def test_clips_are_drawn_like_the_public_loaders():
    rng = np.random.default_rng(0)
    drawn = benchmark_data.draw_clips(np.array([33, 32, 60]), 8, 4, rng)
    assert {episode for episode, _ in drawn} == {0, 2}
    assert {tuple(rows) for episode, rows in drawn if episode == 0} == {tuple(range(0, 32, 4))}
    starts = {int(rows[0]) for episode, rows in drawn if episode == 2}
    assert starts == set(range(60 - 32))
    with pytest.raises(DatasetError, match="needs 33 rows, and the longest episode has 32"):
        benchmark_data.draw_clips(np.array([10, 32]), 8, 4, rng)


def test_without_decord_one_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(VJEPAGymError, match=r"pip install 'vjepa-gym\[dev\]'"):
        run_benchmark(BenchmarkConfig(what="data"), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"episodes": 0}, {"fps": 0.0}, {"frames": 1}, {"image_size": [181, 320]}, {"image_size": [8]}],
)
def test_data_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DataSettings(**wrong)
    with pytest.raises(UnknownNameError):
        DataSettings(task="juggle")


def test_a_ratio_is_that_of_the_median_round():
    row = Comparison(what="x", ours=rates(10, 90, 40), stock=rates(10, 10, 10), least=5.0)
    assert row.ratios == [1, 9, 4]
    assert row.to_json()["ratio"] == 4
    assert row.met is False
    assert row.cells() == ["x [1/s]", "40", "10", "4.0 (1.0 to 9.0)", "at least 5 times", "no"]
    assert Comparison(what="x", ours=rates(1), stock=rates(1)).met is None


def test_what_takes_several_cores_is_judged_by_the_clock():
    row = Comparison(
        what="x",
        ours=[Rate(process=1.0, wall=3.0)],
        stock=[Rate(process=9.0, wall=2.0)],
        least=1.5,
        by_clock=True,
    )
    assert row.ratios == [1.5]
    assert row.met
    assert row.cells()[1:4] == ["3", "2", "1.50 (1.50 to 1.50)"]
    assert row.to_json()["ours"] == [3.0]


def test_a_limit_is_met_up_to_its_value():
    assert Limit(what="x", unit="ms", ours=15.0, most=15.0).met
    assert Limit(what="x", unit="ms", ours=15.1, most=15.0).met is False
    assert Limit(what="x", unit="ms", ours=1.0, stock=2.0).cells()[2] == "2"


def test_what_is_not_as_it_should_be_is_listed():
    found = Benchmark(
        comparisons=[Comparison(what="steps", ours=rates(1), stock=rates(1), least=8.0)],
        limits=[Limit(what="resets", unit="ms", ours=1.0, most=15.0)],
        machine={"core": 0},
    )
    assert found.unmet() == ["steps"]
    lines = found.markdown().splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert len(found.rows()[0]) == len(found.head)


def test_moves_that_are_held_up_are_told_apart(monkeypatch):
    monkeypatch.setattr(benchmark_limits, "FREE_LOW", (0.74, 0.0, 0.02))
    monkeypatch.setattr(benchmark_limits, "FREE_HIGH", (0.74, 0.0, 0.02))
    ends = benchmark_limits.measure_moves("servo", 0.075, moves=4, seed=0)
    assert ends.held_up > 0


def test_a_rate_counts_what_was_done():
    done = []
    found = timing.rate(lambda: done.append(sum(range(20000))), 0.05)
    assert found.process == pytest.approx(len(done) / 0.05, rel=0.3)
    assert found.times(2.0).wall == 2.0 * found.wall
    done.clear()
    timing.rate(lambda: done.append(0), 0.0, least=5)
    assert len(done) == 5


def test_sleep_takes_no_time_of_the_processor():
    assert timing.duration(lambda: time.sleep(0.05)) < 0.02


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds to cores")
def test_one_core_is_given_back():
    before = os.sched_getaffinity(0)
    with timing.one_core() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    "wrong",
    [{"rounds": 0}, {"seconds": 0.0}, {"seed": -1}, {"core": 10**6}],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BenchmarkConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"moves": 0}, {"resets": 0}, {"image_size": 8}])
def test_a_simulator_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimulatorSettings(**wrong)


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="rollout"):
        BenchmarkConfig(what="cooking")
    with pytest.raises(UnknownNameError, match="reach"):
        SimulatorSettings(tasks=["juggle"])


def test_pictures_stand_in_a_row(tmp_path):
    picture = np.zeros((16, 16, 3), np.uint8)
    benchmark_report.draw_side_by_side(tmp_path / "new" / "two.png", {"a": picture, "b": picture})
    assert iio.imread(tmp_path / "new" / "two.png").shape[1] > 600
