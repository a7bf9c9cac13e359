"""Gates on anybody's episodes, kept with the model, and an exit status for who asks for one."""

import io
import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError, UnknownNameError
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.gate_report import report_gates
from vjepa_gym.experiments.jobs import gates as job
from vjepa_gym.experiments.jobs.gates import GatesConfig, objects_in, run_gates, store_gates
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.familiarity import FAMILIARITY_FILE
from vjepa_gym.world_models.gates import PARTS, GateConfig, Gates
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.probing import NOBODY_SAYS
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, shipped_world_models

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from episodes import make_episode
from foreign import FOLDER, write_foreign

FEW = GateConfig(transitions=6, candidates=3, landscapes=1, probe_episodes=3)
SMALL = [f"job.gates.{name}={value}" for name, value in vars(FEW).items()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch

    config = debug()
    encoder = VisionTransformer(config.encoder)
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    generator = torch.Generator().manual_seed(0)
    for part in (encoder, predictor):
        initialise(part, generator)
    folder = tmp_path_factory.mktemp("models") / "mine"
    VJEPA2AC(config, encoder, predictor).save(folder)
    return folder


@pytest.fixture(scope="module")
def droid(tmp_path_factory):
    """Four episodes of another laboratory at 15 rows a second, in which the arm moves 15 cm/s."""
    root = tmp_path_factory.mktemp("foreign")
    for number in range(4):
        folder = write_foreign(root / f"{number}", rows=40, size=32)
        target = root / "droid" / Path(FOLDER).with_name(f"Sat_Jul__8_08:57:2{number}_2023")
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    return root / "droid"


def with_objects(root: Path, episodes: int = 4) -> Path:
    store = EpisodeStore(root)
    for index in range(episodes):
        episode = make_episode(steps=8, size=32, seed=index)
        poses = np.zeros((9, 2, 7))
        poses[..., :3] = index + np.arange(9)[:, None, None] * 0.01
        episode.extras["object_poses"] = poses
        episode.info["objects"] = ["cup", "box"]
        store.write(index, episode)
    return root


def config(model: Path, data: Path, **given: object) -> GatesConfig:
    return GatesConfig(model=str(model), data=str(data), device="cpu", gates=FEW, **given)


def test_anybodys_episodes_are_judged_by_a_command(droid, model, tmp_path, monkeypatch, capsys):
    """Too few to hold any out: all are judged, and probes are fitted on a part of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    words = ["gates", f"job.data={droid}", f"job.model={model}", "job.device=cpu", *SMALL]
    assert main([*words, "job.hz=5"]) == 0
    told = capsys.readouterr()
    assert "All 4 episodes" in told.err
    assert NOBODY_SAYS.split()[0] in told.out
    assert "gates: 5/5" in told.err
    (kept,) = tmp_path.glob("runs/gates/*/gates.json")
    measured = json.loads(kept.read_text())
    assert measured["episodes"] == 4
    assert measured["object_error_mm"] is None
    assert measured["not_measured"]["lifted_auc"] == NOBODY_SAYS
    assert measured["gripper_r2"] is not None
    # The model brings them from now on.
    assert VJEPA2AC.load(model).gates.to_json() == measured
    assert main([*words, "job.store=false", "job.strict=true", "job.held_out=2"]) == 1
    assert "does not pass: " in capsys.readouterr().err
    assert VJEPA2AC.load(model).gates.to_json() == measured


@pytest.fixture
def judged(monkeypatch):
    """What is judged, and how, instead of judging it."""
    seen = []

    def note(_model, frames, **given):
        seen.append((frames, given))
        return shipped_gates()

    monkeypatch.setattr(job, "measure_gates", note)
    return seen


def shipped_gates() -> Gates:
    folder = shipped_world_models()["tiny"]
    return Gates(**json.loads((folder / "gates.json").read_text()))


def test_rows_a_second_make_the_steps(droid, model, judged):
    for hz in (3.0, 5.0):
        run_gates(config(model, droid, hz=hz, held_out=0))
    assert [len(frames.poses) / 4 for frames, _ in judged] == [9, 14]


def test_held_out_episodes_are_judged_and_the_others_known(droid, model, judged):
    run_gates(config(model, droid, held_out=1))
    run_gates(config(model, droid, held_out=0))
    (first, one), (second, all_of_them) = judged
    assert (first.num_episodes, one["known"].num_episodes) == (1, 3)
    assert (second.num_episodes, all_of_them["known"]) == (4, None)
    with pytest.raises(DatasetError, match="between 1 and 3; got 4"):
        run_gates(config(model, droid, held_out=4))


def test_a_model_that_does_not_know_its_training_views_is_told_them(droid, model, judged, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(model, mine)
    (mine / FAMILIARITY_FILE).unlink(missing_ok=True)
    run_gates(config(mine, droid, held_out=0))
    run_gates(config(mine, droid, held_out=1, store=False))
    assert VJEPA2AC.load(mine).familiarity is None
    run_gates(config(mine, droid, held_out=1))
    assert VJEPA2AC.load(mine).familiarity is not None
    written = (mine / FAMILIARITY_FILE).read_bytes()
    run_gates(config(mine, droid, held_out=2))
    assert (mine / FAMILIARITY_FILE).read_bytes() == written
    assert len(judged) == 4


def test_objects_are_those_of_the_rows_that_are_judged(tmp_path, model, judged):
    data = with_objects(tmp_path / "ours")
    run_gates(config(model, data, held_out=1))
    ((frames, given),) = judged
    for rows, objects, first in (
        (frames, given["objects"], 3),
        (given["known"], given["known_objects"], 0),
    ):
        assert objects.names == ("cup", "box")
        assert len(objects.positions) == len(rows.poses)
        assert objects.positions[0, 0, 0] == pytest.approx(first)
    thinner = objects_in(str(data), range(2, 4), stride=4)
    assert thinner.positions[:, 1, 2] == pytest.approx([2.0, 2.04, 2.08, 3.0, 3.04, 3.08])


def test_ours_need_not_say_where_objects_are(tmp_path):
    store = EpisodeStore(tmp_path / "ours")
    store.write(0, make_episode(steps=4, size=32))
    assert objects_in(str(tmp_path / "ours"), range(1)) is None


def test_shipped_models_are_left_as_they_are(model):
    gates = shipped_gates()
    assert store_gates(gates, "tiny") is None
    assert store_gates(gates, str(shipped_world_models()["tiny"])) is None
    assert store_gates(gates, "vjepa2-ac-vitg") is None


def test_a_folder_that_cannot_be_written_is_said_and_no_error(model, tmp_path, monkeypatch, caplog):
    gates = shipped_gates()

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(job, "write_json", refuse)
    with caplog.at_level(logging.WARNING):
        assert store_gates(gates, str(model)) is None
    assert "not kept with the model" in caplog.text


@pytest.mark.slow
def test_the_oracle_plans_with_the_same_energy_as_the_model(droid, model):
    told = []
    gates = run_gates(
        config(model, droid, held_out=0, oracle_episodes=1), lambda *part: told.append(part)
    )
    assert gates.oracle_episodes == 1
    assert gates.oracle_success in (0.0, 1.0)
    assert gates.model_success in (0.0, 1.0)
    assert "oracle_success" not in gates.not_measured
    done = [count for count, _ in told]
    assert done == sorted(done)
    assert done[-1] == len(PARTS) + 2


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"held_out": -1}, ValueError),
        ({"oracle_episodes": -1}, ValueError),
        ({"hz": 0.0}, ValueError),
        ({"oracle_env": "nowhere-v0"}, UnknownNameError),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(wrong, error):
    with pytest.raises(error):
        GatesConfig(**wrong)


def test_the_table_fits_a_narrow_terminal(tmp_path):
    from rich.console import Console

    gates = shipped_gates()
    console = Console(width=80, record=True, file=io.StringIO())
    report_gates(console, GatesConfig(store=False), gates, tmp_path)
    told = console.export_text().splitlines()
    table = told[: next(i for i, line in enumerate(told) if line.startswith("not passed"))]
    assert max(map(len, table)) <= 80
    assert len(table) <= 45
