"""Latents are computed once, belong to one encoder and one data set, and are never half there."""

import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vjepa_gym.errors import DatasetError
from vjepa_gym.types import Frames
from vjepa_gym.world_models import latents as latents_module
from vjepa_gym.world_models.base import Context, Imagined
from vjepa_gym.world_models.latent_files import SURE_EVERY, LatentFile, amount
from vjepa_gym.world_models.latents import TOGETHER, cached_latents, encoded


class Brightness(nn.Module):
    """Encodes an image by its pixels, and counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)
        self.count = 0

    def encode(self, images: Tensor) -> Tensor:
        self.count += len(images)
        return self.gain * images.flatten(1, 2).float()

    def imagine(self, context: Context, actions: Tensor) -> Imagined:
        raise NotImplementedError


class Killed(Brightness):
    """Is interrupted when it is asked for more than so many."""

    def __init__(self, after: int, how: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.after, self.how = after, how

    def encode(self, images: Tensor) -> Tensor:
        if self.count >= self.after:
            if self.how is not None:
                self.how()
            raise KeyboardInterrupt
        return super().encode(images)


def some_frames(rows: int = 70) -> Frames:
    images = np.random.default_rng(0).integers(0, 256, (rows, 2, 2, 3), np.uint8)
    return Frames(images=images, poses=np.zeros((rows, 7), np.float32), offsets=np.array([0, rows]))


def pixels(frames: Frames) -> np.ndarray:
    return frames.images.reshape(len(frames.images), 4, 3)


def names(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def test_frames_are_encoded_in_order() -> None:
    frames = some_frames()
    latents = torch.cat(list(encoded(Brightness(), frames)))
    assert torch.equal(latents, torch.from_numpy(frames.images).flatten(1, 2).float())
    later = torch.cat(list(encoded(Brightness(), frames, 64)))
    assert torch.equal(later, latents[64:])


def test_latents_are_computed_once(tmp_path: Path) -> None:
    model, frames = Brightness(), some_frames()
    first = cached_latents(model, [model], frames, tmp_path / "run")
    again = cached_latents(model, [model], frames, tmp_path / "run")
    # One more, which tells how large a frame's latents are.
    assert model.count == 1 + 70
    assert first.dtype == np.float16
    np.testing.assert_array_equal(first, pixels(frames))
    np.testing.assert_array_equal(first, again)
    assert names(tmp_path / "run") == {".npy"}


@pytest.mark.parametrize("what", ["encoder", "images", "poses", "facts"])
def test_another_encoder_or_data_set_has_its_own(tmp_path: Path, what: str) -> None:
    model, frames, facts = Brightness(), some_frames(), ""
    old = cached_latents(model, [model], frames, tmp_path)
    kept = old.copy()
    if what == "encoder":
        model.gain.data += 1
    elif what == "facts":
        facts = "in bfloat16"
    else:
        getattr(frames, what)[-1] += 1
    latents = cached_latents(model, [model], frames, tmp_path, facts=facts)
    assert model.count == 2 * (1 + 70)
    np.testing.assert_array_equal(
        latents[-1], model.encode(torch.from_numpy(frames.images[-1:]))[0]
    )
    # Those of the other run are left alone.
    assert len(list(tmp_path.glob("*.npy"))) == 2
    np.testing.assert_array_equal(old, kept)


def test_weights_in_bfloat16_have_a_name_of_their_own(tmp_path: Path) -> None:
    model, frames = Brightness(), some_frames(5)
    cached_latents(model, [model], frames, tmp_path)
    model.gain.data = model.gain.data.bfloat16()
    cached_latents(model, [model], frames, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_run_left_is_not_taken_for_latents(tmp_path: Path) -> None:
    frames, killed, whole = some_frames(), Killed(1), Brightness()
    with pytest.raises(KeyboardInterrupt):
        cached_latents(killed, [killed], frames, tmp_path)
    assert names(tmp_path) == {".partial"}
    latents = cached_latents(whole, [whole], frames, tmp_path)
    np.testing.assert_array_equal(latents, pixels(frames))
    assert names(tmp_path) == {".npy"}


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def encode_until_killed(frames: Frames, folder: Path) -> None:
    model = Killed(1 + 2 * SURE_EVERY + TOGETHER, kill_myself)
    cached_latents(model, [model], frames, folder)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_encoding_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    frames, whole = some_frames(3 * SURE_EVERY + 5), Brightness()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=encode_until_killed, args=(frames, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert names(tmp_path) == {".partial", ".rows"}

    told: list[tuple[int, int]] = []
    latents = cached_latents(
        whole, [whole], frames, tmp_path, on_progress=lambda *done: told.append(done)
    )
    assert whole.count == 1 + SURE_EVERY + 5
    assert told[0] == (2 * SURE_EVERY, 3 * SURE_EVERY + 5)
    assert told[-1] == (3 * SURE_EVERY + 5, 3 * SURE_EVERY + 5)
    np.testing.assert_array_equal(latents, pixels(frames))
    assert names(tmp_path) == {".npy"}


@pytest.mark.parametrize("harm", ["shorter", "mark"])
def test_what_is_not_there_after_all_is_computed_again(tmp_path: Path, harm: str) -> None:
    frames, killed, whole = some_frames(600), Killed(1 + 576), Brightness()
    with pytest.raises(KeyboardInterrupt):
        cached_latents(killed, [killed], frames, tmp_path)
    (partial,), (mark,) = tmp_path.glob("*.partial"), tmp_path.glob("*.rows")
    assert mark.read_text() == "512"
    if harm == "shorter":
        os.truncate(partial, 300)
    else:
        mark.write_text("")
    np.testing.assert_array_equal(cached_latents(whole, [whole], frames, tmp_path), pixels(frames))
    assert whole.count == 1 + 600


def test_too_small_a_disk_is_told_before_anything_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latents-of-another.npy").write_bytes(bytes(5000))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1500))
    model, frames = Brightness(), some_frames()
    expected = (
        r"70 frames need 1\.68 kB \(0\.024 kB a frame\), and 1\.5 kB are free.*"
        r"other runs take 5 kB.*latents=online"
    )
    with pytest.raises(DatasetError, match=expected):
        cached_latents(model, [model], frames, tmp_path)
    assert model.count == 1
    assert (tmp_path / "latents-of-another.npy").stat().st_size == 5000


def test_only_what_is_missing_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, killed, whole = some_frames(600), Killed(1 + 576), Brightness()
    with pytest.raises(KeyboardInterrupt):
        cached_latents(killed, [killed], frames, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=88 * 24 / 0.94))
    cached_latents(whole, [whole], frames, tmp_path)
    assert whole.count == 1 + 88


def test_a_size_is_told_in_the_unit_that_suits_it() -> None:
    assert amount(120_000 * 256 * 1408 * 2) == "86.5 GB"
    assert [amount(1_250), amount(720_896)] == ["1.25 kB", "721 kB"]


def test_the_other_processes_of_a_run_wait_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(latents_module, "LOOK_EVERY", 0.01)
    frames, first, other = some_frames(), Brightness(), Brightness()
    found: list[np.ndarray] = []

    def wait() -> None:
        found.append(cached_latents(other, [other], frames, tmp_path, encodes=False))

    thread = threading.Thread(target=wait)
    with caplog.at_level(logging.INFO):
        thread.start()
        time.sleep(0.05)
        cached_latents(first, [first], frames, tmp_path)
        thread.join()
    assert (first.count, other.count) == (1 + 70, 0)
    np.testing.assert_array_equal(found[0], pixels(frames))
    assert caplog.text.count("Waiting for another process") == 1


def test_a_second_run_waits_for_what_another_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents_module, "LOOK_EVERY", 0.01)
    frames, model = some_frames(), Brightness()
    cached_latents(model, [model], frames, tmp_path)
    (path,) = tmp_path.iterdir()
    hidden = path.rename(tmp_path / "hidden")
    file, other = LatentFile(tmp_path, path.stem), Brightness()
    with file.alone():
        thread = threading.Thread(
            target=cached_latents, args=(other, [other], frames, tmp_path), daemon=True
        )
        thread.start()
        time.sleep(0.05)
        assert thread.is_alive()
        hidden.rename(path)
    thread.join()
    assert other.count == 0
