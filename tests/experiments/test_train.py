"""The job that trains predictors, and the recipe of docs/fine_tuning.md."""

import json
import logging
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import CheckpointError, DatasetError
from vjepa_gym.experiments import launch
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.config import GROUPS, PRESETS
from vjepa_gym.experiments.frames import open_whole
from vjepa_gym.experiments.jobs import gates
from vjepa_gym.experiments.jobs.train import TrainConfig, run_train
from vjepa_gym.learning.checkpoints import save_model, to_json
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.gates import GateConfig
from vjepa_gym.world_models.post_training import Latents
from vjepa_gym.world_models.post_training_config import POST_TRAINING
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from episodes import make_episode
from foreign import FOLDER, write_foreign

RECIPE = Path(__file__).parents[2] / "docs" / "fine_tuning.md"


@pytest.fixture
def ours(tmp_path):
    store = EpisodeStore(tmp_path / "ours")
    for index in range(6):
        store.write(index, make_episode(steps=8, size=32, seed=index))
    return tmp_path / "ours"


@pytest.fixture
def droid(tmp_path):
    for number in range(4):
        folder = write_foreign(tmp_path / f"{number}", rows=61, frames=61, size=32)
        target = tmp_path / "droid" / Path(FOLDER).with_name(f"Sat_Jul__8_08:57:2{number}_2023")
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        (described,) = target.glob("metadata_*.json")
        facts = json.loads(described.read_text())
        facts["uuid"] += f"-{number}"
        described.unlink()
        described.with_name(f"metadata_{facts['uuid']}.json").write_text(json.dumps(facts))
    return tmp_path / "droid"


@pytest.fixture
def model(tmp_path):
    """A whole model of one's own, of which the encoder lies apart as well."""
    sizes = debug()
    parts = VisionTransformer(sizes.encoder), ACPredictor(sizes.ac_predictor, sizes.encoder.width)
    for part in parts:
        initialise(part, torch.Generator().manual_seed(0))
    whole = VJEPA2AC(sizes, *parts)
    whole.predictor.action_scale.fill_(0.5)
    whole.save(tmp_path / "whole")
    weights = {f"encoder.{name}": x for name, x in whole.encoder.state_dict().items()}
    save_model(tmp_path / "encoder", weights=weights, config=to_json(sizes))
    return tmp_path / "whole"


def job(folder, data, **given):
    return TrainConfig(
        data=str(data),
        folder=str(folder),
        held_out=2,
        gates=GateConfig(transitions=4, candidates=2, probe_episodes=2),
        training=POST_TRAINING["debug"](),
        **given,
    )


def test_a_predictor_is_trained_judged_and_kept(ours, model, tmp_path):
    config = job(tmp_path / "run", ours, encoder=str(tmp_path / "encoder"))
    trained = run_train(config)
    assert trained.gates is not None
    kept = json.loads((tmp_path / "run" / "gates.json").read_text())
    assert kept == trained.gates.to_json()
    again = VJEPA2AC.load(tmp_path / "run")
    frames = open_whole(str(ours), size=again.config.encoder.image_size).images
    assert trained.familiarity is not None
    assert again.familiarity is not None
    for familiarity in (trained.familiarity, again.familiarity):
        distances = familiarity.distance(again.encode(np.asarray(frames[:])))
        assert 0 < distances.median() <= 1
    assert all(torch.equal(again.state_dict()[k], x) for k, x in trained.state_dict().items())
    # A new predictor knows the scales of these data.
    assert not torch.equal(again.predictor.action_scale, torch.full((7,), 0.5))
    # Finished: others may build on it.
    assert not (tmp_path / "run" / "training.json").exists()


def test_gates_are_of_such_steps_as_were_trained_on(ours, model, tmp_path, monkeypatch):
    judged = []

    def note(_model, frames, **given):
        judged.extend([frames, given])
        raise DatasetError("enough is known")

    monkeypatch.setattr(gates, "measure_gates", note)
    config = job(tmp_path / "run", ours, initial=str(model))
    config.training.stride = 2
    run_train(config)
    frames, given = judged
    assert np.diff(frames.offsets).tolist() == [5, 5]
    assert np.diff(given["known"].offsets).tolist() == [5] * config.gates.probe_episodes


def test_latents_lie_beside_the_data_and_are_shared(ours, model, tmp_path):
    run_train(job(tmp_path / "one", ours, initial=str(model)))
    (latents,) = (tmp_path / "ours.cache" / "latents").iterdir()
    assert np.load(latents, mmap_mode="r").shape == (4 * 9, 16, 24)
    written = latents.stat().st_mtime_ns
    run_train(job(tmp_path / "other", ours, encoder=str(tmp_path / "encoder")))
    assert latents.stat().st_mtime_ns == written
    assert len(list((tmp_path / "ours.cache" / "latents").iterdir())) == 1


def test_latents_may_lie_elsewhere_or_nowhere(ours, model, tmp_path):
    elsewhere = tmp_path / "else where"
    run_train(job(tmp_path / "one", ours, initial=str(model), latents_folder=str(elsewhere)))
    assert len(list(elsewhere.iterdir())) == 1
    run_train(job(tmp_path / "two", ours, initial=str(model), latents=Latents.online))
    assert not (tmp_path / "ours.cache" / "latents").exists()


def test_weights_are_stored_in_sixteen_bits_if_asked(ours, model, tmp_path):
    run_train(job(tmp_path / "run", ours, initial=str(model), half=True))
    whole, half = (
        (folder / "model.safetensors").stat().st_size for folder in (model, tmp_path / "run")
    )
    assert half < 0.7 * whole


def test_a_model_that_cannot_be_judged_is_kept_all_the_same(ours, model, tmp_path, caplog):
    config = job(tmp_path / "run", ours, initial=str(model))
    config.held_out = 1
    with caplog.at_level(logging.WARNING):
        trained = run_train(config)
    assert trained.gates is None
    assert "its gates cannot be measured" in caplog.text
    assert VJEPA2AC.load(tmp_path / "run").gates is None


def test_what_was_broken_off_is_not_built_on_unless_asked(ours, model, tmp_path):
    (model / "training.json").write_text('{"step": 2, "steps": 4}')
    with pytest.raises(CheckpointError, match="after 2 of 4 steps"):
        run_train(job(tmp_path / "run", ours, initial=str(model)))
    run_train(job(tmp_path / "run", ours, initial=str(model), unfinished=True))


def test_the_encoder_is_what_pretraining_leaves_unless_told_otherwise():
    assert TrainConfig().encoder == "runs/encoder"
    assert TrainConfig(initial="tiny").encoder == ""
    assert TrainConfig(initial="tiny", encoder="mine").encoder == "mine"
    assert TrainConfig(data="sets/a").latents_folder == "sets/a.cache/latents"


@pytest.fixture
def caught(monkeypatch, tmp_path):
    jobs = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: jobs.append(experiment.job))
    return jobs


def test_sizes_need_not_be_typed(caught):
    assert main(["train", "job.training=small", "job.latents=online"]) == 0
    assert main(["train", "job.model=tiny", "job.model.ac_predictor.depth=5"]) == 0
    first, second = caught
    assert first.model is None
    assert (first.latents, first.training.frames) == (Latents.online, 8)
    assert second.model.ac_predictor.depth == 5


def test_sizes_without_a_preset_are_told_what_to_type(capsys, caught):
    assert main(["train", "job.model.ac_predictor.depth=5"]) == 2
    said = capsys.readouterr().err
    assert "'job.model.ac_predictor.depth=5': job.model is not set" in said
    assert "job.model=<debug|tiny|" in said


# The recipe.


def commands():
    """Return the words of every command in the recipe."""
    text, said, inside = RECIPE.read_text(), [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside and line.startswith(("vjepa-gym ", "torchrun ")):
            said.append(line)
    return said


def test_the_recipe_has_its_commands():
    jobs = {shlex.split(command)[1] for command in commands() if command.startswith("vjepa")}
    assert {"audit", "convert", "train", "gates"} <= jobs


@pytest.mark.parametrize("command", commands(), ids=range(len(commands())))
def test_every_command_of_the_recipe_can_be_composed(command, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    words = shlex.split(command, comments=True)
    words = words[words.index("-m") + 2 :] if words[0] == "torchrun" else words[1:]
    assert main([*words, "--cfg", "job"]) == 0
    assert "job:\n" in capsys.readouterr().out


@pytest.mark.slow
def test_the_recipe_runs_from_real_episodes_to_a_model_that_plans(
    droid, model, tmp_path, monkeypatch
):
    """At the size of a test: DROID's episodes at 15 rows a second, a model of a few weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    assert main(["audit", str(droid)]) == 0
    words = [
        f"job.data={droid}",
        f"job.initial={model}",
        f"job.folder={tmp_path / 'mine'}",
        "job.held_out=2",
        "job.training=fine_tune_24gb",
        "job.training.steps=2",
        "job.training.frames=8",
        "job.training.batch_size=8",
    ]
    assert main(["train", *words]) == 0
    trained = VJEPA2AC.load(tmp_path / "mine")
    assert trained.predictor.action_scale.tolist() == [0.5] * 7
    judged = ["job.gates.transitions=4", f"job.model={tmp_path / 'mine'}", f"job.data={droid}"]
    assert main(["gates", *judged, "job.held_out=2"]) == 0


def test_presets_of_the_job_are_those_of_the_library():
    assert PRESETS["train"]["job.training"] is POST_TRAINING
    assert GROUPS["job"]["train"] is TrainConfig
