import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.layers import initialise
from vjepa_gym.world_models import released
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.preprocessing import Framing
from vjepa_gym.world_models.presets import MODELS, ModelConfig, debug
from vjepa_gym.world_models.released import RELEASED, load_released
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC


def drawn(module: nn.Module, seed: int) -> nn.Module:
    initialise(module, torch.Generator().manual_seed(seed))
    return module


def wrapped(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + key: x for key, x in module.state_dict().items()}


def original(config: ModelConfig) -> dict[str, Any]:
    """A checkpoint as the public pretraining leaves it, at the sizes of `config`."""
    encoder = drawn(VisionTransformer(config.encoder), 0)
    average = drawn(VisionTransformer(config.encoder), 1)
    predictor = drawn(MaskedPredictor(config.predictor, config.encoder.width), 2)
    return {
        "encoder": wrapped(encoder, "module.backbone."),
        "target_encoder": wrapped(average, "module.backbone."),
        "predictor": wrapped(predictor, "module.backbone."),
        "opt": {"state": {0: {"exp_avg": torch.ones(9)}}, "param_groups": [{"lr": 1e-4}]},
        "scaler": None,
        "epoch": 40,
        "loss": 0.48,
        "batch_size": 8,
        "world_size": 512,
        "lr": 5e-4,
    }


def original_ac(config: ModelConfig) -> dict[str, Any]:
    """The same of the public post-training, whose extrinsics encoder is there and never used."""
    checkpoint = original(config)
    predictor = drawn(ACPredictor(config.ac_predictor, config.encoder.width), 2)
    names = dict(predictor.named_parameters())
    spare = nn.Linear(6, config.ac_predictor.width)
    checkpoint["predictor"] = {f"module.{key}": x.detach() for key, x in names.items()}
    checkpoint["predictor"] |= wrapped(spare, "module.extrinsics_encoder.")
    return checkpoint


def written(checkpoint: object, path: Path, **options: Any) -> Path:
    torch.save(checkpoint, path, **options)
    return path


def test_the_moving_average_and_the_predictor_are_taken(tmp_path: Path) -> None:
    checkpoint = original(debug())
    path = written(checkpoint, tmp_path / "latest.pt")
    model = load_released(path, debug())
    assert isinstance(model, VJEPA2)
    assert model.predictor is not None
    expected = {
        key.removeprefix("module.backbone."): x for key, x in checkpoint["target_encoder"].items()
    }
    assert model.encoder.state_dict().keys() == expected.keys()
    assert all(torch.equal(x, expected[key]) for key, x in model.encoder.state_dict().items())
    weight = checkpoint["predictor"]["module.backbone.predictor_proj.weight"]
    assert torch.equal(model.predictor.predictor_proj.weight, weight)
    assert model.config.preprocessing.framing is Framing.inner
    assert not any(x.requires_grad for x in model.parameters())


def test_of_v_jepa_2_1_the_encoder_that_was_distilled_is_taken(tmp_path: Path) -> None:
    checkpoint = original(debug())
    checkpoint["ema_encoder"] = checkpoint.pop("target_encoder")
    model = load_released(written(checkpoint, tmp_path / "latest.pt"), debug())
    expected = checkpoint["ema_encoder"]["module.backbone.norm.weight"]
    assert torch.equal(model.encoder.norm.weight, expected)


def test_the_action_conditioned_model_takes_poses_and_actions_as_they_are(tmp_path: Path) -> None:
    checkpoint = original_ac(debug())
    model = load_released(written(checkpoint, tmp_path / "latest.pt"), debug())
    assert isinstance(model, VJEPA2AC)
    weight = checkpoint["encoder"]["module.backbone.blocks.1.attn.qkv.weight"]
    assert torch.equal(model.encoder.blocks[1].attn.qkv.weight, weight)
    weight = checkpoint["predictor"]["module.action_encoder.weight"]
    assert torch.equal(model.predictor.action_encoder.weight, weight)
    assert model.predictor.state_mean.tolist() == [0] * 7
    assert model.predictor.state_scale.tolist() == [1] * 7
    assert model.predictor.action_scale.tolist() == [1] * 7
    assert model.config.preprocessing.framing is Framing.square_bilinear
    images = torch.randint(0, 256, (2, 20, 30, 3), dtype=torch.uint8)
    assert model.encode(images).shape == (2, 16, 24)


def test_the_extrinsics_encoder_is_kept_where_it_is_used(tmp_path: Path) -> None:
    config = debug()
    config.ac_predictor.use_extrinsics = True
    checkpoint = original_ac(config)
    model = load_released(written(checkpoint, tmp_path / "latest.pt"), config)
    expected = checkpoint["predictor"]["module.extrinsics_encoder.weight"]
    assert torch.equal(model.predictor.extrinsics_encoder.weight, expected)


def test_only_tables_that_we_compute_are_passed_over(tmp_path: Path) -> None:
    checkpoint = original(debug())
    checkpoint["target_encoder"]["module.backbone.pos_embed"] = torch.zeros(1, 128, 24)
    checkpoint["predictor"]["module.backbone.predictor_pos_embed"] = torch.zeros(1, 128, 16)
    load_released(written(checkpoint, tmp_path / "a.pt"), debug())
    checkpoint["target_encoder"]["module.backbone.cls_token"] = torch.zeros(1, 1, 24)
    with pytest.raises(CheckpointError, match=r"unexpected: encoder\.cls_token"):
        load_released(written(checkpoint, tmp_path / "b.pt"), debug())


def test_an_encoder_without_a_predictor_is_an_encoder(tmp_path: Path) -> None:
    checkpoint = {"encoder": wrapped(VisionTransformer(debug().encoder), "")}
    model = load_released(written(checkpoint, tmp_path / "encoder.pt"), debug())
    assert isinstance(model, VJEPA2)
    assert model.predictor is None


def test_weights_in_sixteen_bits_become_single_precision(tmp_path: Path) -> None:
    checkpoint = {"encoder": {k: x.bfloat16() for k, x in original(debug())["encoder"].items()}}
    model = load_released(written(checkpoint, tmp_path / "encoder.pt"), debug())
    assert {x.dtype for x in model.parameters()} == {torch.float32}


def test_files_in_the_old_format_of_torch_save_load_too(tmp_path: Path) -> None:
    path = written(original(debug()), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert isinstance(load_released(path, debug()), VJEPA2)


def test_the_model_outlives_its_file(tmp_path: Path) -> None:
    path = written(original(debug()), tmp_path / "a.pt")
    model = load_released(path, debug())
    before = model.encoder.norm.weight.clone()
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert torch.equal(model.encoder.norm.weight, before)


def test_a_file_of_another_size_lists_every_difference(tmp_path: Path) -> None:
    path = written(original(debug()), tmp_path / "a.pt")
    wider = debug()
    wider.encoder.width, wider.encoder.depth = 36, 3
    with pytest.raises(CheckpointError) as caught:
        load_released(path, wider)
    message = str(caught.value)
    assert f"{path} does not fit the encoder and the predictor; was" in message
    lines = message.splitlines()
    assert lines[1:3] == ["  encoder width: 24, expected 36", "  encoder depth: 2, expected 3"]
    assert lines[3].startswith("  12 missing, 31 of another shape (of ")
    assert "shape of encoder.blocks.0.attn.proj.bias: (24,), the model has (36,)" in message
    assert "missing: encoder.blocks.2.attn.qkv.weight" in message
    assert "  ... and 21 more" in lines
    assert len(lines) < 30


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Malice:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.touch, (ran,)

    for new in (True, False):
        checkpoint = {**original(debug()), "extra": Malice()}
        path = written(checkpoint, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(CheckpointError, match=r"a\.pt holds more than tensors .*") as caught:
            load_released(path, debug())
        assert caught.value.__suppress_context__
        assert str(caught.value).endswith("could run code.")
    assert not ran.exists()


def test_a_program_is_refused_without_the_advice_to_run_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Writing such files is deprecated; users have them.
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
        with pytest.raises(CheckpointError, match="a program of TorchScript") as caught:
            load_released(path)
    assert "weights_only" not in str(caught.value)


def test_a_plain_state_dict_is_not_listed_whole(tmp_path: Path) -> None:
    path = written({f"blocks.{i}.weight": torch.ones(1) for i in range(300)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"and 280 more; a released V-JEPA") as caught:
        load_released(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_told(tmp_path: Path, new: bool, share: float) -> None:
    path = written(original(debug()), tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"a\.pt (is truncated|holds more)"):
        load_released(path, debug())


@pytest.mark.parametrize("content", [{"weights": {}, "epoch": 3}, [torch.ones(2)], {}])
def test_a_file_of_something_else_is_told(tmp_path: Path, content: object) -> None:
    with pytest.raises(CheckpointError, match=r"ema_encoder, target_encoder|holds a list"):
        load_released(written(content, tmp_path / "a.pt"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no .*a\.pt"):
        load_released(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("file", "preset", "size"),
    [
        ("vitl.pt", "vit_l", 256),
        ("mine.pt", "vit_l", 256),
        ("mine-384.pt", "vit_g_384", 384),
        ("mine.pt", "vit_g", 256),
        ("mine.pt", "vit_G_21", 384),
        ("vjepa2_1_vitb_dist_vitG_384.pt", "vit_b_21_distilled", 384),
    ],
)
def test_sizes_come_from_the_name_or_from_the_weights(
    tmp_path: Path, file: str, preset: str, size: int
) -> None:
    config = MODELS[preset]()
    with torch.device("meta"):
        encoder = VisionTransformer(config.encoder)
    sizes = released._sizes(tmp_path / file, encoder.state_dict())
    assert (sizes.encoder, sizes.predictor) == (config.encoder, config.predictor)
    assert sizes.encoder.image_size == size


def test_sizes_that_were_never_released_must_be_given(tmp_path: Path) -> None:
    path = written(original(debug()), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"width 24 and depth 2.*1024 x 24.*give `config`"):
        load_released(path)


TENSORS = {
    "vjepa2-vitl": (292, 160),
    "vjepa2-vith": (388, 160),
    "vjepa2-vitg": (484, 160),
    "vjepa2-vitg-384": (484, 160),
    "vjepa2-ac-vitg": (484, 300),
    "vjepa2.1-vitb": (158, 162),
    "vjepa2.1-vitl": (302, 162),
    "vjepa2.1-vitg": (494, 308),
    "vjepa2.1-vitG": (590, 308),
}
"""Tensors of the encoder and of the predictor in the public code's own state dicts."""


@pytest.mark.parametrize("name", RELEASED)
def test_every_release_has_as_many_weights_as_the_original(name: str) -> None:
    config, file = RELEASED[name].model(), RELEASED[name].file
    conditioned = name == "vjepa2-ac-vitg"
    with torch.device("meta"):
        encoder = VisionTransformer(config.encoder)
        predictor = (
            ACPredictor(config.ac_predictor, config.encoder.width)
            if conditioned
            else MaskedPredictor(config.predictor, config.encoder.width)
        )
    tensors = [len(list(module.parameters())) for module in (encoder, predictor)]
    numbers = [sum(x.numel() for x in module.parameters()) for module in (encoder, predictor)]
    # Weight and bias of the extrinsics encoder are left out.
    assert tensors == [TENSORS[name][0], TENSORS[name][1] - 2 * conditioned]
    if conditioned:
        assert numbers == [1_012_173_952, 305_220_992 - 7 * 1024]
    assert file.url.startswith("https://dl.fbaipublicfiles.com/vjepa2/")
    assert (file.size is None) == (file.sha256 is None)
    if file.size is not None:
        assert file.size > 4 * sum(numbers)


def test_a_whole_release_loads_under_its_own_name(tmp_path: Path, monkeypatch) -> None:
    # At the true widths and depths this would be 5 GB; the names are the same.
    tiny = released.Release(file=RELEASED["vjepa2-vitl"].file, model=debug)
    monkeypatch.setitem(RELEASED, "vjepa2-vitl", tiny)
    path = written(original(debug()), tmp_path / "vitl.pt")
    assert load_released(path).config.encoder == debug().encoder
