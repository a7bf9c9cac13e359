"""Recipes say what the command line takes and go step by step; pictures show what they say."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vjepa_gym.experiments import launch
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.rollout import EpisodeRecord
from vjepa_gym.sim.objects import MOST_DISTRACTORS
from vjepa_gym.sim.world import World

SCRIPTS = Path(__file__).parents[1] / "scripts"
STEPS = ["collect", "pretrain", "train", "heads", "gates", "compare"]


def run(script, *, folder, **variables):
    return subprocess.run(
        ["bash", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def jobs_of(done):
    assert done.returncode == 0, done.stderr
    return [
        shlex.split(line) for line in re.findall(r"^recipe: vjepa-gym (.+)$", done.stdout, re.M)
    ]


@pytest.fixture
def checkout(tmp_path):
    """Return a folder with the scripts alone."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    return tmp_path


def tiny(checkout, **variables):
    script = checkout / "scripts" / "train_tiny.sh"
    return run(script, folder=checkout, VJEPA_GYM="true", **variables)


def small(checkout, **variables):
    """Run the recipe as if its packages were installed; instead of Python, `echo` is called."""
    (checkout / "scripts" / "site").mkdir()
    (checkout / "scripts" / "site" / ".installed").write_text("4294967295 0\n")  # of nothing
    script = checkout / "scripts" / "train_small.sh"
    return run(script, folder=checkout, PYTHON="echo", **variables)


@pytest.mark.parametrize("recipe", [tiny, small])
def test_a_recipe_says_only_what_the_command_line_takes(recipe, checkout, monkeypatch):
    caught = []
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: caught.append(experiment))
    jobs = jobs_of(recipe(checkout, EPISODES="7", HELD_OUT="3", TABLE_EPISODES="5"))
    assert [job[0] for job in jobs] == STEPS
    for words in jobs:
        assert main(words) == 0
    collect, pretrain, train, heads, gates, compare = (one.job for one in caught)
    assert collect.episodes == 7
    assert {pretrain.data, train.data, heads.data, gates.data} == {collect.root}
    assert {pretrain.held_out, train.held_out, heads.held_out, gates.held_out} == {3}
    assert train.encoder == pretrain.folder
    assert heads.model == gates.model == caught[-1].world_model.source == train.folder
    assert compare.episodes == 5
    assert len(compare.tasks) == 7


def test_steps_are_chosen_by_name_and_unknown_ones_refused_before_anything_runs(checkout):
    assert [job[0] for job in jobs_of(tiny(checkout, STEPS="train gates"))] == ["train", "gates"]
    done = tiny(checkout, STEPS="collect tain")
    assert done.returncode == 2
    assert "no step is called tain" in done.stderr
    assert "vjepa-gym collect" not in done.stdout


def test_a_step_that_fails_ends_the_recipe(checkout):
    done = run(checkout / "scripts" / "train_tiny.sh", folder=checkout, VJEPA_GYM="false")
    assert done.returncode != 0
    assert "vjepa-gym pretrain" not in done.stdout


def test_what_was_learned_is_copied_where_out_says(checkout):
    model, table = (checkout / "runs" / "tiny" / name for name in ("model", "table"))
    for folder, name in ((model, "model.safetensors"), (model, "inverse.json"), (table, "a/b")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    out = checkout / "out"
    jobs_of(tiny(checkout, STEPS="gates", OUT=str(out)))
    assert {path.name for path in out.iterdir()} == {"model.tar", "heads.tar", "table.tar"}
    shutil.unpack_archive(out / "heads.tar", checkout / "back")
    assert [path.name for path in (checkout / "back").iterdir()] == ["inverse.json"]


def test_what_is_assumed_and_missing_is_named(checkout):
    scripts = checkout / "scripts"
    (scripts / "assumed.txt").write_text("json\nno_such_package\n")
    done = run(scripts / "train_small.sh", folder=checkout, PYTHON=sys.executable)
    assert done.returncode == 1
    assert "has no no_such_package" in done.stderr
    assert "ALSO" in done.stderr


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("lab", "objects"), [("train", None), ("test", None), ("train", "unseen")])
def test_the_scenes_that_environments_open_are_packed(lab, objects):
    packed = script("pack_scenes").scenes()
    scene = World(lab=lab, objects=objects)._scene.config
    for distractors in range(MOST_DISTRACTORS + 1):
        assert replace(scene, distractors=distractors) in packed


def record(seed, success=True):
    grey = [np.full((32, 32, 3), level, np.uint8) for level in (60, 120, 200)]
    return EpisodeRecord(
        seed=seed,
        success=success,
        success_once=success,
        solved_at_start=False,
        distances=np.zeros(4),
        actions=np.zeros((3, 7), np.float32),
        seconds=np.zeros(3),
        frames=np.full((4, 32, 32, 3), 90, np.uint8),
        goal_images=np.stack(grey),
        goal_steps=(1, 1, 1),
    )


def test_an_animation_marks_the_present_view_of_the_goal_and_how_it_ended(tmp_path):
    demos = script("draw_demos")
    episode = demos.Episode(record(3, success=False), [0, 1, 2], [0.5, 0.4, 0.1], "")
    pages = list(demos.draw(episode, "pick place cup, lab train"))
    assert len(pages) == 4
    row = demos.LINE + demos.SIZE + demos.GAP
    for page, view in zip(pages, (0, 1, 2, 2), strict=True):
        corners = [demos.SIZE + (demos.GAP + demos.SMALL) * i + demos.GAP for i in range(3)]
        marked = [page.getpixel((left, row)) == demos.BLUE for left in corners]
        assert marked == [i == view for i in range(3)]
    assert [page.getpixel((0, demos.LINE)) == demos.RED for page in pages] == [False] * 3 + [True]
    assert demos.save(tmp_path / "a.webp", pages) < demos.MOST_BYTES
    with Image.open(tmp_path / "a.webp") as saved:
        assert saved.n_frames == 4


@pytest.mark.parametrize(
    ("seed", "successes", "drawn", "why"),
    [
        (None, {2, 3}, 2, "seed 2, the first that succeeds, after 2 that fail"),
        (None, {0}, 0, "seed 0, the first that succeeds"),
        (None, set(), 0, "seed 0, which fails, as all 20 that were tried do"),
        (3, set(), 3, "seed 3, which was asked for"),
    ],
)
def test_the_first_seed_that_succeeds_is_drawn_and_says_how_many_failed(
    seed, successes, drawn, why, monkeypatch
):
    demos = script("draw_demos")

    class Nothing:
        privileged = False

        def close(self):
            pass

        def agent(self, *_):
            return self

    monkeypatch.setattr(demos, "environments", lambda *_: Nothing())
    monkeypatch.setattr(
        demos, "rollout", lambda _, __, seeds: [record(seeds[0], seeds[0] in successes)]
    )
    episode = demos.find_episode(Nothing(), "reach", "train", seed)
    assert (episode.record.seed, episode.chosen) == (drawn, why)
