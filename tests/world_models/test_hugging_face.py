import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2Model

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import read_tensors, write_tensors
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.hugging_face import (
    is_hugging_face,
    load_hugging_face,
    save_hugging_face,
)
from vjepa_gym.world_models.hugging_face_names import from_hugging_face, to_hugging_face
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.preprocessing import Framing, PreprocessingConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2 import VJEPA2

SIZES: dict[str, Any] = {
    "crop_size": 32,
    "frames_per_clip": 8,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "pred_hidden_size": 36,
    "pred_num_attention_heads": 3,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 4,
}


def theirs(**changes: Any) -> VJEPA2Model:
    """A model of `transformers`, tiny, with weights that a mistake would show in."""
    torch.manual_seed(0)
    model = VJEPA2Model(VJEPA2Config(**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for x in model.parameters():
            x.normal_(0, 0.3)
    return model


def pixels() -> torch.Tensor:
    """Two videos of 8 frames, as `transformers` takes them."""
    return torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def features(model: VJEPA2Model) -> torch.Tensor:
    return model(pixel_values_videos=pixels(), skip_predictor=True).last_hidden_state


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_the_features_are_those_of_transformers(tmp_path: Path, shard: str) -> None:
    model = theirs()
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard == "20KB")
    ours = load(tmp_path, device="cpu")
    assert isinstance(ours, VJEPA2)
    with torch.no_grad():
        mine = ours.encoder(pixels().transpose(1, 2))
    assert (mine - features(model)).abs().max() < 1e-5


@torch.no_grad()
def test_so_are_the_predictions_of_masked_tokens(tmp_path: Path) -> None:
    model = theirs()
    model.save_pretrained(tmp_path)
    ours = load_hugging_face(tmp_path)
    order = torch.stack([torch.randperm(16), torch.randperm(16)])
    keep, masked = order[:, :10].sort(1).values, order[:, 10:].sort(1).values
    their = model(pixel_values_videos=pixels(), context_mask=[keep], target_mask=[masked])
    tokens = ours.encoder(pixels().transpose(1, 2))
    context = tokens.gather(1, keep[..., None].expand(-1, -1, 24))
    assert ours.predictor is not None
    mine = ours.predictor(context, keep, masked, grid=(4, 2, 2), mask_index=1)
    assert (mine - their.predictor_output.last_hidden_state).abs().max() < 1e-4


def test_names_and_sizes_go_both_ways(tmp_path: Path) -> None:
    model = theirs()
    weights = model.state_dict()
    there_and_back = to_hugging_face(from_hugging_face(weights))
    assert there_and_back.keys() == weights.keys()
    assert all(torch.equal(there_and_back[key], x) for key, x in weights.items())
    model.save_pretrained(tmp_path / "theirs")
    save_hugging_face(load_hugging_face(tmp_path / "theirs"), tmp_path / "ours")
    again = VJEPA2Model.from_pretrained(tmp_path / "ours").eval()
    torch.testing.assert_close(features(again), features(model))


def test_what_transformers_has_no_place_for_is_not_written(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path / "theirs")
    ours = load_hugging_face(tmp_path / "theirs")
    ours.config.encoder.rope_grid = 16
    with pytest.raises(ValueError, match="only a V-JEPA 2"):
        save_hugging_face(ours, tmp_path / "ours")


@pytest.mark.parametrize("framing", list(Framing))
def test_an_encoder_of_ones_own_gives_the_same_features_after_the_round_trip(
    tmp_path: Path, framing: Framing, caplog: pytest.LogCaptureFixture
) -> None:
    config = debug()
    config.preprocessing = PreprocessingConfig(
        mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], framing=framing
    )
    config.encoder.frames = 8
    encoder = VisionTransformer(config.encoder)
    model = VJEPA2(config, encoder, MaskedPredictor(config.predictor, config.encoder.width))
    save_hugging_face(model, str(tmp_path))
    again = load(tmp_path, device="cpu")
    video = torch.randint(0, 256, (2, 4, 20, 40, 3), dtype=torch.uint8)
    assert torch.equal(again.encode_video(video), model.encode_video(video))
    assert (again.config.preprocessing, again.config.encoder) == (
        config.preprocessing,
        config.encoder,
    )
    processor = json.loads((tmp_path / "video_preprocessor_config.json").read_text())
    assert processor["crop_size"] == {"height": 16, "width": 16}
    assert processor["size"] == {"shortest_edge": 18}
    assert processor["image_mean"] == [0.1, 0.2, 0.3]
    assert VJEPA2Model.from_pretrained(tmp_path).config.crop_size == 16
    assert ("leaves out the rim" in caplog.text) == (framing is not Framing.inner)
    file = tmp_path / "config.json"
    for kept, told in (({"framing": "round"}, "'round' is no framing"), (3, "holds framing and")):
        file.write_text(json.dumps({**json.loads(file.read_text()), "vjepa_gym": kept}))
        with pytest.raises(CheckpointError, match=told):
            load(tmp_path)


def test_what_is_no_whole_encoder_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a VJEPA2AC cannot be written for transformers"):
        save_hugging_face(load("tiny", device="cpu"), tmp_path / "ours")
    theirs().save_pretrained(tmp_path / "theirs")
    rounded = load(tmp_path / "theirs", device="cpu", precision="int8")
    with pytest.raises(CheckpointError, match="int8 has lost part of its weights"):
        save_hugging_face(rounded, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_the_preprocessing_is_that_of_the_processor(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path)
    assert load_hugging_face(tmp_path).config.preprocessing.framing is Framing.inner
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.3, 1]}
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(said))
    preprocessing = load_hugging_face(tmp_path).config.preprocessing
    assert (preprocessing.mean, preprocessing.std) == ([0.5] * 3, [0.2, 0.3, 1.0])


def test_of_a_classifier_the_encoder_is_taken(tmp_path: Path) -> None:
    classifier = VJEPA2ForVideoClassification(VJEPA2Config(**SIZES, num_pooler_layers=1)).eval()
    classifier.save_pretrained(tmp_path)
    with torch.no_grad():
        mine = load_hugging_face(tmp_path).encoder(pixels().transpose(1, 2))
    assert (mine - features(classifier.vjepa2)).abs().max() < 1e-5


def test_weights_in_sixteen_bits_are_read_as_single_precision(tmp_path: Path) -> None:
    theirs().bfloat16().save_pretrained(tmp_path)
    assert load_hugging_face(tmp_path).encoder.norm.weight.dtype == torch.float32


def test_a_folder_of_another_model_is_refused_by_its_name(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path)
    assert is_hugging_face(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "model_type": "vivit"}))
    with pytest.raises(CheckpointError, match=r"config\.json is of a 'vivit'"):
        load(tmp_path)
    file.write_text(json.dumps({**config, "hidden_act": "silu"}))
    with pytest.raises(CheckpointError, match="hidden_act = 'silu'"):
        load(tmp_path)
    file.write_text(json.dumps({**config, "num_attention_heads": 5}))
    with pytest.raises(CheckpointError, match=r"config\.json: width / heads"):
        load(tmp_path)
    assert not is_hugging_face(tmp_path / "nowhere")


def test_differences_are_listed_by_name(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors, words = read_tensors(file)
    del tensors["encoder.layer.1.attention.key.bias"]
    tensors["encoder.cls_token"] = torch.ones(1)
    tensors["predictor.proj.bias"] = torch.ones(23)
    write_tensors(file, tensors, words)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    for told in (
        "missing: encoder.blocks.1.attn.qkv.bias",
        "unexpected: encoder.cls_token",
        "shape of predictor.predictor_proj.bias: (23,), the model has (24,)",
    ):
        assert told in str(caught.value)


def test_a_missing_part_of_a_model_in_parts_is_told(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path, max_shard_size="20KB")
    (part,) = tmp_path.glob("model-00002-of-*.safetensors")
    part.unlink()
    with pytest.raises(CheckpointError, match=rf"no .*{part.name}"):
        load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has no weight_map"):
        load(tmp_path)
