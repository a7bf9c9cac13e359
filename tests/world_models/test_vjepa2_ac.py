"""The world model encodes, imagines, is saved and found again; the control sees nothing change."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa_gym.errors import CheckpointError, UnknownNameError
from vjepa_gym.learning.layers import initialise
from vjepa_gym.types import Frames
from vjepa_gym.world_models import vjepa2_ac
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.base import Context, WorldModel
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.familiarity import FAMILIARITY_FILE, Familiarity
from vjepa_gym.world_models.gates import Gates
from vjepa_gym.world_models.poses import integrate
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, Persistence, load_world_model

GATES = Gates(
    ridge_error_mm=[4.0, 5.0, 6.0],
    mlp_error_mm=[3.0, 4.0, 5.0],
    chance_error_mm=[90.0, 90.0, 60.0],
    true_action_percentile=0.02,
    prediction_over_persistence=[0.4, 0.5],
    prediction_over_persistence_changed=[0.3, 0.4],
    shuffled_action_percentile=0.5,
    shuffled_over_persistence=1.2,
    transitions=256,
)


@pytest.fixture
def world_model() -> VJEPA2AC:
    config, generator = debug(), torch.Generator().manual_seed(0)
    encoder = VisionTransformer(config.encoder)
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    for module in (encoder, predictor):
        initialise(module, generator)
    for parameter in predictor.parameters():
        parameter.data *= 5  # so that actions matter
    return VJEPA2AC(config, encoder, predictor, GATES)


def pictures(n: int = 2, side: int = 16) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=draw)


def seen(world_model: VJEPA2AC, past: int = 1) -> Context:
    latents = world_model.encode(pictures(2 * past)).unflatten(0, (2, past))
    poses = torch.linspace(0, 0.5, 2 * past * 7).reshape(2, past, 7)
    return Context(latents=latents, poses=poses, actions=torch.full((2, past - 1, 7), 0.05))


def actions(horizon: int = 2) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    return 0.3 * torch.randn(2, 3, horizon, 7, generator=draw)


def test_it_is_a_world_model(world_model: VJEPA2AC) -> None:
    assert isinstance(world_model, WorldModel)
    assert isinstance(Persistence(world_model), WorldModel)


def test_images_of_any_size_become_normalised_tokens(world_model: VJEPA2AC) -> None:
    latents = world_model.encode(pictures(side=40))
    assert latents.shape == (2, 16, 24)
    torch.testing.assert_close(latents.mean(-1), torch.zeros(2, 16), atol=1e-5, rtol=0)
    assert not latents.requires_grad


def test_images_are_encoded_each_by_itself(
    world_model: VJEPA2AC, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(5)
    together = world_model.encode(images)
    monkeypatch.setattr(vjepa2_ac, "ENCODED_TOGETHER", 2)
    torch.testing.assert_close(world_model.encode(images), together)


def test_what_is_imagined_has_one_future_an_action(world_model: VJEPA2AC) -> None:
    context = seen(world_model)
    imagined = world_model.imagine(context, actions())
    assert imagined.latents.shape == (2, 3, 2, 16, 24)
    assert imagined.poses.shape == (2, 3, 2, 7)
    assert imagined.latents.std(1).max() > 1e-3


@pytest.mark.parametrize(("horizon", "kept"), [(1, 3), (2, 2), (3, 1), (4, 1)])
def test_the_oldest_frames_are_left_out(world_model: VJEPA2AC, horizon: int, kept: int) -> None:
    long = seen(world_model, past=5)
    short = Context(
        latents=long.latents[:, -kept:],
        poses=long.poses[:, -kept:],
        actions=long.actions[:, long.actions.shape[1] - kept + 1 :],
    )
    one, other = (world_model.imagine(context, actions(horizon)) for context in (long, short))
    assert torch.equal(one.latents, other.latents)
    assert one.context.latents.shape[1] == kept


def test_gradients_reach_actions_that_ask_for_them(world_model: VJEPA2AC) -> None:
    context, wanted = seen(world_model), actions().requires_grad_()
    world_model.imagine(context, wanted).latents[..., 0, 0].sum().backward()
    assert wanted.grad is not None
    assert wanted.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in world_model.parameters())
    assert not world_model.imagine(context, actions()).latents.requires_grad


@pytest.mark.parametrize(("precision", "most"), [("bfloat16", 0.02), ("int8", 0.03)])
def test_fewer_bits_see_and_imagine_much_the_same(
    world_model: VJEPA2AC, precision: str, most: float
) -> None:
    context = seen(world_model, past=2)
    expected = context.latents, world_model.imagine(context, actions()).latents
    world_model.lower(precision)
    assert world_model.precision == precision
    found = seen(world_model, past=2).latents, world_model.imagine(context, actions()).latents
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).norm() / other.norm() < most


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_gradients_reach_actions_through_fewer_bits(world_model: VJEPA2AC, precision: str) -> None:
    wanted = actions().requires_grad_()
    world_model.lower(precision)
    world_model.imagine(seen(world_model), wanted).latents[..., 0, 0].sum().backward()
    assert wanted.grad is not None
    assert wanted.grad.abs().max() > 0


def test_a_cpu_computes_in_thirty_two_bits_by_itself(world_model: VJEPA2AC) -> None:
    world_model.lower("auto")
    assert world_model.precision == "float32"


def test_lost_bits_are_not_saved_nor_found_again(world_model: VJEPA2AC, tmp_path: Path) -> None:
    world_model.save(tmp_path)
    model = load_world_model(tmp_path, precision="int8")
    model.lower("int8")
    assert model.precision == "int8"
    with pytest.raises(CheckpointError, match="precision=float32"):
        model.save(tmp_path)
    with pytest.raises(ValueError, match="computes in int8 already"):
        model.lower("float32")
    with pytest.raises(UnknownNameError, match="int4"):
        load_world_model(tmp_path, precision="int4")


def test_it_is_the_same_after_saving(world_model: VJEPA2AC, tmp_path: Path) -> None:
    world_model.predictor.state_mean += 0.5
    world_model.save(tmp_path)
    again = VJEPA2AC.load(tmp_path)
    one, other = (m.imagine(seen(m), actions()).latents for m in (world_model, again))
    assert torch.equal(one, other)
    assert again.gates == GATES
    assert again.config == world_model.config
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_shipped_weights_take_half_the_room_and_imagine_much_the_same(
    world_model: VJEPA2AC, tmp_path: Path
) -> None:
    world_model.save(tmp_path / "whole")
    world_model.save(tmp_path / "half", half=True)
    whole, half = (
        (tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")
    )
    assert half < 0.65 * whole
    again = VJEPA2AC.load(tmp_path / "half")
    one, other = (m.imagine(seen(m), actions(1)).latents for m in (world_model, again))
    torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


def test_a_model_without_gates_is_saved_without(world_model: VJEPA2AC, tmp_path: Path) -> None:
    world_model.gates = None
    world_model.save(tmp_path)
    assert not (tmp_path / "gates.json").exists()
    assert VJEPA2AC.load(tmp_path).gates is None


def familiar(world_model: VJEPA2AC) -> Familiarity:
    images = pictures(60).numpy()
    poses = np.zeros((60, 7), np.float32)
    frames = Frames(images=images, poses=poses, offsets=np.array([0, 30, 60]))
    draw = torch.Generator().manual_seed(0)
    return Familiarity.fit(world_model, *frames.split(1), draw)


def test_what_is_familiar_is_kept_with_the_model(world_model: VJEPA2AC, tmp_path: Path) -> None:
    world_model.save(tmp_path)
    assert VJEPA2AC.load(tmp_path).familiarity is None
    world_model.familiarity = familiar(world_model)
    world_model.save(tmp_path, half=True)
    again = VJEPA2AC.load(tmp_path)
    assert again.familiarity is not None
    latents = world_model.encode(pictures(8, side=20))
    expected = world_model.familiarity.distance(latents)
    assert torch.equal(again.familiarity.distance(latents), expected)
    assert not set(again.state_dict()) - set(world_model.state_dict())
    # A model that does not know replaces one that did.
    again.familiarity = None
    again.save(tmp_path)
    assert not (tmp_path / FAMILIARITY_FILE).exists()


def test_what_was_familiar_to_another_encoder_is_left_aside(
    world_model: VJEPA2AC, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world_model.familiarity = familiar(world_model)
    world_model.save(tmp_path)
    kept = (tmp_path / FAMILIARITY_FILE).read_bytes()
    initialise(world_model.encoder, torch.Generator().manual_seed(5))
    world_model.encoder.get_parameter("norm.bias").data.fill_(0.2)
    world_model.save(tmp_path)
    (tmp_path / FAMILIARITY_FILE).write_bytes(kept)
    assert VJEPA2AC.load(tmp_path).familiarity is None
    assert f"vjepa-gym gates job.model={tmp_path}" in caplog.text


def test_weights_of_another_size_are_refused(world_model: VJEPA2AC, tmp_path: Path) -> None:
    world_model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["ac_predictor"]["width"] = 32
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.safetensors(.|\n)*action_encoder"):
        VJEPA2AC.load(tmp_path)


def test_a_folder_is_loaded_by_its_path(world_model: VJEPA2AC, tmp_path: Path) -> None:
    world_model.save(tmp_path / "mine")
    assert load_world_model(str(tmp_path / "mine")).gates == GATES
    assert load_world_model(tmp_path / "mine").gates == GATES


def test_a_shipped_model_is_loaded_by_its_name(
    world_model: VJEPA2AC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world_model.save(tmp_path / "small")
    monkeypatch.setattr(vjepa2_ac, "files", lambda _package: tmp_path)
    assert load_world_model("small").gates == GATES
    with pytest.raises(UnknownNameError, match=r"Unknown model 'smal'.*'small'.*small"):
        load_world_model("smal")


def test_what_is_no_world_model_is_told_what_one_is(world_model: VJEPA2AC, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no .*model.safetensors"):
        load_world_model(tmp_path / "nowhere")
    VJEPA2(world_model.config, world_model.encoder).save(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match=r"encoder holds an encoder only; .*vjepa-gym train"):
        load_world_model(tmp_path / "encoder")


def test_the_features_of_a_video_are_the_encoders_output(world_model: VJEPA2AC) -> None:
    video = torch.stack([pictures()[0]] * 4)[None]
    encoder_only = VJEPA2(world_model.config, world_model.encoder)
    features = world_model.encode_video(video)
    assert features.shape == (1, 2 * 16, 24)
    assert torch.equal(features, encoder_only.encode_video(video))
    assert torch.equal(world_model.encode_video(video.numpy()), features)
    for encode, given in ((world_model.encode, video[0]), (world_model.encode_video, video)):
        with pytest.raises(ValueError, match=r"must be uint8 .* got torch\.float32 of shape"):
            encode(given / 255)


def test_in_the_control_only_the_pose_changes(world_model: VJEPA2AC) -> None:
    control, context = Persistence(world_model), seen(world_model, past=2)
    assert torch.equal(control.encode(pictures()), world_model.encode(pictures()))
    imagined = control.imagine(context, actions())
    assert imagined.latents.shape == (2, 3, 2, 16, 24)
    assert (imagined.latents == context.latents[:, -1][:, None, None]).all()
    before = context.poses[:, -1:].expand(-1, 3, -1)
    assert torch.equal(imagined.poses[:, :, 0], integrate(before, actions()[:, :, 0]))
