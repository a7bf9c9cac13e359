"""Training of heads: it resumes, shares latents, and leaves the world model as it was."""

from pathlib import Path

import pytest
import torch
from head_cases import some_model, walks

from vjepa_gym.errors import CheckpointError, DatasetError, UnknownNameError
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.files import load_head
from vjepa_gym.world_models.heads.inverse import InverseDynamics, InverseDynamicsConfig
from vjepa_gym.world_models.heads.training import judge_head, train_head
from vjepa_gym.world_models.post_training import train_predictor
from vjepa_gym.world_models.post_training_config import PostTrainingConfig
from vjepa_gym.world_models.starting_model import StartingModel

SIZES = InverseDynamicsConfig(width=16, token_width=4, depth=1)


def train(folder: Path, steps: int = 6, seed: int = 0, model_seed: int = 0, **keys: object):
    told: list[int] = []
    training = TrainingConfig(steps=steps, batch_size=8, checkpoint_every=2, log_every=1)
    head = train_head(
        "inverse",
        some_model(seed=model_seed),
        walks(),
        folder=folder,
        training=training,
        seed=seed,
        **{"config": SIZES, "on_step": lambda step, *_: told.append(step), **keys},
    )
    return head, told


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(theirs[name], x) for name, x in one.state_dict().items())


def test_leaves_a_head_beside_the_model_and_how_it_went(tmp_path: Path):
    head, told = train(tmp_path)
    assert told == [1, 2, 3, 4, 5, 6]
    assert isinstance(head, InverseDynamics)
    assert (tmp_path / "heads/inverse/losses.csv").read_text().count("\n") == 7
    assert same(load_head("inverse", tmp_path, some_model()), head)
    assert not any(x.requires_grad for x in head.parameters())


def test_goes_on_where_it_was_and_ends_with_the_same_head(tmp_path: Path):
    whole, _ = train(tmp_path / "whole")

    def stop(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == 4:
            raise RuntimeError("a power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path / "cut", on_step=stop)
    assert not (tmp_path / "cut/inverse.json").exists()
    # Another state of torch's own chance is of no account.
    torch.manual_seed(1234)
    resumed, told = train(tmp_path / "cut")
    assert told == [5, 6]
    assert same(resumed, whole)


def test_is_a_function_of_the_seed(tmp_path: Path):
    head, _ = train(tmp_path / "one")
    again, _ = train(tmp_path / "two")
    other, _ = train(tmp_path / "three", seed=1)
    assert same(head, again)
    assert not same(head, other)


def test_leaves_the_chance_of_others_alone(tmp_path: Path):
    model, training = some_model(), TrainingConfig(steps=1, batch_size=2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_head("inverse", model, walks(), folder=tmp_path, training=training, config=SIZES)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "keys", [{"config": InverseDynamicsConfig(width=8)}, {"model_seed": 1}], ids=["sizes", "model"]
)
def test_the_training_of_another_head_is_not_gone_on_with(tmp_path: Path, keys: dict):
    train(tmp_path, steps=2)
    with pytest.raises(CheckpointError):
        train(tmp_path, **keys)


def test_latents_are_shared_with_the_training_of_the_predictor(tmp_path: Path):
    latents, model = tmp_path / "latents", some_model()
    train(tmp_path / "head", steps=1, latents_folder=latents)
    (kept,) = latents.glob("*.npy")
    before = kept.stat().st_mtime_ns
    train_predictor(
        walks(),
        StartingModel(world_model=model, trained=False),
        PostTrainingConfig(steps=1, batch_size=2),
        folder=tmp_path / "model",
        seed=0,
        latents_folder=latents,
    )
    assert list(latents.glob("*.npy")) == [kept]
    assert kept.stat().st_mtime_ns == before


def test_a_model_that_was_rounded_is_refused_before_anything_is_encoded(tmp_path: Path):
    model = some_model()
    model.lower("bfloat16")
    with pytest.raises(CheckpointError, match="precision=float32"):
        train_head("inverse", model, walks(), folder=tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_unknown_head_and_episodes_without_moves_are_refused(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="Available: decoder, inverse, macro"):
        train_head("nothing", some_model(), walks(), folder=tmp_path)
    with pytest.raises(DatasetError, match="2 frames"):
        train_head("inverse", some_model(), walks(rows=1), folder=tmp_path)


def test_judging_leaves_the_head_alone_and_judges_it_with_its_own_scales(tmp_path: Path):
    head, _ = train(tmp_path)
    before = {name: x.clone() for name, x in head.state_dict().items()}
    frames = walks(episodes=3)
    wide = Frames(images=frames.images, poses=frames.poses * 3, offsets=frames.offsets)

    def judge(frames: Frames) -> dict[str, float]:
        latents = tmp_path / "latents"
        return judge_head("inverse", head, some_model(), frames, latents_folder=latents)

    near, far = judge(frames), judge(wide)
    assert {"loss", "displacement", "gripper"} <= near.keys()
    # In units of the head's own scale, three times as wide moves are about three times as far off.
    assert far["displacement"] > 1.8 * near["displacement"]
    assert judge(frames) == near
    for name, x in head.state_dict().items():
        assert torch.equal(x, before[name])
