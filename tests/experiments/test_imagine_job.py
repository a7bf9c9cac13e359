"""What a world model imagines, shown: of datasets and of environments, with small models."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from episodes import make_episode
from toys import ToyWorldModel, picture

from vjepa_gym.agents.base import Ended, Plan, Trace
from vjepa_gym.agents.cem import CEM, CEMConfig
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.datasets.video.mp4 import read_video
from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.jobs.imagine import ImagineConfig, ImagineError, run_imagine
from vjepa_gym.experiments.pictures import LAST_FRAME_REPEATS
from vjepa_gym.experiments.seeing.films import Film
from vjepa_gym.experiments.seeing.imagined import (
    imagine_film,
    imagine_plan,
    imagined_panel,
    plan_for,
)
from vjepa_gym.experiments.seeing.pca_video import GAP, STRIP
from vjepa_gym.experiments.settings import EnvConfig
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.heads.decoder import Decoder, DecoderConfig
from vjepa_gym.world_models.heads.files import save_head
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

CPU = torch.device("cpu")
SIDE, STEPS = 96, 3


@pytest.fixture(scope="module")
def made():
    """A world model that was never trained, and a decoder of its latents."""
    sizes = debug()
    parts = VisionTransformer(sizes.encoder), ACPredictor(sizes.ac_predictor, sizes.encoder.width)
    for part in parts:
        initialise(part, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(width=12, heads=2, depth=1, least_channels=4), sizes)
    for x in decoder.enlarge[-1].parameters():
        torch.nn.init.normal_(x, std=0.1)
    return VJEPA2AC(sizes, *parts), decoder.eval()


@pytest.fixture
def config(tmp_path, made):
    world_model, decoder = made
    world_model.save(tmp_path / "model")
    save_head("decoder", decoder, tmp_path / "model", world_model)
    store = EpisodeStore(tmp_path / "data")
    for index in range(5):
        store.write(index, make_episode(steps=5, size=32, seed=index))
    return ImagineConfig(
        model=str(tmp_path / "model"),
        data=str(tmp_path / "data"),
        held_out=2,
        horizon=STEPS,
        candidates=0,
        side=SIDE,
        device="cpu",
    )


def film(rows=4):
    """Return a toy that moves to the right."""
    poses = np.zeros((rows, 7), np.float32)
    poses[:, :3] = [0.4, 0.0, 0.25]
    poses[:, 0] += 0.03 * np.arange(rows)
    return Film(name="toy", images=np.stack([picture(pose) for pose in poses]), poses=poses)


def test_a_model_that_is_right_has_no_error():
    future = imagine_film(ToyWorldModel(), film(), CPU)
    assert (future.errors < 0.01).all()
    assert (np.diff(future.unchanged) > 0.01).all()
    torch.testing.assert_close(future.imagined, future.seen, atol=0.01, rtol=0)
    assert torch.equal(future.imagined[0], future.seen[0])


def test_one_row_is_no_future():
    with pytest.raises(ValueError, match="two rows or more, got 1"):
        imagine_film(ToyWorldModel(), film(1), CPU)


def test_a_plan_is_shown_beside_its_goal():
    model, seen = ToyWorldModel(), film()
    config = CEMConfig(horizon=2, num_samples=100, num_iterations=6, num_elites=10)
    agent = PlanningAgent(model, CEM(config, seed=0, device="cpu"), L1(summed=False))
    plan = plan_for(agent, seen)
    future = imagine_plan(model, seen, plan, CPU)
    assert len(future.errors) == 2
    np.testing.assert_array_equal(future.film.images[1:], seen.images[[-1, -1]])
    assert future.errors[-1] < 0.3 * future.unchanged[-1]
    assert (future.unchanged == future.unchanged[0]).all()


def test_panels_of_plans_are_what_the_decoder_draws(made):
    world_model, decoder = made
    latents = world_model.encode(torch.randint(0, 255, (2, 16, 16, 3), dtype=torch.uint8))
    context = Context(
        latents=latents[:, None], poses=torch.zeros(2, 1, 7), actions=torch.zeros(2, 0, 7)
    )
    actions = 0.05 * torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    trace = Trace(best=torch.zeros(1, 2), mean=torch.zeros(1, 2), std=torch.zeros(1, 2, 7))
    plan = Plan(
        actions=actions, cost=torch.zeros(2), trace=trace, evaluations=1, ended=Ended.iterations
    )
    panel = imagined_panel(world_model, decoder, plan, context)
    assert panel.shape == (2, 3, 16, 16, 3)
    assert panel.dtype == np.uint8
    imagined = world_model.imagine(context, actions[:, None]).latents[1, 0]
    np.testing.assert_array_equal(panel[1], decoder.images(imagined).numpy())


def test_each_episode_is_shown_in_every_way(config, tmp_path):
    about = run_imagine(replace(config, episodes=[1, 0]), tmp_path / "out")
    for number in (0, 1):
        video = read_video(tmp_path / f"out/episode_{number}.mp4")
        width = 5 * SIDE + 4 * GAP
        assert video.shape == (1 + STEPS + LAST_FRAME_REPEATS, STRIP + SIDE, width, 3)
        assert iio.imread(tmp_path / f"out/episode_{number}.gif").shape[1:] == video.shape[1:]
        stills = iio.imread(tmp_path / f"out/episode_{number}.png")
        assert stills.shape == (5 * (STRIP + SIDE), (1 + STEPS) * (SIDE + GAP) - GAP, 3)
    assert (tmp_path / "out/errors.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out/imagined.json").read_text()) == about
    assert len(about["error_over_unchanged"]) == STEPS
    one, other = about["episodes"]
    assert (one["episode"], other["episode"]) == (1, 0)
    assert one["error"] != other["error"]
    assert len(one["imagined_error"]) == len(one["nearest_rows"]) == 1 + STEPS
    assert one["drawn_error"][0] == one["imagined_error"][0]
    # Frames of held-out episodes are never found: they would be found at once.
    assert max(one["nearest_rows"]) < 18
    # All episodes have the same frames, so that the first is found exactly.
    assert one["nearest_distance"][0] < 1e-3
    assert one["nearest_rows"][0] % 6 == 0


def test_two_runs_give_the_same_bytes(config, tmp_path):
    for name in ("one", "two"):
        run_imagine(config, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_rows_are_chosen_by_start_and_stride(config, tmp_path):
    stamped = make_episode(steps=5, size=32).images["left"]
    run_imagine(replace(config, start=1, stride=2, horizon=2), tmp_path / "out")
    video = read_video(tmp_path / "out/episode_0.mp4")[:, STRIP:, :SIDE].astype(float)
    small = video.reshape(len(video), 32, 3, 32, 3, 3).mean((2, 4))
    apart = np.abs(small[:3, None] - stamped[None]).mean((2, 3, 4))
    np.testing.assert_array_equal(apart.argmin(1), [1, 3, 5])


def test_without_a_decoder_there_are_real_frames(config, tmp_path):
    about = run_imagine(replace(config, decoded=False), tmp_path / "out")
    assert "imagined_error" not in about["episodes"][0]
    assert read_video(tmp_path / "out/episode_0.mp4").shape[2] == 3 * SIDE + 2 * GAP


def test_without_real_frames_there_is_a_decoder(config, tmp_path):
    about = run_imagine(replace(config, candidates=-1), tmp_path / "out")
    assert "nearest_rows" not in about["episodes"][0]
    assert not Path(config.latents_folder).exists()


def test_with_neither_it_says_what_to_do(config, tmp_path):
    (tmp_path / "model/decoder.safetensors").unlink()
    with pytest.raises(ImagineError, match=r"vjepa-gym heads job\.model="):
        run_imagine(replace(config, candidates=-1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_even_sample_of_frames_is_looked_up(config, tmp_path):
    about = run_imagine(replace(config, candidates=4), tmp_path / "out")
    assert max(about["episodes"][0]["nearest_rows"]) < 4
    (kept,) = Path(config.latents_folder).glob("*.npy")
    assert len(np.load(kept)) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"episodes": [2]}, "no episode 2 among those held out, which are 0 to 1"),
        ({"horizon": 6}, "has 6 rows; 6 steps of 1 from row 0 on need 7"),
        ({"start": 3}, "need 7"),
        ({"held_out": 5}, "job.held_out must lie between 1 and 4"),
        ({"data": "nowhere"}, "nowhere: there is no such folder"),
    ],
)
def test_rows_that_are_not_there_are_named(config, tmp_path, changes, said):
    with pytest.raises(DatasetError, match=said):
        run_imagine(replace(config, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon": 0},
        {"stride": 0},
        {"start": -1},
        {"candidates": -2},
        {"episodes": []},
        {"episodes": [-1]},
        {"side": 95},
        {"side": 64},
    ],
)
def test_impossible_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        ImagineConfig(**changes)


def test_plans_need_somebody_who_plans(config, tmp_path):
    with pytest.raises(ImagineError, match="agent=planning"):
        run_imagine(replace(config, plan=True), tmp_path / "out")


def test_episodes_may_be_done_now(config, tmp_path):
    live = replace(config, live=True, episodes=[7], start=1, horizon=2, candidates=-1)
    about = run_imagine(live, tmp_path / "out", EnvConfig(image_size=32))
    (one,) = about["episodes"]
    assert one["name"] == "seed 7"
    assert about["from"] == EnvConfig().id
    assert min(one["unchanged"]) > 0
    again = run_imagine(live, tmp_path / "again", EnvConfig(image_size=32))
    assert again == about


def test_from_the_command_line(config, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    words = ["job.model=model", "job.data=data", "job.held_out=2", "job.horizon=2"]
    words += ["job.side=96", "job.candidates=0", "job.device=cpu"]
    assert main(["imagine", *words]) == 0
    assert "error of no change" in capsys.readouterr().out
    planner = ["agent.planner=random_shooting", "agent.planner.num_samples=8"]
    assert main(["imagine", *words, "job.plan=true", *planner]) == 0
    assert main(["imagine", *words, "job.plan=true", "agent=random"]) == 2
    assert "agent=planning" in capsys.readouterr().err
    assert len(list(tmp_path.glob("runs/imagine/*/imagined.json"))) == 2
