"""Ctrl-C in a training: all steps that were done are kept, and none that was done by half."""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

sys.path[:0] = [str(Path(__file__).parent)]

from training_toys import Toy, config, contents  # noqa: E402

from vjepa_gym.learning.interruption import uninterrupted  # noqa: E402
from vjepa_gym.learning.training import fit  # noqa: E402


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("checkpoints/*"))


def assert_goes_on_as_if_nothing_was(stopped: Path, whole: Path) -> None:
    """Finish the stopped run; compare all but which checkpoints are kept."""
    fit(Toy(), config(), folder=stopped, seed=1)
    fit(Toy(), config(), folder=whole, seed=1)
    mine, theirs = contents(stopped), contents(whole)
    for name in ("losses.csv", "exported", "checkpoints/step-00000020.safetensors"):
        assert mine[name] == theirs[name], name


def interrupt(*_: Any) -> None:
    signal.raise_signal(signal.SIGINT)


class Interrupted(Toy):
    """Is interrupted where it is told to be, at step 13."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.step = 0
        method = getattr(self if hasattr(self, where) else self.objective, where)
        setattr(self if hasattr(self, where) else self.objective, where, self._wrap(method))

    def _wrap(self, method: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.step += 1
            if self.step == 13:
                interrupt()
            return method(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize(("where", "kept"), [("forward", 12), ("after_step", 13)])
def test_ctrl_c_keeps_the_last_step_that_is_whole(tmp_path: Path, where: str, kept: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(where), config(), folder=tmp_path / "stopped", seed=1)
    assert checkpoints(tmp_path / "stopped")[-1] == f"step-{kept:08d}"
    assert (tmp_path / "stopped" / "exported").read_text().startswith(f"{kept}/20 ")
    assert_goes_on_as_if_nothing_was(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize("at", [1, 7, 10, 20])
def test_ctrl_c_between_steps_keeps_all_of_them(tmp_path: Path, at: int) -> None:
    def stop(step: int, *_: Any) -> None:
        if step == at:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        fit(Toy(), config(), folder=tmp_path / "stopped", seed=1, on_step=stop)
    assert checkpoints(tmp_path / "stopped")[-1] == f"step-{at:08d}"
    assert_goes_on_as_if_nothing_was(tmp_path / "stopped", tmp_path / "whole")


def test_a_step_that_was_done_by_half_is_not_kept(tmp_path: Path) -> None:
    class Halved(Toy):
        def after_step(self, done: float) -> None:
            if done == 13 / 20:
                raise KeyboardInterrupt
            super().after_step(done)

    with pytest.raises(KeyboardInterrupt):
        fit(Halved(), config(), folder=tmp_path / "stopped", seed=1)
    assert checkpoints(tmp_path / "stopped")[-1] == "step-00000010"
    assert_goes_on_as_if_nothing_was(tmp_path / "stopped", tmp_path / "whole")


def test_nothing_is_written_where_nothing_was_done(tmp_path: Path) -> None:
    task = Toy()

    def stop(**_: Any) -> None:
        raise KeyboardInterrupt

    task.objective.forward = stop
    with pytest.raises(KeyboardInterrupt):
        fit(task, config(), folder=tmp_path, seed=1)
    assert not contents(tmp_path)


def test_a_second_ctrl_c_while_it_is_written_leaves_the_checkpoints_before(tmp_path: Path) -> None:
    class Slow(Toy):
        def export(self, folder: Path, weights: Any, step: int, steps: int) -> None:
            if step == 7:
                interrupt()
            super().export(folder, weights, step, steps)

    def stop(step: int, *_: Any) -> None:
        if step == 7:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        fit(Slow(), config(), folder=tmp_path, seed=1, on_step=stop)
    assert checkpoints(tmp_path) == ["step-00000005"]
    load_file(tmp_path / "checkpoints" / "step-00000005.safetensors")


def test_what_may_not_be_interrupted_is_done_first() -> None:
    done: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with uninterrupted():
            interrupt()
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="as it was"), uninterrupted():
        raise ValueError("as it was")
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_never_interrupted() -> None:
    done: list[int] = []

    def work() -> None:
        with uninterrupted():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
