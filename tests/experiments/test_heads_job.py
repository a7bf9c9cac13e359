"""The job that trains heads: what it leaves, where it goes on, and what it refuses."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import CheckpointError, DatasetError, UnknownNameError
from vjepa_gym.experiments.cli import JOBS, RESUMES, main
from vjepa_gym.experiments.config import GROUPS
from vjepa_gym.experiments.jobs import heads
from vjepa_gym.experiments.jobs.heads import HeadsConfig, run_heads
from vjepa_gym.experiments.seeing.watching import watch
from vjepa_gym.experiments.usage import UsageError
from vjepa_gym.learning.checkpoints import write_json
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.heads.files import load_head
from vjepa_gym.world_models.heads.registry import HEADS
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from episodes import make_episode


def model_in(folder: Path, seed: int = 0) -> Path:
    config = debug()
    parts = VisionTransformer(config.encoder), ACPredictor(config.ac_predictor, 24)
    for part in parts:
        initialise(part, torch.Generator().manual_seed(seed))
    VJEPA2AC(config, *parts).save(folder)
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    store = EpisodeStore(tmp_path / "ours")
    for index in range(4):
        store.write(index, make_episode(steps=8, size=32, seed=index))
    return tmp_path / "ours"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_in(tmp_path / "model")


def config_of(model: Path | str, ours: Path, **keys: object) -> HeadsConfig:
    usual = {"heads": ["inverse"], "held_out": 1, "steps": 2, "batch_size": 4, "device": "cpu"}
    return HeadsConfig(model=str(model), data=str(ours), **{**usual, "tensorboard": False, **keys})


def test_the_command_leaves_heads_beside_the_model(
    model: Path,
    ours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    before = (model / "model.safetensors").read_bytes()
    words = ["job.heads=[inverse,decoder]", "job.held_out=1", "job.steps=2", "job.batch_size=4"]
    words.append("job.tensorboard=false")
    assert main(["heads", f"job.model={model}", f"job.data={ours}", *words]) == 0
    world_model = VJEPA2AC.load(model)
    for name in ("inverse", "decoder"):
        load_head(name, model, world_model)
        assert any((model / "heads" / name / "checkpoints").iterdir())
    assert (model / "model.safetensors").read_bytes() == before
    told = capsys.readouterr().out
    assert re.search(r"inverse, on held-out episodes: loss -?[\d.]+", told)
    (figures,) = tmp_path.glob("runs/heads/*/heads.json")
    assert json.loads(figures.read_text()).keys() == {"inverse", "decoder"}
    # The latents of both parts are kept where `train` looks for them.
    assert len(list((tmp_path / "ours.cache/latents").glob("*.npy"))) == 2


def test_the_same_words_go_on(model: Path, ours: Path):
    first = run_heads(config_of(model, ours), watch)
    weights = (model / "inverse.safetensors").read_bytes()
    assert run_heads(config_of(model, ours), watch) == first
    assert (model / "inverse.safetensors").read_bytes() == weights
    run_heads(config_of(model, ours, steps=5), watch)
    assert (model / "inverse.safetensors").read_bytes() != weights
    assert "heads" in RESUMES
    assert "resumes" in JOBS["heads"]
    assert GROUPS["job"]["heads"] is HeadsConfig


def test_in_another_folder_there_is_a_model_with_heads(ours: Path, tmp_path: Path):
    model, folder = model_in(tmp_path / "model"), tmp_path / "other"
    run_heads(config_of(model, ours, folder=str(folder), half=True), watch)
    load_head("inverse", folder, VJEPA2AC.load(folder))
    assert not (model / "inverse.json").exists()
    run_heads(config_of(model, ours, folder=str(folder)), watch)


def test_a_folder_with_another_model_is_refused_before_data_are_read(model: Path, tmp_path: Path):
    other = model_in(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match="another encoder"):
        run_heads(config_of(model, tmp_path / "nothing", folder=str(other)), watch)


def test_a_shipped_model_needs_a_folder_of_ones_own(ours: Path):
    with pytest.raises(UsageError, match=re.escape("job.folder=runs/tiny")):
        run_heads(config_of("tiny", ours), watch)


def test_a_model_whose_training_was_broken_off_is_refused(model: Path, ours: Path):
    write_json(model / "training.json", {"step": 3, "steps": 10})
    with pytest.raises(CheckpointError, match="3 of 10 steps"):
        run_heads(config_of(model, ours), watch)


def test_each_head_is_trained_its_own_way_unless_told(
    model: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = {}

    def train_head(name: str, *_: object, training: object, **__: object) -> torch.nn.Module:
        seen[name] = training
        return torch.nn.Identity()

    monkeypatch.setattr(heads, "train_head", train_head)
    monkeypatch.setattr(heads, "judge_head", lambda *_, **__: {"loss": 0.0})
    keys = {"heads": list(HEADS), "steps": None, "batch_size": None, "learning_rate": 5e-4}
    run_heads(config_of(model, ours, **keys), watch)
    for name, training in seen.items():
        usual = HEADS[name].training()
        assert training.steps == usual.steps
        assert training.batch_size == usual.batch_size
        assert training.learning_rate == 5e-4
    assert list(seen) == list(HEADS)


def test_mistakes_are_found_before_anything_runs(model: Path, ours: Path):
    with pytest.raises(UnknownNameError, match="Did you mean 'inverse'"):
        HeadsConfig(heads=["invers"])
    with pytest.raises(ValueError, match="at least one of inverse, macro, decoder"):
        HeadsConfig(heads=[])
    with pytest.raises(UsageError, match="steps must be positive"):
        run_heads(config_of(model, ours, steps=0), watch)
    with pytest.raises(DatasetError, match="held_out must lie between"):
        run_heads(config_of(model, ours, held_out=4), watch)
    assert not (model / "heads").exists()


def test_heads_of_one_latents_folder_by_default(tmp_path: Path):
    config = HeadsConfig(data=str(tmp_path / "mine"))
    assert config.latents_folder == str(tmp_path / "mine.cache/latents")
    assert np.all([name in HEADS for name in config.heads])
