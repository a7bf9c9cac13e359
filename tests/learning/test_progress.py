import logging
from pathlib import Path

import pytest
import torch

from vjepa_gym.errors import CheckpointError
from vjepa_gym.learning.checkpoints import save_model
from vjepa_gym.learning.progress import TrainingProgress, check_finished, progress_of


def export(folder: Path, **training: int) -> None:
    save_model(folder, weights={"a": torch.ones(1)}, config={}, training=training or None)


def test_a_folder_says_how_far_its_training_was(tmp_path: Path) -> None:
    export(tmp_path, step=3, steps=10)
    assert progress_of(tmp_path) == TrainingProgress(step=3, steps=10)
    export(tmp_path, step=10, steps=10)
    progress = progress_of(tmp_path)
    assert progress is not None
    assert progress.finished


def test_folders_that_say_nothing_are_finished(tmp_path: Path) -> None:
    export(tmp_path, step=3, steps=10)
    export(tmp_path)
    assert progress_of(tmp_path) is None
    check_finished(tmp_path)


def test_an_unfinished_model_is_refused_or_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export(tmp_path, step=3, steps=10)
    with pytest.raises(CheckpointError, match=r"after 3 of 10 steps: .* Let the training finish"):
        check_finished(tmp_path)
    with caplog.at_level(logging.WARNING):
        check_finished(tmp_path, allow_unfinished=True)
    assert "after 3 of 10 steps" in caplog.text


def test_a_finished_model_passes_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(tmp_path, step=10, steps=10)
    check_finished(tmp_path)
    check_finished(tmp_path, allow_unfinished=True)
    assert caplog.text == ""


def test_a_broken_note_is_told(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text('{"step": 3}')
    with pytest.raises(CheckpointError, match=r"training\.json: .*steps"):
        progress_of(tmp_path)
