"""A macro model: what its macro-actions mean, and that it learns."""

import numpy as np
import pytest
import torch

from vjepa_gym.errors import DatasetError
from vjepa_gym.learning.tasks import Task, step_generator
from vjepa_gym.learning.training import fit
from vjepa_gym.learning.training_config import TrainingConfig
from vjepa_gym.types import Frames
from vjepa_gym.world_models.heads.macro import MacroModel, MacroModelConfig
from vjepa_gym.world_models.heads.macro_task import MacroTask, macro_training
from vjepa_gym.world_models.heads.registry import HEADS, HeadData
from vjepa_gym.world_models.presets import debug, tiny

TOKENS, ROWS, EPISODES = 4, 14, 6


def small(**sizes: int) -> MacroModelConfig:
    return MacroModelConfig(width=12, heads=2, depth=2, action_width=8, **sizes)


def model_of(config: MacroModelConfig | None = None, seed: int = 0) -> MacroModel:
    torch.manual_seed(seed)
    return MacroModel(config or small(), debug())


def views(n: int, tokens: int = TOKENS) -> torch.Tensor:
    return torch.nn.functional.layer_norm(torch.randn(n, tokens, 24), (24,))


def chunks_of(n: int, stride: int = 4) -> torch.Tensor:
    return torch.randn(n, stride, 7) * 0.05 + 0.01


def data(rows: int = ROWS) -> HeadData:
    """Return episodes whose views are a function of where the hand is."""
    random = np.random.default_rng(0)
    steps = random.uniform(-0.07, 0.07, (EPISODES, rows, 7)) * [1, 1, 1, 0, 0, 0, 1]
    poses = (steps.cumsum(1) + 0.5).reshape(-1, 7).astype(np.float32)
    mixing = torch.from_numpy(random.normal(size=(7, TOKENS * 24))).float()
    raw = (torch.from_numpy(poses) @ mixing).view(-1, TOKENS, 24)
    latents = torch.nn.functional.layer_norm(raw, (24,)).half().numpy()
    images = np.zeros((len(poses), 1, 1, 3), np.uint8)
    offsets = np.arange(EPISODES + 1) * rows
    return HeadData(latents=latents, frames=Frames(images=images, poses=poses, offsets=offsets))


def test_imagines_what_a_roll_out_predicts():
    model, start, macros = model_of(), views(2), torch.randn(2, 5, 3, 4)
    imagined = model.imagine(start, macros)
    assert imagined.shape == (2, 5, 3, TOKENS, 24)
    first = model(start, macros[:, 4, 0])
    torch.testing.assert_close(imagined[:, 4, 0], first)
    torch.testing.assert_close(imagined[:, 4, 1], model(first, macros[:, 4, 1]))


def test_imagines_the_same_in_parts(monkeypatch: pytest.MonkeyPatch):
    model, start, macros = model_of(), views(2), torch.randn(2, 5, 2, 4)
    whole = model.imagine(start, macros)
    monkeypatch.setattr("vjepa_gym.world_models.heads.macro.CPU_TOKENS", 3 * TOKENS)
    torch.testing.assert_close(model.imagine(start, macros), whole)


def test_predictions_are_normalised():
    predicted = model_of()(views(3), torch.randn(3, 4))
    torch.testing.assert_close(predicted.mean(-1), torch.zeros(3, TOKENS), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        predicted.std(-1, correction=0), torch.ones(3, TOKENS), atol=1e-3, rtol=0
    )


def test_gradients_reach_macro_actions_if_they_want_them():
    model = model_of().requires_grad_(False)
    macros = torch.randn(1, 2, 3, 4, requires_grad=True)
    model.imagine(views(1), macros)[:, :, -1].square().sum().backward()
    assert macros.grad is not None
    assert (macros.grad[:, :, 0] != 0).any()
    assert not model_of().imagine(views(1), torch.randn(1, 2, 3, 4)).requires_grad


def test_order_and_place_of_tokens_matter():
    model, start, macros = model_of(), views(1), torch.randn(1, 4)
    flipped = model(start.flip(1), macros).flip(1)
    assert not torch.allclose(model(start, macros), flipped, atol=1e-6)


def test_a_chunk_is_more_than_its_sum():
    model, chunk = model_of(), chunks_of(1)
    assert not torch.allclose(model.encode_actions(chunk), model.encode_actions(chunk.flip(1)))


def test_refuses_views_that_are_no_square():
    with pytest.raises(ValueError, match="square grid of tokens, got 6 tokens"):
        model_of()(views(1, tokens=6), torch.randn(1, 4))


def test_standardised_macro_actions_mean_the_same():
    model, chunks, start = model_of(), chunks_of(200), views(200)
    before, raw = model(start, model.encode_actions(chunks)), model.encode_actions(chunks)
    assert raw.std(0).max() < 0.5
    model.standardise(chunks)
    macros = model.encode_actions(chunks)
    torch.testing.assert_close(macros.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(macros.T.cov(correction=0), torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.mean, macros.mean(0))
    torch.testing.assert_close(model.std, torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(model(start, macros), before, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dim", [1, 4])
def test_dead_directions_stay_finite(dim: int):
    model, chunks = model_of(small(dim=dim)), chunks_of(50)
    with torch.no_grad():
        model.action_encoder[-1].weight[-1] = 0.0
    model.standardise(chunks)
    assert model.encode_actions(chunks).isfinite().all()
    assert (model.std <= 1.001).all()
    model.standardise(chunks[:1].expand(8, -1, -1))
    assert model.encode_actions(chunks).isfinite().all()


def test_sizes_fit_the_smallest_model():
    model = MacroModel(MacroModelConfig(), tiny())
    assert sum(x.numel() for x in model.parameters()) <= 1_000_000
    assert (model.stride, model.dim) == (4, 4)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"stride": 0}, "stride must be at least 1"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"width": 10, "heads": 4}, "width / heads"),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be positive"),
    ],
)
def test_refuses_impossible_sizes(sizes: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        MacroModelConfig(**sizes)


def task_of(config: MacroModelConfig | None = None, **training: int) -> MacroTask:
    return MacroTask(data(), model_of(config), TrainingConfig(**training))


def test_is_a_task():
    assert isinstance(task_of(), Task)


@pytest.mark.parametrize(("stride", "horizon"), [(4, 3), (2, 1), (3, 2)])
def test_chunks_are_the_moves_between_the_views(stride: int, horizon: int):
    task = task_of(small(stride=stride, horizon=horizon), batch_size=5)
    plan = task.plan(1, 10, step_generator(0, 1))
    assert plan.size == 5
    batch = task.load(plan, slice(1, 4))
    assert batch["latents"].shape == (3, horizon + 1, TOKENS, 24)
    assert batch["chunks"].shape == (3, horizon, stride, 7)
    held = data()
    for first, latents, chunks in zip(
        plan.firsts[1:4], batch["latents"], batch["chunks"], strict=True
    ):
        assert first // ROWS == (first + stride * horizon) // ROWS
        for view in range(horizon + 1):
            np.testing.assert_array_equal(latents[view], held.latents[first + stride * view])
        moved = held.frames.poses[first + stride * horizon] - held.frames.poses[first]
        torch.testing.assert_close(
            chunks.sum((0, 1))[:3], torch.from_numpy(moved[:3]), atol=1e-5, rtol=0
        )


def test_says_which_clips_a_batch_has():
    task = task_of(batch_size=3)
    plan = task.plan(1, 10, step_generator(0, 1))
    first = int(plan.firsts[2])
    assert task.describe(plan, slice(2, 3)) == [
        f"episode {first // ROWS} from frame {first % ROWS}"
    ]


def test_episodes_may_be_too_short():
    with pytest.raises(DatasetError, match="needs an episode of 13 rows"):
        MacroTask(data(rows=12), model_of(), TrainingConfig())


def test_the_loss_is_of_true_and_of_predicted_views():
    task = task_of(batch_size=4)
    batch = task.load(task.plan(1, 10, step_generator(0, 1)), slice(0, 4))
    loss, metrics = task.objective(**batch)
    head, known = task.modules["macro"], batch["latents"].float()
    macros = head.encode_actions(batch["chunks"])
    rolled = (head.imagine(known[:, 0], macros[:, None])[:, 0] - known[:, 1:]).abs().mean()
    forced = torch.stack(
        [(head(known[:, i], macros[:, i]) - known[:, i + 1]).abs().mean() for i in range(3)]
    ).mean()
    assert metrics["rollout"].item() == pytest.approx(rolled.item(), rel=1e-4)
    assert metrics["teacher_forcing"].item() == pytest.approx(forced.item(), rel=1e-4)
    assert loss.item() == pytest.approx((rolled + forced).item(), rel=1e-4)


def test_learns_what_actions_do_and_ends_standardised(tmp_path):
    training = TrainingConfig(
        steps=60, batch_size=16, learning_rate=2e-2, checkpoint_every=60, prefetch=0
    )
    task, seen = MacroTask(data(), model_of(small(horizon=2)), training), []
    fit(task, training, folder=tmp_path, seed=0, on_step=lambda *step: seen.append(step[2]))
    start, end = seen[0], seen[-1]
    assert end["rollout"] < 0.75 * start["rollout"]
    assert end["teacher_forcing"] < 0.9 * end["persistence"]
    head = task.modules["macro"]
    torch.testing.assert_close(head.std, torch.ones(4), atol=0.05, rtol=0)
    assert (head.action_scale > 0).all()


def test_is_among_the_heads():
    kind = HEADS["macro"]
    assert kind.config is MacroModelConfig
    head = kind.module(small(), debug())
    assert isinstance(kind.task(data(), head, kind.training()), MacroTask)
    assert kind.training() == macro_training()
