import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import (
    digest_of_tensors,
    from_json,
    load_into,
    load_weights,
    read_json,
    read_tensors,
    save_model,
    to_json,
    write_atomically,
    write_tensors,
)


class Colour(Enum):
    red = "red"
    blue = "blue"


@dataclass(kw_only=True)
class Part:
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")


@dataclass(kw_only=True)
class Whole:
    name: str = "a"
    colour: Colour = Colour.red
    parts: list[Part] = field(default_factory=lambda: [Part(), Part(size=2)])
    part: Part = field(default_factory=Part)


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 2), "count": torch.tensor([7])}
    save_model(tmp_path / "m", weights=weights, config={"width": 3}, gates={"x": [1.5]})
    loaded = load_weights(tmp_path / "m")
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert read_json(tmp_path / "m" / "config.json") == {"width": 3}
    assert read_json(tmp_path / "m" / "gates.json") == {"x": [1.5]}


def test_half_precision_is_for_the_disk_only(tmp_path: Path) -> None:
    weights = {"a": torch.full((1000,), 1 / 3), "count": torch.tensor([70_000])}
    save_model(tmp_path, weights=weights, config={}, half=True)
    assert (tmp_path / "model.safetensors").stat().st_size < 2500
    loaded = load_weights(tmp_path)
    assert loaded["a"].dtype == torch.float32
    torch.testing.assert_close(loaded["a"], weights["a"], atol=2e-4, rtol=0)
    assert loaded["count"].item() == 70_000


def test_tensors_that_share_memory_are_saved_apart(tmp_path: Path) -> None:
    x = torch.arange(6.0).view(2, 3)
    write_tensors(tmp_path / "x", {"x": x, "turned": x.T}, {"why": "because"})
    tensors, words = read_tensors(tmp_path / "x")
    assert torch.equal(tensors["turned"], x.T)
    assert words == {"why": "because"}


def test_a_write_that_dies_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def die(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_missing_truncated_foreign_and_pickled_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"no .*model\.safetensors"):
        load_weights(tmp_path)
    write_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated"):
        load_weights(tmp_path)
    path.write_bytes(b"a poem about something else")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_weights(tmp_path)
    for legacy in (True, False):
        torch.save({"a": torch.ones(1)}, path, _use_new_zipfile_serialization=legacy)
        with pytest.raises(CheckpointError, match="is a pickle"):
            load_weights(tmp_path)


def test_json_that_is_missing_or_broken_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(CheckpointError, match="There is no"):
        read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(CheckpointError, match=r"config\.json is not JSON"):
        read_json(path)


def test_loading_lists_every_difference_and_changes_nothing() -> None:
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    weights = {"net.weight": torch.zeros(2, 4), "net.gain": torch.zeros(1), "stray": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        load_into(module, weights, source=Path("folder/file"), prefix="net.")
    message = str(caught.value)
    assert "folder/file does not fit Linear" in message
    assert "missing: net.bias" in message
    assert "unexpected: net.gain" in message
    assert "shape of net.weight: (2, 4), the model has (2, 3)" in message
    assert "1 missing, 1 unexpected, 1 of another shape (of 2 weights)" in message
    assert "stray" not in message
    assert torch.equal(module.weight, before)


def test_a_module_gets_the_weights_of_its_prefix() -> None:
    module = nn.Linear(3, 2)
    weights = {"net.weight": torch.ones(2, 3), "net.bias": torch.ones(2), "other": torch.ones(1)}
    load_into(module, weights, source=Path("x"), prefix="net.")
    assert module(torch.ones(3)).tolist() == [4, 4]


def test_configurations_survive_json() -> None:
    config = Whole(name="b", colour=Colour.blue, parts=[Part(size=5)])
    text = json.dumps(to_json(config))
    assert from_json(Whole, json.loads(text), source=Path("x")) == config


def test_only_json_can_be_configuration() -> None:
    with pytest.raises(TypeError, match="no Tensor"):
        to_json(torch.ones(1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "b"}, "Whole has no nam; it has name, colour, parts, part"),
        ({"colour": "green"}, "'green' is no Colour; use one of red, blue"),
        ({"parts": [{"size": 0}]}, "size must be positive, got 0"),
        ({"part": 3}, "Part has the fields size, got 3"),
    ],
)
def test_configurations_that_cannot_be_are_refused_by_name(values: dict, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        from_json(Whole, values, source=Path("some/config.json"))
    assert str(caught.value).startswith("some/config.json: ")
    assert message in str(caught.value)


def flipped(path: Path) -> None:
    """Change one byte of the last tensor."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    save_model(tmp_path, weights={"a": torch.ones(100)}, config={})
    load_weights(tmp_path)
    flipped(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_weights(tmp_path)


def test_files_of_others_have_no_digest_and_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    assert read_tensors(tmp_path / "model.safetensors")[1] == {"format": "pt"}
    flipped(tmp_path / "model.safetensors")
    tensors, _ = read_tensors(tmp_path / "model.safetensors")
    assert tensors["a"].tolist() != [1, 1, 1]


def test_the_digest_is_of_names_types_shapes_and_values_in_any_order() -> None:
    x, y = torch.arange(6.0), torch.tensor(3)
    digest = digest_of_tensors({"x": x, "y": y})
    assert digest == digest_of_tensors({"y": y, "x": x.clone()})
    for other in (
        {"x": x, "z": y},
        {"x": x.view(2, 3), "y": y},
        {"x": x.double(), "y": y},
        {"x": x + 1, "y": y},
        {"x": x},
    ):
        assert digest_of_tensors(other) != digest


@pytest.mark.parametrize(
    "x", [torch.ones(0, 3), torch.tensor(2.0), torch.ones(2, dtype=torch.bfloat16)[::2]]
)
def test_empty_single_and_strided_tensors_are_kept(tmp_path: Path, x: torch.Tensor) -> None:
    write_tensors(tmp_path / "x", {"x": x, "other": torch.ones(0)})
    assert torch.equal(read_tensors(tmp_path / "x")[0]["x"], x)


def test_a_file_that_could_not_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tensors(tmp_path / "x", {"x": torch.ones(1)})

    def fail(*arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("vjepa_gym.learning.checkpoints.save_file", fail)
    with pytest.raises(OSError, match="No space"):
        write_tensors(tmp_path / "x", {"x": torch.zeros(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert read_tensors(tmp_path / "x")[0]["x"].item() == 1
