import json
import logging
import subprocess

import pytest
from omegaconf import OmegaConf

from vjepa_gym.experiments import run_folder
from vjepa_gym.experiments.run_folder import commit_of, log_to


def git(folder, *words):
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    run = subprocess.run(["git", "-C", folder, *author, *words], check=True, capture_output=True)
    return run.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_the_commit_is_noted_and_whether_the_code_still_is_that(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout) == {"commit": head, "changed": False}
    (checkout / "code.py").write_text("2\n")
    assert commit_of(checkout) == {"commit": head, "changed": True}


def test_what_is_no_checkout_has_no_commit(tmp_path):
    assert commit_of(tmp_path) == {"commit": None, "changed": None}


def test_a_broken_checkout_has_no_commit(tmp_path):
    (tmp_path / ".git").mkdir()
    assert commit_of(tmp_path) == {"commit": None, "changed": None}


def test_what_is_logged_during_a_run_is_kept_and_shown(tmp_path, capsys):
    library = logging.getLogger("vjepa_gym.somewhere")
    with log_to(tmp_path):
        library.info("hello")
    library.info("too late")
    kept = (tmp_path / "log.txt").read_text()
    assert "INFO vjepa_gym.somewhere: hello" in kept
    assert "too late" not in kept
    assert capsys.readouterr().err == "hello\n"


def test_what_is_not_installed_has_no_version(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "VERSIONS", ("numpy", "no-such-package"))
    run_folder.note_down(OmegaConf.create({"job": 1}), tmp_path, ["demo"])
    noted = json.loads((tmp_path / "version.json").read_text())
    assert noted["numpy"]
    assert noted["no-such-package"] is None
