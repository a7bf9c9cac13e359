"""Heads on disk: beside their model, and refused by any other."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from head_cases import some_model

from vjepa_gym.errors import CheckpointError, UnknownNameError
from vjepa_gym.world_models.encoder import EncoderConfig
from vjepa_gym.world_models.heads.files import folder_of, has_head, load_head, save_head
from vjepa_gym.world_models.heads.inverse import InverseDynamics, InverseDynamicsConfig
from vjepa_gym.world_models.heads.registry import HEADS
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, shipped_world_models

CONFIG = InverseDynamicsConfig(width=32, token_width=4, depth=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = some_model()
    model.save(tmp_path / "model")
    save_head("inverse", InverseDynamics(CONFIG, model.config), tmp_path / "model", model)
    return tmp_path / "model"


def edit(folder: Path, **changes: object) -> None:
    path = folder / "inverse.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_head_is_read_back_as_it_was(tmp_path: Path):
    model = some_model()
    head = InverseDynamics(CONFIG, model.config)
    head.action_scale.uniform_()
    save_head("inverse", head, tmp_path, model)
    again = load_head("inverse", tmp_path, model)
    assert isinstance(again, InverseDynamics)
    assert again.config == CONFIG
    for name, x in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], x)
    assert not any(x.requires_grad for x in again.parameters())
    assert not again.training


def test_half_the_bits_take_half_the_room_and_come_back_as_32(tmp_path: Path):
    model = some_model()
    head = InverseDynamics(CONFIG, model.config)
    for name, half in (("whole", False), ("half", True)):
        save_head("inverse", head, tmp_path / name, model, half=half)
    sizes = [(tmp_path / name / "inverse.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    again = load_head("inverse", tmp_path / "half", model)
    assert {x.dtype for x in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again.state_dict(), head.state_dict(), atol=1e-3, rtol=1e-3)


def test_a_copy_of_the_model_folder_has_its_heads(folder: Path, tmp_path: Path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert has_head("inverse", copy)
    assert not has_head("decoder", copy)
    load_head("inverse", copy, VJEPA2AC.load(copy))


def test_fits_its_model_in_16_bits_and_in_any_precision(folder: Path, tmp_path: Path):
    VJEPA2AC.load(folder).save(tmp_path / "half", half=True)
    half = VJEPA2AC.load(tmp_path / "half")
    load_head("inverse", folder, half)
    for precision in ("bfloat16", "int8"):
        model = VJEPA2AC.load(folder)
        model.lower(precision)
        load_head("inverse", folder, model)


def test_a_retrained_predictor_keeps_the_head(folder: Path):
    model = VJEPA2AC.load(folder)
    for x in model.predictor.parameters():
        x.data.add_(1.0)
    load_head("inverse", folder, model)


def test_another_encoder_is_refused_with_the_command_that_helps(folder: Path):
    with pytest.raises(CheckpointError, match="other weights") as error:
        load_head("inverse", folder, some_model(seed=1))
    assert f"`vjepa-gym heads job.model={folder} job.heads=[inverse]`" in str(error.value)


def test_another_encoder_is_refused_in_a_lower_precision_too(folder: Path):
    model = VJEPA2AC.load(folder)
    norms = [layer for layer in model.encoder.modules() if isinstance(layer, torch.nn.LayerNorm)]
    norms[0].weight.add_(0.5)
    model.lower("bfloat16")
    with pytest.raises(CheckpointError, match="other weights"):
        load_head("inverse", folder, model)


def test_another_grid_of_tokens_is_refused(folder: Path):
    wider = debug()
    wider.encoder = EncoderConfig(
        image_size=32, patch_size=4, width=24, depth=2, heads=2, mlp_ratio=2.0
    )
    with pytest.raises(CheckpointError, match=r"grid \[4, 4\].* has \[8, 8\]"):
        load_head("inverse", folder, some_model(wider))


def test_a_model_without_heads_says_how_to_get_one(tmp_path: Path):
    assert not has_head("inverse", tmp_path)
    with pytest.raises(CheckpointError, match=r"has no head 'inverse'.*vjepa-gym heads job.model="):
        load_head("inverse", tmp_path, some_model())


def test_a_shipped_model_is_told_a_folder_of_ones_own():
    tiny = shipped_world_models()["tiny"]
    with pytest.raises(CheckpointError, match=r"job.model=tiny job.folder=runs/tiny"):
        load_head("inverse", tiny, some_model())


@pytest.mark.parametrize(
    "changes",
    [{"head": "macro"}, {"config": {"width": 0}}, {"config": {"wide": 1}}, {"encoder": None}],
)
def test_a_description_that_cannot_be_is_refused(folder: Path, changes: dict[str, object]):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match="inverse"):
        load_head("inverse", folder, VJEPA2AC.load(folder))


def test_weights_of_other_sizes_are_refused(folder: Path):
    edit(folder, config={"width": 16, "token_width": 4, "depth": 1})
    with pytest.raises(CheckpointError, match="does not fit InverseDynamics"):
        load_head("inverse", folder, VJEPA2AC.load(folder))


def test_damaged_weights_are_refused(folder: Path):
    path = folder / "inverse.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="truncated"):
        load_head("inverse", folder, VJEPA2AC.load(folder))


def test_a_head_is_not_written_for_rounded_weights(tmp_path: Path):
    model = some_model()
    model.lower("bfloat16")
    with pytest.raises(CheckpointError, match="precision=float32"):
        save_head("inverse", InverseDynamics(CONFIG, model.config), tmp_path, model)


def test_folders_are_found_by_name_and_by_path(folder: Path):
    assert folder_of("tiny") == shipped_world_models()["tiny"]
    assert folder_of(folder) == folder
    assert folder_of(str(folder)) == folder
    assert folder_of("vjepa2-ac-vitg") is None


def test_an_unknown_head_is_told_the_others(tmp_path: Path):
    for call in (lambda: HEADS["inverze"], lambda: has_head("inverze", tmp_path)):
        with pytest.raises(UnknownNameError, match="Did you mean 'inverse'"):
            call()
    assert list(HEADS) == ["inverse", "macro", "decoder"]
    assert len(HEADS) == 3
    assert "inverze" not in HEADS


@pytest.mark.parametrize("name", list(HEADS))
def test_every_kind_of_head_can_be_made_and_kept(name: str, tmp_path: Path):
    kind, model = HEADS[name], some_model()
    save_head(name, kind.module(kind.config(), model.config), tmp_path, model)
    again = load_head(name, tmp_path, model)
    assert type(again) is type(kind.module(kind.config(), model.config))
    assert kind.training().steps > 0
