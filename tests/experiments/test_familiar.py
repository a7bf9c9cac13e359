"""Views far from those of the training are told, once a run and kind, and kept with the report."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import SIZE, toy_envs

from vjepa_gym.agents.controls import HoldStill
from vjepa_gym.errors import PlanningError
from vjepa_gym.experiments.familiar import (
    GOALS,
    VIEWS,
    FirstLook,
    warn_if_enlarged,
    warn_if_unfamiliar,
)
from vjepa_gym.experiments.jobs.evaluate import EvaluateConfig, run_evaluate
from vjepa_gym.experiments.keeping import familiarity_of, store_familiarity
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Frames, Goal
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.familiarity import FAMILIARITY_FILE
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, shipped_world_models

SIDE = debug().encoder.image_size


def toy_views(count: int, seed: int = 0) -> np.ndarray:
    """Views of toys, as a model of `SIDE` pixels was trained on."""
    envs = toy_envs(1)
    images = [envs.reset(seed=1000 * seed + i)[0]["image"][0] for i in range(count)]
    return np.stack(images)


def frames(images: np.ndarray) -> Frames:
    poses = np.zeros((len(images), 7), np.float32)
    return Frames(images=images, poses=poses, offsets=np.array([0, len(images)]))


@pytest.fixture
def model() -> VJEPA2AC:
    config = debug()
    parts = VisionTransformer(config.encoder), ACPredictor(config.ac_predictor, 24)
    for part in parts:
        initialise(part, torch.Generator().manual_seed(0))
    return VJEPA2AC(config, *parts)


@pytest.fixture
def knowing(model: VJEPA2AC) -> VJEPA2AC:
    model.familiarity = familiarity_of(
        model, frames(toy_views(60)), frames(toy_views(40, seed=1)), seed=0
    )
    assert model.familiarity is not None
    return model


def noise(count: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


def test_views_like_those_of_the_training_are_not_remarked_on(knowing, caplog):
    distance = warn_if_unfamiliar(knowing, toy_views(8, seed=2))
    assert distance is not None
    assert 0 < distance < 1
    assert not warned(caplog)


def test_far_views_are_told_with_their_distance(knowing, caplog):
    distance = warn_if_unfamiliar(knowing, noise(8), GOALS)
    assert distance is not None
    assert distance > 1.5
    (said,) = warned(caplog)
    assert f"goal images of this run lie {distance:.1f} times as far" in said
    assert "99 % of such views" in said


def test_a_model_that_does_not_know_says_nothing(model, caplog, monkeypatch):
    monkeypatch.setattr(model, "encode", None)
    with caplog.at_level(logging.DEBUG, logger="vjepa_gym"):
        assert warn_if_unfamiliar(model, noise(8)) is None
    (record,) = [record for record in caplog.records if record.name.startswith("vjepa_gym")]
    assert record.levelno == logging.DEBUG
    assert "vjepa-gym gates" in record.getMessage()


def test_what_is_no_image_or_not_finite_is_an_error(knowing):
    with pytest.raises(ValueError, match="uint8"):
        knowing.encode(noise(2).astype(np.float32))
    knowing.encoder.get_parameter("norm.weight").data.fill_(torch.nan)
    with pytest.raises(PlanningError, match="2 of 2 views are not finite"):
        warn_if_unfamiliar(knowing, noise(2))


def test_both_sizes_of_enlarged_images_are_told(model, caplog):
    assert warn_if_enlarged(model, noise(1)) is None
    assert warn_if_enlarged(model, noise(1, 2 * SIDE)) is None
    said = f"{SIDE // 2} px images are enlarged to {SIDE} px"
    assert warn_if_enlarged(model, noise(1, SIDE // 2)) == said
    wide = np.zeros((1, SIDE // 2, 2 * SIDE, 3), np.uint8)
    assert warn_if_enlarged(model, wide) == said
    first, second = warned(caplog)
    assert said in first
    assert f"env.image_size={SIDE} or more" in first
    assert first == second


class Noted:
    """Notes what it is given."""

    privileged = True

    def __init__(self) -> None:
        self.given: list[Any] = []

    def reset(self, goal: Goal, which: Any = None) -> None:
        self.given.append((goal, which))

    def act(self, observation: Any) -> np.ndarray:
        self.given.append(observation)
        return np.full((len(observation["image"]), 7), 0.01, np.float32)


def test_the_agent_decides_as_it_does_alone(knowing, caplog):
    agent = Noted()
    look = FirstLook(agent, knowing)
    images = noise(4, SIDE)
    goal = Goal(images=images.reshape(2, 2, SIDE, SIDE, 3), poses=None, steps=(3, 3))
    seen = {"image": noise(2), "pose": np.zeros((2, 7), np.float32)}
    which = np.array([True, False])
    look.reset(goal)
    look.reset(goal, which)
    assert (look.act(seen) == np.float32(0.01)).all()
    look.act(seen)
    assert look.privileged
    assert agent.given[0][0] is goal
    assert agent.given[1] == (goal, which)
    assert agent.given[2] is seen
    assert len(agent.given) == 4
    # One of each kind, though each was met twice.
    assert [said.split(" of this run")[0] for said in warned(caplog)] == [
        f"The {GOALS}",
        f"The {VIEWS}",
    ]
    assert not getattr(FirstLook(HoldStill(), knowing), "privileged", True)


def evaluated(folder: Path, agents: dict[str, Any], world_model: VJEPA2AC | None) -> str:
    run_evaluate(
        EvaluateConfig(episodes=3, videos=0),
        envs=toy_envs(2),
        agents=agents,
        folder=folder,
        title="Toy",
        facts={"model": "mine"},
        world_model=world_model,
    )
    return (folder / "index.html").read_text()


def test_an_evaluation_keeps_the_distances_on_its_page(knowing, tmp_path, caplog):
    agents = {"hold_still": HoldStill(), "other": HoldStill()}
    page = evaluated(tmp_path / "known", agents, knowing)
    assert "mine" in page
    assert "distance of views" in page
    assert "distance of goal images" in page
    small = f"{SIZE} px images are enlarged to {SIDE} px"
    assert small in page
    # Of the first agent only, and of the first episodes.
    assert [small in said for said in warned(caplog)] == [True]
    assert "distance of views" not in evaluated(tmp_path / "nobody", agents, None)


def test_a_model_without_statistics_is_evaluated_all_the_same(model, tmp_path):
    page = evaluated(tmp_path, {"hold_still": HoldStill()}, model)
    assert "distance of views" not in page


def test_what_is_familiar_is_kept_beside_a_model_of_ones_own(model, tmp_path, caplog):
    known, others = frames(toy_views(60)), frames(toy_views(40, seed=1))
    model.save(tmp_path / "mine")
    given = {"data": "toys", "seed": 0}
    for name in ("tiny", str(shipped_world_models()["tiny"]), str(tmp_path / "nowhere")):
        assert store_familiarity(model, name, known, others, **given) is None
    assert model.familiarity is None
    kept = store_familiarity(model, str(tmp_path / "mine"), known, others, **given)
    assert kept == tmp_path / "mine" / FAMILIARITY_FILE
    again = VJEPA2AC.load(tmp_path / "mine")
    assert again.familiarity is not None
    # It is there already, and stays.
    assert store_familiarity(again, str(tmp_path / "mine"), others, known, **given) is None
    assert not warned(caplog)


def test_what_cannot_be_known_is_told_and_no_error(model, tmp_path, caplog, monkeypatch):
    known, others = frames(toy_views(60)), frames(toy_views(3, seed=1))
    assert familiarity_of(model, known, others, seed=0) is None
    assert "will not warn" in warned(caplog)[0]
    model.save(tmp_path)
    given = {"data": "toys", "seed": 0}
    assert store_familiarity(model, str(tmp_path), known, others, **given) is None

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(sys.modules["vjepa_gym.world_models.familiarity"], "write_tensors", refuse)
    assert store_familiarity(model, str(tmp_path), known, known, **given) is None
    assert "is not kept with the model: read-only" in warned(caplog)[-1]
