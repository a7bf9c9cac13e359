"""An inverse-dynamics head that reads the hand's pose, and tells where it next grips."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from head_cases import seen_walks, some_model

from vjepa_gym.learning.tasks import step_generator
from vjepa_gym.learning.training import fit
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.world_models.heads.files import load_head, save_head
from vjepa_gym.world_models.heads.inverse import InverseDynamics, InverseDynamicsConfig
from vjepa_gym.world_models.heads.inverse_task import InverseObjective, InverseTask, pose_error
from vjepa_gym.world_models.heads.key_poses import KeyPoses
from vjepa_gym.world_models.presets import debug

SIZES = {"width": 48, "token_width": 8, "depth": 1, "goal_steps": 3}
READING = InverseDynamicsConfig(**SIZES, reader_width=32)
BOTH = InverseDynamicsConfig(**SIZES, reader_width=32, key_poses=True)


def head_of(config: InverseDynamicsConfig = READING) -> InverseDynamics:
    torch.manual_seed(0)
    return InverseDynamics(config, debug())


def views(seed: int, n: int = 5) -> torch.Tensor:
    return torch.randn(n, 16, 24, generator=torch.Generator().manual_seed(seed))


def poses_of(seed: int, n: int = 5) -> torch.Tensor:
    return torch.randn(n, 7, generator=torch.Generator().manual_seed(seed))


def test_a_reader_of_negative_width_is_refused() -> None:
    with pytest.raises(ValueError, match="reader_width must be 0 or more, got -1"):
        InverseDynamicsConfig(reader_width=-1)


def test_a_head_without_a_reader_says_how_to_have_one() -> None:
    plain = head_of(InverseDynamicsConfig(**SIZES))
    assert plain.reader is None
    with pytest.raises(ValueError, match="reads no poses: train one with reader_width above 0"):
        plain.read(views(0))
    assert head_of().read(views(0)).shape == (5, 7)


def test_what_is_read_in_the_goal_goes_into_the_actions() -> None:
    head = head_of()
    given = views(0), views(1), poses_of(0)
    before = head(*given).median
    assert before.shape == (5, 4, 6)
    assert head.reader is not None
    with torch.no_grad():
        head.reader.layers[-1].bias.add_(1.0)
    assert not torch.allclose(head(*given).median, before)


def test_poses_are_told_relative_to_the_usual_and_angles_the_short_way_round() -> None:
    head = head_of()
    head.state_mean.copy_(torch.tensor([0.5, 0.0, 0.3, math.pi - 0.05, 0.0, -3.0, 0.5]))
    head.state_scale.copy_(torch.tensor([0.1, 0.2, 0.1, 0.05, 0.1, 0.1, 0.5]))
    pose = torch.tensor([0.6, -0.2, 0.3, 0.05 - math.pi, 0.2, 3.0, 1.0])
    apart = 2 * math.pi - 6.0
    expected = torch.tensor([1.0, -1.0, 0.0, 2.0, 2.0, -apart / 0.1, 1.0])
    torch.testing.assert_close(head.normalise(pose), expected, atol=1e-4, rtol=0)
    whole_turns = torch.tensor([0.0, 0, 0, 2 * math.pi, -4 * math.pi, 2 * math.pi, 0])
    many = (pose + whole_turns).expand(2, 3, 7)
    torch.testing.assert_close(head.normalise(many), expected.expand(2, 3, 7), atol=1e-3, rtol=0)


def test_poses_are_off_by_their_distance_and_closedness_by_its_square() -> None:
    head, latents, poses = head_of(), views(0), poses_of(1)
    off = (head.read(latents) - head.normalise(poses)).detach()
    error = pose_error(head, head.read(latents), poses).detach()
    torch.testing.assert_close(error[:, :6], off[:, :6].abs())
    torch.testing.assert_close(error[:, 6], off[:, 6] ** 2)


@pytest.mark.parametrize("config", [READING, BOTH], ids=["reading", "key poses too"])
def test_the_pose_comes_to_be_read_and_actions_to_be_told(
    tmp_path: Path, config: InverseDynamicsConfig
) -> None:
    data, head = seen_walks(episodes=60), head_of(config)
    training = TrainingConfig(steps=80, batch_size=32, learning_rate=1e-2, decay=0.5)
    told: list[dict[str, float]] = []
    fit(
        InverseTask(data, head, training),
        training,
        folder=tmp_path,
        seed=0,
        on_step=lambda _step, _steps, metrics: told.append(metrics),
    )
    names = ["read", "displacement", *(["key"] if config.key_poses else [])]
    for name in names:
        first, last = (np.mean([one[name] for one in part]) for part in (told[:8], told[-8:]))
        assert last < 0.8 * first, name
    assert ("key" in told[0]) == config.key_poses
    rows = np.arange(0, len(data.frames.poses), 7)
    read = head.read(torch.from_numpy(data.latents[rows]).float())
    true = head.normalise(torch.from_numpy(data.frames.poses[rows]))
    assert (read - true)[:, :3].abs().mean() < 0.4


def test_a_reader_adds_its_error_to_the_loss() -> None:
    data, training = seen_walks(episodes=4), TrainingConfig(batch_size=16)
    task = InverseTask(data, head_of(), training)
    batch = task.load(task.plan(1, 9, step_generator(0, 1)), slice(0, 16))
    head = task.modules["head"]
    assert isinstance(head, InverseDynamics)
    loss, metrics = task.objective(**batch)
    views, poses = (
        torch.cat([batch[a], batch[b]]) for a, b in (("latents", "goals"), ("poses", "goal_poses"))
    )
    error = pose_error(head, head.read(views.float()), poses)
    assert metrics["read"].item() == pytest.approx(error[:, :3].mean().item(), rel=1e-5)
    # The reader at work, and its error left out.
    rest = loss - error.mean()
    told = {name: batch[name] for name in ("latents", "goals", "poses", "steps")}
    told |= {name: x.float() for name, x in told.items() if name in ("latents", "goals")}
    off = (head(**told).median - batch["actions"][..., :6] / head.action_scale).abs().mean()
    expected = off + 0.1 * metrics["spread"] + 0.1 * metrics["gripper"]
    assert rest.item() == pytest.approx(expected.item(), rel=1e-4)
    assert "read" not in InverseObjective(head_of(InverseDynamicsConfig(**SIZES)))(**batch)[1]


@pytest.mark.parametrize("config", [READING, BOTH], ids=["reading", "key poses too"])
def test_it_is_kept_and_read_back(tmp_path: Path, config: InverseDynamicsConfig) -> None:
    model, head = some_model(), head_of(config)
    save_head("inverse", head, tmp_path, model)
    again = load_head("inverse", tmp_path, model)
    assert isinstance(again, InverseDynamics)
    assert again.config == config
    torch.testing.assert_close(again.state_dict(), head.state_dict())
    torch.testing.assert_close(again.read(views(0)), head.read(views(0)))


# Key poses.


def keyed(closedness: list[list[float]]) -> tuple[KeyPoses, torch.Tensor]:
    """Return the key poses of episodes in which the hand's x is the number of the row."""
    flat = torch.tensor([x for episode in closedness for x in episode])
    poses = torch.zeros(len(flat), 7)
    poses[:, 0], poses[:, 6] = torch.arange(len(flat)), flat
    offsets = np.cumsum([0, *map(len, closedness)], dtype=np.int64)
    return KeyPoses(poses, offsets), poses


def test_the_next_key_pose_is_where_the_hand_closes_or_opens_or_else_the_goal() -> None:
    keys, _ = keyed([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.02, 0.0]])
    rows = np.array([0, 2, 3, 5, 6, 0, 0])
    later = np.array([7, 7, 7, 7, 7, 1, 2])
    told = keys.between(rows, later)
    assert told[:, 0].tolist() == [2, 2, 5, 5, 7, 1, 2]
    # Closedness is that after the hand has moved, as far as the later row.
    assert told[:, 6].tolist() == pytest.approx([1, 1, 0.02, 0.02, 0, 0, 0])


def test_a_hand_that_trembles_has_no_key_pose_and_no_episode_reaches_into_the_next() -> None:
    keys, poses = keyed([[0.0, 0.03, 0.0], [1.0, 1.0, 0.0]])
    told = keys.between(np.array([[0, 1], [3, 4]]), np.array([[2, 2], [5, 5]]))
    assert told.shape == (2, 2, 7)
    assert told[..., 0].tolist() == [[2, 2], [4, 4]]
    assert told[..., 6].tolist() == [[0, 0], [0, 0]]
    assert poses[3, 6] == 1


def test_key_poses_are_told_beside_the_pose_and_only_if_asked_for() -> None:
    assert head_of()(views(0), views(1), poses_of(0)).key is None
    head = head_of(BOTH)
    head.state_mean.fill_(0.3)
    poses = poses_of(0)
    key = head(views(0), views(1), poses).key
    assert head.key is not None
    with torch.no_grad():
        for weight in head.key.parameters():
            weight.zero_()
    assert key.shape == (5, 7)
    still = head(views(0), views(1), poses).key
    torch.testing.assert_close(still, head.normalise(poses))
