"""Pretraining on every kind of data that the job takes."""

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import CheckpointError, DatasetError
from vjepa_gym.experiments.jobs import pretrain as jobs
from vjepa_gym.experiments.jobs.pretrain import PretrainConfig, run_pretrain
from vjepa_gym.experiments.usage import UsageError
from vjepa_gym.learning.checkpoints import load_weights, read_json
from vjepa_gym.world_models.heads.inverse import InverseDynamicsConfig
from vjepa_gym.world_models.masking import MaskConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.pretraining import load_encoder
from vjepa_gym.world_models.pretraining_presets import PRETRAINING
from vjepa_gym.world_models.recovery import RecoveryConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from episodes import make_episode, stamped_frame
from video_files import write


@pytest.fixture
def ours(tmp_path):
    store = EpisodeStore(tmp_path / "ours")
    for index in range(4):
        store.write(index, make_episode(steps=6 + index, size=32, seed=index))
    return str(tmp_path / "ours")


@pytest.fixture
def videos(tmp_path):
    write(tmp_path / "videos/a.mp4", frames=12, size=(48, 64))
    write(tmp_path / "videos/b.mkv", frames=9)
    return tmp_path / "videos"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(stamped_frame(number, 32)).save(folder / f"{number}.png")
    return str(folder)


def job(tmp_path, **changes):
    training = changes.pop("training", PRETRAINING["debug"]())
    return PretrainConfig(
        folder=str(tmp_path / "encoder"),
        device="cpu",
        model=debug(),
        training=training,
        **{"held_out": 1, **changes},
    )


def test_a_dataset_of_ours(tmp_path, ours):
    run_pretrain(job(tmp_path, data=ours))
    assert load_encoder(tmp_path / "encoder")[1] == debug()
    assert read_json(tmp_path / "encoder/training.json") == {"step": 4, "steps": 4}


def test_videos_of_any_kind_beside_ours_and_images(tmp_path, ours, videos, images):
    training = replace(PRETRAINING["debug"](), fps=4.0, frames=2, cooldown_image_size=24)
    told = []
    run_pretrain(
        job(
            tmp_path,
            data=str(videos),
            also=[ours],
            weights=[3.0, 1.0],
            images=images,
            training=training,
        ),
        lambda step, total, metrics: told.append(metrics["loss"]),
    )
    assert len(told) == 4
    assert np.isfinite(told).all()


def recovering():
    """The recipe `debug` with a small term of recovery."""
    head = InverseDynamicsConfig(width=16, depth=1, token_width=4, reader_width=16)
    term = RecoveryConfig(weight=1.0, episodes=4, views=3, pairs=2, head=head)
    return replace(PRETRAINING["debug"](), recovery=term, jitter=0.1)


@pytest.mark.parametrize("held_out", [0, 1])
def test_doings_are_recovered_from_the_episodes_of_all_folders_with_poses(
    tmp_path, ours, videos, held_out, monkeypatch
):
    given = []
    train = jobs.pretrain
    monkeypatch.setattr(
        jobs, "pretrain", lambda *words, **named: given.append(named) or train(*words, **named)
    )
    told = []
    run_pretrain(
        job(
            tmp_path,
            data=ours,
            also=[str(videos), str(ours)],
            training=recovering(),
            held_out=held_out,
        ),
        lambda step, total, metrics: told.append(metrics),
    )
    episodes = given[0]["episodes"]
    assert episodes.num_episodes == 2 * (4 - held_out)
    assert len(episodes.images) == len(episodes.poses)
    assert len(episodes.poses) == 2 * sum((7, 8, 9, 10)[: 4 - held_out])
    assert len(told) == 4
    assert np.isfinite([each["recovery"] for each in told]).all()
    names = {name.split(".")[0] for name in load_weights(tmp_path / "encoder")}
    assert names == {"encoder", "predictor"}


def test_no_episodes_are_opened_where_nothing_is_to_be_recovered(tmp_path, ours, monkeypatch):
    monkeypatch.setattr(jobs, "open_split", None)
    run_pretrain(job(tmp_path, data=ours))


def test_recovery_from_videos_alone_is_refused_before_any_is_looked_into(
    tmp_path, videos, monkeypatch
):
    monkeypatch.setattr(jobs, "open_videos", None)
    said = r"has no poses, .* job\.training\.recovery\.weight=0"
    for held_out in (0, 1):
        with pytest.raises(DatasetError, match=said):
            run_pretrain(job(tmp_path, data=str(videos), training=recovering(), held_out=held_out))
    assert not (tmp_path / "encoder/checkpoints").exists()


def test_short_and_broken_videos_are_an_error_unless_they_are_to_be_skipped(
    tmp_path, videos, caplog
):
    write(videos / "short.mp4", frames=3)
    with pytest.raises(DatasetError, match=r"1 of 3 videos .*\n *short\.mp4: .* 3 frames of 4"):
        run_pretrain(job(tmp_path, data=str(videos)))
    (videos / "none.mp4").touch()
    with pytest.raises(DatasetError, match=r"2 of 4 (.|\n)* none\.mp4: .*is empty") as both:
        run_pretrain(job(tmp_path, data=str(videos)))
    assert "short.mp4" in str(both.value)
    with caplog.at_level(logging.WARNING):
        run_pretrain(job(tmp_path, data=str(videos), skip_bad=True))
    assert len(re.findall("2 of 4 videos are left out", caplog.text)) == 1
    assert "short.mp4: holds no clip of 4 frames" in caplog.text
    assert "none.mp4: " in caplog.text
    assert (tmp_path / "encoder/model.safetensors").is_file()


def test_a_model_to_start_from_brings_its_sizes(tmp_path, ours):
    run_pretrain(job(tmp_path, data=ours))
    first = tmp_path / "first"
    (tmp_path / "encoder").rename(first)
    wide = debug()
    wide.encoder = replace(wide.encoder, width=48)
    still = replace(PRETRAINING["debug"](), learning_rate=0.0, ema_start=1.0, ema_end=1.0)
    again = job(tmp_path, data=ours, initial=str(first), training=still)
    again.model = wide
    run_pretrain(again)
    for name, weight in load_encoder(first)[0].state_dict().items():
        assert weight.equal(load_encoder(tmp_path / "encoder")[0].state_dict()[name])
    with pytest.raises(CheckpointError):
        run_pretrain(job(tmp_path, data=ours, initial=str(tmp_path / "nowhere")))


def test_the_encoder_of_a_world_model_can_be_trained_on(tmp_path, ours):
    short = replace(PRETRAINING["tiny"](), steps=1, batch_size=2)
    run_pretrain(job(tmp_path, data=ours, initial="tiny", training=short))
    assert load_encoder(tmp_path / "encoder")[1].encoder.width == 192


def test_a_video_that_only_the_longer_clips_do_not_fit_is_not_left_out(tmp_path, videos):
    longer = replace(PRETRAINING["debug"](), cooldown_frames=10)
    with pytest.raises(DatasetError, match=r"b\.mkv: .* 9 frames of 10"):
        run_pretrain(job(tmp_path, data=str(videos), training=longer))
    run_pretrain(job(tmp_path, data=str(videos), training=longer, skip_bad=True))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cooldown_frames": 7}, "whole tubelets"),
        ({"cooldown_image_size": 37}, "whole tubelets"),
        ({"context_weight": 0.5}, "dense=true"),
        ({"masks": [MaskConfig(blocks=20, scale=0.6)]}, "leave nothing to see"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_data_are_read(tmp_path, changes, told):
    training = replace(PRETRAINING["debug"](), **changes)
    with pytest.raises(UsageError, match=told):
        run_pretrain(job(tmp_path, data=str(tmp_path / "nowhere"), training=training))
    assert not (tmp_path / "encoder").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_data_are_read(tmp_path):
    (tmp_path / "encoder").touch()
    with pytest.raises(UsageError, match=r"job\.folder=.*encoder: nothing can be written"):
        run_pretrain(job(tmp_path, data=str(tmp_path / "nowhere")))


def test_weights_are_as_many_as_folders():
    with pytest.raises(ValueError, match="2 in all"):
        PretrainConfig(also=["more"], weights=[1.0])
