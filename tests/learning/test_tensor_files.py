from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.tensor_files import (
    CODES,
    ModuleWeights,
    TensorFile,
    append,
    header,
    in_file_order,
)


def some() -> dict[str, Tensor]:
    kinds = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in CODES}
    return {
        **kinds,
        "turned": torch.randn(3, 4).T,
        "shared": kinds["torch.float32"][1:],
        "number": torch.tensor(3.0),
        "none": torch.zeros(0, 5),
    }


def write(path: Path, tensors: dict[str, Tensor], words: dict[str, str]) -> None:
    order = in_file_order(tensors)
    with path.open("wb") as file:
        file.write(header(tensors, order, words))
        append(file, (tensors[name] for name in order))


def test_the_public_reader_reads_every_type_and_form(tmp_path: Path) -> None:
    tensors = some()
    write(tmp_path / "a.safetensors", tensors, {"step": "3", "of": 'naïve "words"'})
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


def test_one_tensor_is_read_at_a_time(tmp_path: Path) -> None:
    tensors = some()
    write(tmp_path / "a.safetensors", tensors, {"step": "3"})
    file = TensorFile(tmp_path / "a.safetensors")
    assert file.words == {"step": "3"}
    assert file.names == tensors.keys()
    assert file.shape("turned") == (4, 3)
    assert torch.equal(file.read("turned"), tensors["turned"])


def test_weights_are_read_by_module(tmp_path: Path) -> None:
    x = torch.randn(3)
    write(tmp_path / "a.safetensors", {"m.net.a": x, "m.nets.a": 2 * x, "optimiser.a": x}, {})
    weights = ModuleWeights(tmp_path / "a.safetensors", {"net": "m.net.", "nets": "m.nets."})
    assert list(weights) == ["net", "nets"]
    assert len(weights) == 2
    assert weights["net"].keys() == {"a"}
    assert torch.equal(weights["nets"]["a"], 2 * x)


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 8, b"PK\x03\x04 a pickle, perhaps"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is truncated or no"):
        TensorFile(path)
