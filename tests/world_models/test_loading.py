from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import VJEPA2Config, VJEPA2Model

import vjepa_gym
from vjepa_gym.errors import CheckpointError, UnknownNameError
from vjepa_gym.learning.downloads import RemoteFile, sha256_of
from vjepa_gym.world_models import loading, released
from vjepa_gym.world_models.ac_predictor import ACPredictor
from vjepa_gym.world_models.encoder import VisionTransformer
from vjepa_gym.world_models.loading import load
from vjepa_gym.world_models.predictor import MaskedPredictor
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.vjepa2 import VJEPA2
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC

NAME = "facebook/vjepa2-vitl-fpc64-256"


def whole() -> VJEPA2AC:
    config = debug()
    predictor = ACPredictor(config.ac_predictor, config.encoder.width)
    return VJEPA2AC(config, VisionTransformer(config.encoder), predictor)


def half() -> VJEPA2:
    config = debug()
    return VJEPA2(
        config,
        VisionTransformer(config.encoder),
        MaskedPredictor(config.predictor, config.encoder.width),
    )


def release(path: Path) -> Path:
    """Write a released file of the smallest model."""
    encoder = {f"module.{key}": x for key, x in half().encoder.state_dict().items()}
    torch.save({"encoder": encoder, "opt": {"lr": 1.0}}, path)
    return path


def small_transformers(folder: Path) -> Path:
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1}
    sizes |= {f"pred_{key}": n for key, n in sizes.items()}
    VJEPA2Model(VJEPA2Config(crop_size=32, frames_per_clip=4, **sizes)).save_pretrained(folder)
    return folder


def test_a_shipped_model_is_a_world_model() -> None:
    model = load("tiny", device="cpu")
    assert isinstance(model, VJEPA2AC)
    assert model.config.encoder.image_size == 64


def test_one_call_is_at_the_top_of_the_package() -> None:
    assert vjepa_gym.load is load
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        vjepa_gym.laod  # noqa: B018


@pytest.mark.parametrize("make", [whole, half])
def test_a_folder_is_what_was_saved_in_it(tmp_path: Path, make: Callable[[], Any]) -> None:
    saved = make()
    saved.save(tmp_path)
    for place in (tmp_path, str(tmp_path)):
        loaded = load(place, device="cpu")
        assert type(loaded) is type(saved)
        images = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
        assert torch.equal(loaded.encode(images), saved.encode(images))


def test_a_released_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = release(tmp_path / "mine.pt")
    assert isinstance(load(path, config=debug(), device="cpu"), VJEPA2)
    with pytest.raises(CheckpointError, match="give `config`"):
        load(path)


def test_what_is_no_model_is_told_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no model: one has model\.safetensors and"):
        load(tmp_path)
    for place in (tmp_path / "nowhere", "model.pt", "runs/a"):
        with pytest.raises(CheckpointError, match=r"There is no .*a released \.pt file, or one of"):
            load(place)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'vjepa2-ac-vitg'"):
        load("vjepa2-ac-vitG")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="truncated or no safetensors file"):
        load(tmp_path)


def test_a_released_name_is_fetched_checked_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VJEPA_GYM_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    path = release(tmp_path / "models" / "vitx.pt")
    file = RemoteFile(url="http://127.0.0.1:9/vitx.pt", size=path.stat().st_size, sha256="0" * 64)
    known = released.Release(file=file, model=debug)
    monkeypatch.setitem(released.RELEASED, "vjepa2-vitx", known)
    with pytest.raises(CheckpointError, match="instead of 0000"):
        load("vjepa2-vitx")
    model = load("vjepa2-vitx", sha256=sha256_of(path), device="cpu")
    assert isinstance(model, VJEPA2)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"get http://127\.0\.0\.1:9/vitx\.pt and put it at"):
        load("vjepa2-vitx")


def test_a_name_on_the_hub_is_fetched_without_its_other_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot(name: str, *, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(small_transformers(tmp_path))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert isinstance(load(NAME, device="cpu"), VJEPA2)
    ((name, patterns),) = asked
    assert name == NAME
    wanted = {"config.json", "model.safetensors", "model-00001-of-00002.safetensors"}
    others = {"original/model.pth", "pytorch_model.bin", "README.md"}
    kept = huggingface_hub.utils.filter_repo_objects([*wanted, *others], allow_patterns=patterns)
    assert set(kept) == wanted


def test_a_damaged_file_from_the_hub_is_noticed_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_transformers(tmp_path / "snapshot")
    file, blobs = folder / "model.safetensors", tmp_path / "blobs"
    blobs.mkdir()
    blob = blobs / sha256_of(file)
    file.rename(blob)
    file.symlink_to(blob)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    assert isinstance(load(NAME, device="cpu"), VJEPA2)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"blobs.* is damaged: .* Delete it"):
        load(NAME)


def test_offline_a_name_on_the_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(CheckpointError) as caught:
        load(NAME)
    message = str(caught.value)
    assert message.startswith(
        f"{NAME} is not on this machine and cannot be fetched: no connection."
    )
    assert f"https://huggingface.co/{NAME}" in message


def test_names_of_the_hub_are_those_that_the_documentation_has() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    for name in (*released.RELEASED, *loading.HUB_NAMES, "tiny"):
        assert f"`{name}`" in text
    for known in released.RELEASED.values():
        assert known.file.name in text


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(UnknownNameError, match="device"):
        load("tiny", device="cuda:77")


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_fewer_bits_give_nearly_the_same_features(tmp_path: Path, precision: str) -> None:
    half().save(tmp_path)
    video = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8)
    model = load(tmp_path, device="cpu", precision=precision)
    exact = load(tmp_path, device="cpu", precision="float32").encode_video(video)
    features = model.encode_video(video)
    assert features.dtype == model.encode(video[:, 0]).dtype == torch.float32
    assert 0 < (features - exact).norm() / exact.norm() < 0.02
    with pytest.raises(CheckpointError, match=precision):
        model.save(tmp_path / "again")


def test_a_precision_that_there_is_not_is_told_before_anything_is_fetched() -> None:
    with pytest.raises(UnknownNameError, match="precision"):
        load("vjepa2-vitl", device="cpu", precision="float8")


def test_a_release_is_known_by_the_name_of_its_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = []
    monkeypatch.setenv("VJEPA_GYM_CACHE", str(tmp_path))

    def fetch(remote: RemoteFile, folder: Path, on_progress: object) -> Path:
        wanted.append((remote.name, folder))
        return tmp_path / "nowhere.pt"

    monkeypatch.setattr(loading, "fetch", fetch)
    for name in ("vjepa2_1_vitG_384", "vjepa2.1-vitG"):
        with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
            load(name, device="cpu")
    assert wanted == [("vjepa2_1_vitG_384.pt", tmp_path / "models")] * 2


def test_a_digest_is_compared_or_its_uselessness_told(tmp_path: Path) -> None:
    path = release(tmp_path / "mine.pt")
    right = sha256_of(path)
    assert isinstance(load(path, config="debug", sha256=right.upper(), device="cpu"), VJEPA2)
    with pytest.raises(CheckpointError, match=rf"SHA-256 {right} instead of 0000"):
        load(path, config="debug", sha256="0" * 64)
    half().save(tmp_path / "folder")
    for name in ("tiny", tmp_path / "folder", NAME):
        for options in ({"sha256": right}, {"config": debug()}):
            told = rf"{next(iter(options))} is for released names .* {name} is neither"
            with pytest.raises(ValueError, match=told):
                load(name, **options)


def test_sizes_are_a_configuration_or_the_name_of_one(tmp_path: Path) -> None:
    path = release(tmp_path / "mine.pt")
    with pytest.raises(UnknownNameError, match="Did you mean 'debug'"):
        load(path, config="debugg")


def test_only_a_file_that_could_be_loaded_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VJEPA_GYM_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    path = release(tmp_path / "models" / "vitx.pt")
    record = path.with_name("vitx.pt.json")
    file = RemoteFile(url="http://127.0.0.1:9/vitx.pt")
    monkeypatch.setitem(released.RELEASED, "vjepa2-vitx", released.Release(file=file, model=debug))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="truncated"):
        load("vjepa2-vitx")
    assert not record.exists()
    path.write_bytes(content)
    load("vjepa2-vitx", device="cpu")
    assert sha256_of(path) in record.read_text()
    torch.save({"encoder": half().encoder.state_dict()}, path)
    with pytest.raises(CheckpointError, match=rf"delete {record}; otherwise"):
        load("vjepa2-vitx")
    load("vjepa2-vitx", sha256=sha256_of(path), device="cpu")
    load("vjepa2-vitx", device="cpu")


@pytest.mark.parametrize("name", ["small", "vit_l"])
def test_a_preset_is_told_to_have_no_weights(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"{name} is a preset .*job\.model={name}.*tiny"):
        load(name)


def test_names_close_to_what_there_is_are_answered_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(CheckpointError, match=r"no vitl\.pt\. The name 'vjepa2-vitl' fetches"):
        load("vitl.pt")
    with pytest.raises(CheckpointError, match=rf"Names that are known: {NAME}"):
        load("facebook/vjepa2-vitx")


def test_eight_bits_in_a_narrow_model_are_advised_against(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load("tiny", device="cpu", precision="int8")
    (record,) = caplog.records
    assert "int8 pays for wide models" in record.getMessage()
