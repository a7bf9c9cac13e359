"""Landscapes drawn of a file of frames, of a dataset and of an environment, with tiny models."""

import csv
import json
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from matplotlib.colors import Normalize

from vjepa_gym import kinematics
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.errors import DatasetError, EvaluationError, PlanningError, UnknownNameError
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.jobs import landscape as job
from vjepa_gym.experiments.jobs.landscape import LandscapeConfig, run_landscape
from vjepa_gym.experiments.seeing.landscape_pictures import plot_landscape
from vjepa_gym.experiments.settings import EnvConfig, WorldModelConfig
from vjepa_gym.learning.layers import initialise
from vjepa_gym.spaces import MAX_TRANSLATION
from vjepa_gym.types import Episode
from vjepa_gym.world_models import grid_search
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.landscape import GridConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

FEW = GridConfig(points=5, cube_points=3, directions=4)
SMALL = EnvConfig(image_size=32)
POSE = np.array([0.5, 0.0, 0.3, 3.1, 0.0, 0.1, 0.9], np.float32)
MOVE = np.array([0.09, 0.03, -0.08, 0.0, 0.0, 0.0, 0.0], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that was never trained, but sees what differs."""
    config = debug()
    encoder = VisionTransformer(config.encoder)
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    initialise(encoder, torch.Generator().manual_seed(1))
    initialise(predictor, torch.Generator().manual_seed(2))
    folder = tmp_path_factory.mktemp("model")
    VJEPA2AC(config, encoder, predictor).save(folder)
    return WorldModelConfig(source=str(folder), device="cpu")


@pytest.fixture
def pictures():
    """For those that look at the pictures, each of which takes a second."""


@pytest.fixture(autouse=True)
def _only_what_is_looked_at(request, monkeypatch):
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(job, "draw_landscape", lambda path, *_: path.touch())


def walk(*moves):
    """Return the poses of a walk that begins at POSE, as an array [rows 7]."""
    poses = [POSE]
    for move in moves:
        poses.append(kinematics.integrate(poses[-1], move))
    return np.stack(poses)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)


def pair_file(path, images=None, poses=None, **others):
    """Write a file of frames as V-JEPA 2's example has them."""
    images = noise(1, 2, 40, 56) if images is None else images
    poses = walk(MOVE)[None] if poses is None else poses
    np.savez(path / "pair.npz", observations=images, states=poses, **others)
    return str(path / "pair.npz")


def draw(tmp_path, model, env=SMALL, **changes):
    config = LandscapeConfig(**({"grid": FEW} | changes))
    drawn = run_landscape(config, env, model, tmp_path / "out")
    return drawn, json.loads((tmp_path / "out/landscape.json").read_text())


# A file of frames.


def test_a_pair_in_a_file_is_drawn_beyond_the_limits(tmp_path, model, pictures):
    (drawn,), about = draw(tmp_path, model, pair=pair_file(tmp_path))
    np.testing.assert_allclose(drawn.step.action, MOVE, atol=1e-5)
    assert drawn.landscape.ticks[-1] == pytest.approx(1.2 * 0.09)
    assert drawn.landscape.closedness == pytest.approx(0.9)
    assert about["landscapes"][0]["name"] == "pair.npz, row 0"
    assert about["landscapes"][0]["true_action"] == pytest.approx(MOVE.tolist(), abs=1e-5)
    assert about["mean"] == {name: about["landscapes"][0][name] for name in about["mean"]}
    picture = iio.imread(tmp_path / "out/landscape_000.png")
    assert picture.shape[0] > 500
    assert picture.std() > 10


def test_the_energies_and_a_table_lie_beside_the_picture(tmp_path, model):
    (drawn,), about = draw(tmp_path, model, pair=pair_file(tmp_path))
    with np.load(tmp_path / "out/landscape_000.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["planes"], drawn.landscape.planes)
        np.testing.assert_array_equal(arrays["true_action"], drawn.step.action)
    with (tmp_path / "out/landscape.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["pair.npz, row 0", "mean"]
    assert float(rows[0]["energy_true"]) == about["mean"]["energy_true"]


def test_the_same_step_gives_the_same_bytes(tmp_path, model, pictures):
    kept = []
    for _ in range(2):
        draw(tmp_path, model, pair=pair_file(tmp_path))
        kept.append((tmp_path / "out/landscape_000.png").read_bytes())
    assert kept[0] == kept[1]


def test_an_archive_without_an_axis_of_episodes_may_hold_more_frames(tmp_path, model):
    poses = walk(0 * MOVE, MOVE, -0.5 * MOVE)
    path = pair_file(tmp_path, noise(4, 32, 32), poses.astype(np.float64))
    (drawn,), _ = draw(tmp_path, model, pair=path)
    assert drawn.step.name == "pair.npz, row 1"
    np.testing.assert_allclose(drawn.step.action, MOVE, atol=1e-5)
    (drawn,), _ = draw(tmp_path, model, pair=path, row=0, ahead=3)
    np.testing.assert_allclose(drawn.step.action, MOVE / 2, atol=1e-5)


def test_several_episodes_of_a_file_are_averaged(tmp_path, model):
    poses = np.stack([walk(MOVE), walk(-MOVE / 2)])
    path = pair_file(tmp_path, noise(2, 2, 32, 32), poses)
    drawn, about = draw(tmp_path, model, pair=path, count=2)
    stills = [one.figures.energy_still for one in drawn]
    assert stills[0] != stills[1]
    assert about["mean"]["energy_still"] == pytest.approx(np.mean(stills))
    assert (tmp_path / "out/landscape_001.png").exists()
    with pytest.raises(EvaluationError, match=r"has 2 episodes, so that job.count is at most 2"):
        draw(tmp_path, model, pair=path, count=3)


@pytest.mark.parametrize(
    ("images", "poses", "said"),
    [
        (noise(1, 1, 32, 32), walk()[None], "two frames or more"),
        (noise(1, 2, 32, 32), walk(MOVE, MOVE)[None], r"observations uint8 \[1, 2, 32, 32, 3\]"),
        (noise(1, 2, 32, 32).astype(np.float32), walk(MOVE)[None], "observations float32"),
        (noise(1, 2, 32, 32)[..., :1], walk(MOVE)[None], "expected an .npz archive"),
        (noise(1, 2, 32, 32), walk(MOVE)[None, :, :6], "expected an .npz archive"),
        (noise(1, 2, 32, 32), walk(MOVE * np.nan)[None], "numbers of its states are not finite"),
    ],
)
def test_frames_that_do_not_fit_are_refused(tmp_path, model, images, poses, said):
    with pytest.raises(DatasetError, match=said):
        draw(tmp_path, model, pair=pair_file(tmp_path, images, poses))
    assert not (tmp_path / "out/landscape.json").exists()


def test_frames_of_different_sizes_are_refused_with_what_would_do(tmp_path, model):
    images = np.empty(2, object)
    images[:] = [noise(32, 32), noise(40, 32)]
    with pytest.raises(DatasetError, match=r"pickled objects.*scale them to one size"):
        draw(tmp_path, model, pair=pair_file(tmp_path, images, walk(MOVE)))


def test_files_that_are_something_else_are_refused(tmp_path, model):
    with pytest.raises(DatasetError, match="not found"):
        draw(tmp_path, model, pair=str(tmp_path / "nowhere.npz"))
    np.savez(tmp_path / "other.npz", frames=noise(2, 32, 32))
    with pytest.raises(DatasetError, match="has frames, but no `observations`"):
        draw(tmp_path, model, pair=str(tmp_path / "other.npz"))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DatasetError, match="no such archive"):
        draw(tmp_path, model, pair=str(tmp_path / "text.npz"))
    whole = (tmp_path / "other.npz").read_bytes()
    path = pair_file(tmp_path)
    damaged = bytearray((tmp_path / "pair.npz").read_bytes())
    damaged[200:400] = bytes(200)
    (tmp_path / "pair.npz").write_bytes(damaged)
    with pytest.raises(DatasetError, match="cannot be read"):
        draw(tmp_path, model, pair=path)
    (tmp_path / "short.npz").write_bytes(whole[:-40])
    with pytest.raises(DatasetError, match="a damaged one"):
        draw(tmp_path, model, pair=str(tmp_path / "short.npz"))


def test_where_nothing_moves_it_is_said_where_something_does(tmp_path, model):
    path = pair_file(tmp_path, noise(4, 32, 32), walk(0 * MOVE, MOVE, MOVE))
    with pytest.raises(EvaluationError, match=r"moves by 0.0 mm.*job.row=\[1, 2\]"):
        draw(tmp_path, model, pair=path, row=0)
    path = pair_file(tmp_path, poses=walk(0 * MOVE)[None])
    with pytest.raises(EvaluationError, match="by a centimetre nowhere"):
        draw(tmp_path, model, pair=path)


def test_a_gripper_that_closes_is_something_that_moves(tmp_path, model):
    opens = np.array([0, 0, 0, 0, 0, 0, -0.5], np.float32)
    (drawn,), _ = draw(tmp_path, model, pair=pair_file(tmp_path, poses=walk(opens)[None]))
    assert drawn.figures.less_than_true == 0.5
    assert np.isfinite(drawn.figures.gripper_over_xyz)


def test_rows_that_there_are_not_are_named(tmp_path, model):
    with pytest.raises(EvaluationError, match=r"rows 0 to 1.*at most 1; got 1 \+ 1"):
        draw(tmp_path, model, pair=pair_file(tmp_path), row=1)


# A dataset.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four episodes of an arm that stands, then moves 3 cm along an axis of its own."""
    store = EpisodeStore(tmp_path_factory.mktemp("data") / "set")
    for seed in range(4):
        move = np.zeros(7, np.float32)
        move[seed % 3] = 0.03
        commands = np.stack([0 * move, move])
        store.write(
            seed,
            Episode(
                commands=commands,
                poses=walk(*commands),
                images={"left": noise(3, 32, 32, seed=seed)},
                joints=np.zeros((3, 7), np.float32),
                step_seconds=np.full(2, 0.25, np.float32),
                cameras={"left": {"extrinsics": np.arange(6.0), "intrinsics": np.eye(3) * 200}},
                success=True,
                task="move",
                policy="walk",
                seed=seed,
            ),
        )
    return str(store.root)


def test_held_out_episodes_are_looked_into_one_after_another(tmp_path, model, data):
    drawn, about = draw(tmp_path, model, data=data, held_out=2, count=2)
    assert [one["name"] for one in about["landscapes"]] == [
        "set, held-out episode 0, row 1",
        "set, held-out episode 1, row 1",
    ]
    moves = np.stack([one.step.action[:3] for one in drawn])
    np.testing.assert_allclose(moves, [[0, 0, 0.03], [0.03, 0, 0]], atol=1e-5)
    with pytest.raises(EvaluationError, match=r"2 held-out episodes.*at most 2; got 1 \+ 2"):
        draw(tmp_path, model, data=data, held_out=2, episode=1, count=2)


def test_the_oracle_knows_no_scene_but_a_simulated_one(tmp_path, model, data):
    oracle = replace(model, dynamics="oracle")
    with pytest.raises(PlanningError, match=r"nothing is known of the scene.*set"):
        draw(tmp_path, oracle, data=data, held_out=1)
    with pytest.raises(PlanningError, match=r"leave job.pair and job.data out"):
        draw(tmp_path, oracle, pair=pair_file(tmp_path))


def test_blind_dynamics_are_flat(tmp_path, model, data):
    (drawn,), about = draw(tmp_path, replace(model, dynamics="persistence"), data=data, held_out=1)
    assert about["dynamics"] == "persistence"
    assert drawn.figures.contrast == 0.0
    assert drawn.figures.energy_true == drawn.figures.energy_still


# An environment.


def test_the_step_of_an_expert_is_drawn_for_each_seed(tmp_path, model):
    drawn, _ = draw(tmp_path, model, count=2, seed=3)
    assert [one.step.name.split(", ", 1)[1] for one in drawn] == ["seed 3, row 0", "seed 4, row 0"]
    assert all(np.linalg.norm(one.step.action[:3]) > 0.02 for one in drawn)
    assert not np.allclose(drawn[0].step.action, drawn[1].step.action)


def test_the_oracle_is_lowest_at_what_the_expert_does(tmp_path, model, monkeypatch):
    monkeypatch.setattr(grid_search, "KEPT", 2)  # each action is simulated
    oracle = replace(model, dynamics="oracle")
    (drawn,), _ = draw(tmp_path, oracle, grid=replace(FEW, points=3), row=1)
    assert drawn.step.name.endswith("seed 0, row 1")
    assert drawn.landscape.ticks[-1] == pytest.approx(MAX_TRANSLATION)
    assert drawn.figures.argmin_error_cm < 1.0
    assert drawn.figures.energy_true < 0.1 * drawn.figures.energy_still
    assert drawn.figures.less_than_true == 0.0


def test_an_episode_that_is_over_has_no_further_steps(tmp_path, model):
    env = replace(SMALL, options={"horizon": 2})
    with pytest.raises(EvaluationError, match=r"ends after 2 moves.*at most 2; got 4"):
        draw(tmp_path, model, env=env, row=3)


# Words.


def test_energies_are_chosen_by_name(tmp_path, model):
    path = pair_file(tmp_path)
    found = [
        draw(tmp_path, model, pair=path, **words)[0][0].figures.energy_still
        for words in ({}, {"energy": "l2"}, {"energy": "cosine"}, {"token_floor": 0.2})
    ]
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"pair": "a.npz", "data": "data"}, "give one of them"),
        ({"count": 0}, "count and ahead must be positive"),
        ({"ahead": 0}, "count and ahead must be positive"),
        ({"row": -2}, "row at least -1"),
        ({"episode": -1}, "not negative"),
        ({"token_floor": 2.0}, "token_floor must"),
    ],
)
def test_words_that_make_no_sense_are_refused(words, said):
    with pytest.raises(ValueError, match=said):
        LandscapeConfig(**words)


def test_an_unknown_energy_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="cosine, l1, l2"):
        LandscapeConfig(energy="l3")


def test_the_command_prints_the_figures(tmp_path, model, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"job.pair={pair_file(tmp_path)}", f"world_model.source={model.source}"]
    words += ["job.grid.points=5", "job.grid.cube_points=3", "world_model.device=cpu"]
    assert main(["landscape", *words]) == 0
    said = capsys.readouterr().out
    assert "argmin error cm" in said
    assert "gripper over xyz" in said
    assert list(tmp_path.glob("runs/landscape/*/landscape_000.png"))
    assert main(["landscape", *words, "job.row=1"]) == 2
    assert "at most 1" in capsys.readouterr().err


# The picture.


def test_the_picture_marks_the_true_action_and_the_least_energy(tmp_path, model):
    (drawn,), _ = draw(tmp_path, model, pair=pair_file(tmp_path))
    found = drawn.landscape
    page = plot_landscape(found, drawn.figures, drawn.step.images, "a step")
    planes = [axes for axes in page.axes if axes.get_xlabel().endswith("[cm]") and axes.patches]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in planes] == [
        ("dx [cm]", "dy [cm]"),
        ("dx [cm]", "dz [cm]"),
        ("dy [cm]", "dz [cm]"),
    ]
    for axes, energies, (across, up) in zip(
        planes, found.planes, ((0, 1), (0, 2), (1, 2)), strict=True
    ):
        _, star, ring = axes.lines
        np.testing.assert_allclose(star.get_xydata()[0], 100 * MOVE[[across, up]], atol=1e-3)
        first, second = divmod(int(energies.argmin()), len(found.ticks))
        place = 100 * found.ticks[[first, second]]
        np.testing.assert_allclose(ring.get_xydata()[0], place, rtol=1e-5)
        (image,) = axes.images
        np.testing.assert_array_equal(np.asarray(image.get_array()), energies.numpy().T)
        assert isinstance(image.norm, Normalize)
        assert axes.patches[0].get_width() == pytest.approx(200 * MAX_TRANSLATION)
        left, right = axes.get_xlim()
        assert left < star.get_xdata()[0] < right
