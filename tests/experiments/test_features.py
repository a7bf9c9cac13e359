"""Pictures of features: of videos, pictures and episodes, with models of a few parameters."""

import json
import sys
from dataclasses import replace
from fractions import Fraction

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video, scan_video, write_video
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.jobs.features import FeaturesConfig, FeaturesError, run_features
from vjepa_gym.experiments.seeing.patches import Encode, patch_features, seen
from vjepa_gym.experiments.seeing.pca_video import GAP, STRIP, caption, enlarge, sheet, side_by_side
from vjepa_gym.images import resize
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Episode
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.preprocessing import Preprocessing, PreprocessingConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

SIDE = 32
RATE = Fraction(5)


def moving(frames=7, height=24, width=40):
    """Return a square that moves to the right over noise."""
    images = np.random.default_rng(0).integers(0, 60, (frames, height, width, 3), np.uint8)
    for index, image in enumerate(images):
        image[8:16, 8 + 2 * index : 16 + 2 * index] = (250, 120, 40)
    return images


def still_episode(seed):
    """Return three observations of an arm that does nothing."""
    pose = np.array([0.5, 0.0, 0.3, 3.1, 0.0, 0.1, 0.5], np.float32)
    return Episode(
        commands=np.zeros((2, 7), np.float32),
        poses=np.stack([pose] * 3),
        images={"left": moving(3, 32, 32)},
        joints=np.zeros((3, 7), np.float32),
        step_seconds=np.full(2, 0.25, np.float32),
        cameras={"left": {"extrinsics": np.arange(6.0), "intrinsics": np.eye(3) * 200}},
        success=True,
        task="hold still",
        policy="idle",
        seed=seed,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a model that was never trained."""
    config = debug()
    encoder = VisionTransformer(config.encoder)
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    initialise(encoder, torch.Generator().manual_seed(1))
    folder = tmp_path_factory.mktemp("model")
    VJEPA2AC(config, encoder, predictor).save(folder)
    return folder


@pytest.fixture(scope="module")
def encoder():
    made = VisionTransformer(debug().encoder)
    initialise(made, torch.Generator().manual_seed(1))
    return made.eval()


@pytest.fixture
def config(tmp_path, model):
    write_video(tmp_path / "clip.mp4", moving(), RATE)
    return FeaturesConfig(
        video=str(tmp_path / "clip.mp4"), model=str(model), side=SIDE, device="cpu"
    )


def test_the_video_is_beside_the_colours_of_its_features(config, tmp_path):
    (found,) = run_features(config, tmp_path / "out")
    video = read_video(tmp_path / "out/features.mp4")
    assert video.shape == (7, STRIP + SIDE, 2 * SIDE + GAP, 3)
    assert scan_video(tmp_path / "out/features.mp4", decode=False).rate == RATE
    shown, colours = video[:, STRIP:, :SIDE], video[:, STRIP:, -SIDE:]
    side = resize(moving(), SIDE)
    assert abs(shown.astype(float) - side).mean() < 12
    # The square moves, and so do the colours.
    assert abs(colours[0].astype(float) - colours[-1]).mean() > 5
    assert found.patches == 4
    assert 0.3 < sum(found.explained) <= 1
    assert 1 < found.rank < 24
    assert found.deviation > 0


def test_the_figures_are_written_down(config, tmp_path):
    (found,) = run_features(config, tmp_path / "out")
    written = json.loads((tmp_path / "out/features.json").read_text())
    assert written["frames"] == 7
    assert written["video"] == config.video
    assert written["models"][0]["explained"] == found.explained


def test_two_runs_give_the_same_bytes(config, tmp_path):
    both = replace(config, compare="untrained", foreground=True)
    for name in ("one", "two"):
        run_features(both, tmp_path / name)
    for file in ("features.mp4", "features.png", "features.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_model_is_shown_beside_it(config, tmp_path, model):
    found = run_features(replace(config, compare="untrained"), tmp_path / "out")
    assert [one.model for one in found] == [str(model), f"{model}, untrained"]
    assert found[0].explained != found[1].explained
    assert read_video(tmp_path / "out/features.mp4").shape[2] == 3 * SIDE + 2 * GAP


@pytest.mark.parametrize("encode", Encode)
@pytest.mark.parametrize("foreground", [False, True])
def test_a_video_in_which_nothing_is_to_be_seen_is_grey(config, tmp_path, encode, foreground):
    write_video(tmp_path / "clip.mp4", np.full((5, 32, 32, 3), 90, np.uint8), RATE)
    config = replace(config, encode=encode, foreground=foreground)
    (found,) = run_features(config, tmp_path / "out")
    assert found.explained == [0, 0, 0]
    assert found.rank == 0
    colours = read_video(tmp_path / "out/features.mp4")[:, STRIP + 2 :, -SIDE + 2 :]
    assert abs(colours.astype(int) - 128).max() <= 3


@pytest.mark.parametrize("encode", Encode)
def test_a_picture_will_do(config, tmp_path, encode):
    iio.imwrite(tmp_path / "photo.png", moving()[0])
    config = replace(config, video=str(tmp_path / "photo.png"), encode=encode)
    (found,) = run_features(config, tmp_path / "out")
    assert len(read_video(tmp_path / "out/features.mp4")) == 1
    assert found.deviation == 0
    assert found.rank > 1
    assert np.isfinite(found.explained).all()


def test_frames_are_chosen_by_start_number_and_stride(config, tmp_path):
    run_features(replace(config, start=1, stride=2, frames=2), tmp_path / "out")
    shown = read_video(tmp_path / "out/features.mp4")[:, STRIP:, :SIDE]
    assert abs(shown.astype(float) - resize(moving()[1:4:2], SIDE)).mean() < 12
    assert scan_video(tmp_path / "out/features.mp4", decode=False).rate == RATE / 2


def test_at_another_size_there_are_more_patches(config, tmp_path):
    (found,) = run_features(replace(config, image_size=32), tmp_path / "out")
    assert found.patches == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"video": "nowhere.mp4"}, "nowhere.mp4 is no video or picture"),
        ({"start": 7}, "7 frames, from 0 on; there is no frame 7"),
    ],
)
def test_footage_that_is_not_there_is_named(config, tmp_path, changes, said):
    with pytest.raises(DatasetError, match=said):
        run_features(replace(config, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_none_is_named(config, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"photo\.jpg: expected a whole image"):
        run_features(replace(config, video=str(tmp_path / "photo.jpg")), tmp_path / "out")


def test_a_size_that_is_no_whole_patches_is_refused(config, tmp_path):
    with pytest.raises(FeaturesError, match="multiple of 4 px"):
        run_features(replace(config, image_size=18), tmp_path / "out")


def test_broken_weights_are_named(config, tmp_path):
    made = debug()
    encoder = VisionTransformer(made.encoder)
    torch.nn.init.constant_(encoder.norm.weight, torch.nan)
    VJEPA2AC(made, encoder, ACPredictor(made.ac_predictor, made.encoder.width)).save(
        tmp_path / "broken"
    )
    with pytest.raises(FeaturesError, match="not finite"):
        run_features(replace(config, model=str(tmp_path / "broken")), tmp_path / "out")


@pytest.mark.parametrize(
    "changes", [{"frames": 0}, {"stride": 0}, {"start": -1}, {"side": 33}, {"image_size": -16}]
)
def test_impossible_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        FeaturesConfig(**changes)


# An episode, from the command line.


def test_an_episode_of_a_dataset_is_found_by_its_number(tmp_path, model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    for index in range(2):
        EpisodeStore("data").write(index, still_episode(index))
    words = [f"job.model={model}", "job.side=32", "job.device=cpu"]
    assert main(["features", "data", "job.episode=1", *words]) == 0
    assert "The video, the stills and the figures are in" in capsys.readouterr().out
    (written,) = tmp_path.glob("runs/features/*/features.json")
    episode = json.loads(written.read_text())["video"].split("/recordings")[0]
    assert main(["features", episode, "job.encode=clip", *words]) == 0
    assert len(list(tmp_path.glob("runs/features/*/features.mp4"))) == 2
    assert main(["features", "data", "job.episode=7", *words]) == 1
    assert "data has no episode 7, only 0 to 1" in capsys.readouterr().err


# The parts.


def test_frames_by_themselves_have_features_of_their_own(encoder):
    images, preprocessing = moving(), Preprocessing(PreprocessingConfig(), 16)
    features = patch_features(encoder, preprocessing, images, Encode.frames)
    alone = patch_features(encoder, preprocessing, images[3:4], Encode.frames)
    torch.testing.assert_close(features[3:4], alone)
    assert features.shape == (7, 4, 4, 24)


def test_frames_of_a_tubelet_have_features_in_common(encoder):
    images, preprocessing = moving(), Preprocessing(PreprocessingConfig(), 16)
    features = patch_features(encoder, preprocessing, images, Encode.clip)
    assert features.shape == (7, 4, 4, 24)
    assert torch.equal(features[0], features[1])
    assert not torch.allclose(features[1], features[2])
    # The last frame, which has no partner, is its own.
    longer = patch_features(encoder, preprocessing, images[[*range(7), 6]], Encode.clip)
    torch.testing.assert_close(features, longer[:7])


def test_what_is_shown_is_what_a_model_sees():
    images = moving()
    found = seen(Preprocessing(PreprocessingConfig(), SIDE), images)
    assert abs(found.astype(int) - resize(images, SIDE)).max() <= 1


def test_patches_are_squares_or_smooth():
    colours = torch.tensor([[0.0, 1.0], [0.5, 0.0]])[None, ..., None].expand(1, 2, 2, 3)
    squares = enlarge(colours, 8, smooth=False)[0, ..., 0]
    assert (squares[:4, 4:] == 255).all()
    assert (squares[4:, :4] == 128).all()
    smooth = enlarge(colours, 8, smooth=True)[0, ..., 0]
    assert len(np.unique(smooth[0])) > 4
    assert smooth[0, -1] == 255


def test_panels_have_their_names_above_and_an_even_size():
    panels = {"a": moving(3, 20, 20), "a longer name than fits": moving(3, 20, 20)}
    beside = side_by_side(panels)
    assert beside.shape == (3, STRIP + 20, 46, 3)
    assert (beside[:, :STRIP] < 100).any()
    assert (beside[:, :, 20 : 20 + GAP] == 255).all()


@pytest.mark.parametrize(("frames", "stills"), [(1, 1), (5, 5), (60, 8)])
def test_a_sheet_has_stills_of_the_whole_clip(frames, stills):
    shown = sheet({"a": moving(frames, 20, 20), "b": moving(frames, 20, 20)})
    assert shown.shape == (2 * (STRIP + 20), 20 * stills + GAP * (stills - 1), 3)


def test_of_a_long_name_the_end_is_kept():
    assert np.array_equal(caption("x" * 80 + "end", 90), caption("y" * 80 + "x" * 8 + "end", 90))
    assert not np.array_equal(caption("end", 90), caption("and", 90))


def test_the_video_needs_no_key(capsys):
    assert main(["features", "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("vjepa-gym features [video] [key=value ...]")
    assert "job.compare=" in said
