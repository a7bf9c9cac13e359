"""What is measured, and that stopping and going on changes nothing."""

import fcntl
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
from toys import TOY, ToyReach, toy_envs

from vjepa_gym.errors import EvaluationError, UnknownNameError
from vjepa_gym.experiments.compare.cells import Cell
from vjepa_gym.experiments.compare.contenders import find_contenders
from vjepa_gym.experiments.compare.ledger import Ledger
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.jobs.compare import CompareConfig, finished, run_compare
from vjepa_gym.experiments.settings import EnvConfig, ExpertConfig, WorldModelConfig

OTHER = "vjepa_gym_tests/Near-v0"
AGENTS = ["hold_still", "random", "expert"]


@pytest.fixture(autouse=True)
def registered():
    toy_envs(1)
    if OTHER not in gym.registry:
        gym.register(
            OTHER,
            entry_point=lambda **words: ToyReach(distance=0.05, **words),
            max_episode_steps=10,
            disable_env_checker=True,
        )


def config(folder, **changed):
    usual = {"agents": AGENTS, "tasks": [TOY, OTHER], "labs": ["train"], "episodes": 5}
    return CompareConfig(**{**usual, "num_envs": 2, "folder": str(folder), **changed})


def contenders(names):
    nowhere = Factory(WorldModelConfig(source="nowhere"))
    return find_contenders(names, nowhere, ExpertConfig())


def toys(env, count):
    return gym.make_vec(
        env.id,
        num_envs=count,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.DISABLED},
    )


def compare(settings, **words):
    usual = {"base": EnvConfig(), "contenders": contenders(settings.agents), "open_envs": toys}
    return run_compare(settings, **{**usual, **words})


def lines(folder):
    """Return what was written, without the times, by file."""
    found = {}
    for path in sorted(Path(folder).glob("episodes/*/*/*.jsonl")):
        said = [json.loads(line) for line in path.read_text().splitlines()]
        for one in said:
            del one["seconds"]
        found["/".join(path.parts[-3:])] = said
    return found


class Stop:
    """Interrupts when so many episodes are over."""

    def __init__(self, after):
        self.left = after

    def __call__(self, cell, agent, outcome):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_every_agent_has_one_line_a_seed_in_each_cell(tmp_path):
    told = []
    comparison = compare(
        config(tmp_path), on_outcome=lambda cell, agent, one: told.append((cell, agent, one.seed))
    )
    written = lines(tmp_path)
    assert len(written) == 6
    for said in written.values():
        assert [one["seed"] for one in said] == [10000, 10001, 10002, 10003, 10004]
    assert len(told) == 30
    assert told[0] == (Cell(TOY, "train"), "hold_still", 10000)
    figures = {(figure.task, figure.agent): figure for figure in comparison.figures()}
    assert figures[TOY, "expert"].successes == figures[TOY, "expert"].episodes == 5
    assert figures[TOY, "hold_still"].successes == 0
    assert (tmp_path / "table.md").read_text().count("| train |") == 3


@pytest.mark.parametrize("after", [1, 2, 7, 8, 17])
def test_who_is_stopped_and_goes_on_finds_the_same_as_who_is_not(tmp_path, after):
    settings = config(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        compare(settings, on_outcome=Stop(after))
    assert sum(map(len, lines(settings.folder).values())) == after
    assert len(list(finished(settings, AGENTS))) == after
    compare(settings)
    whole = config(tmp_path / "whole")
    compare(whole)
    assert lines(settings.folder) == lines(whole.folder)


def test_a_half_written_line_is_dropped_and_its_episode_repeated(tmp_path):
    settings = config(tmp_path)
    compare(settings)
    before = lines(tmp_path)
    (path,) = tmp_path.glob("episodes/train/vjepa_gym_tests-Toy-v0/random.jsonl")
    path.write_bytes(path.read_bytes()[:-9])
    assert len(list(finished(settings, AGENTS))) == 29
    told = []
    compare(settings, on_outcome=lambda cell, agent, one: told.append((agent, one.seed)))
    assert told == [("random", 10004)]
    assert lines(tmp_path) == before


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    settings = config(tmp_path)
    compare(settings)
    (path,) = tmp_path.glob("episodes/train/vjepa_gym_tests-Toy-v0/random.jsonl")
    first, _, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, '{"seed": 1}\n', *rest]))
    with pytest.raises(EvaluationError, match=r"random\.jsonl, line 2, is no episode"):
        compare(settings)


def test_the_same_command_again_measures_nothing(tmp_path):
    settings = config(tmp_path)
    first = compare(settings)
    (tmp_path / "table.md").unlink()

    def none(env, count):
        raise AssertionError("an environment was opened")

    again = compare(settings, open_envs=none)
    assert again == first
    assert (tmp_path / "table.md").exists()


def test_more_agents_tasks_and_episodes_add_to_what_is_there(tmp_path):
    grown = tmp_path / "grown"
    compare(config(grown, agents=["expert"], tasks=[OTHER], episodes=3))
    compare(config(grown, agents=["random"], tasks=[TOY], episodes=5))
    comparison = compare(config(grown))
    whole = config(tmp_path / "whole")
    compare(whole)
    assert lines(grown) == lines(whole.folder)
    assert list(comparison.agents) == ["expert", "random", "hold_still"]
    assert comparison.tasks == [OTHER, TOY]


def test_an_order_changes_nothing_but_the_rows(tmp_path):
    one, other = config(tmp_path / "one"), config(tmp_path / "other")
    compare(one)
    compare(replace(other, agents=AGENTS[::-1], tasks=[OTHER, TOY]))
    assert lines(one.folder) == lines(other.folder)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_envs": 3}, "num_envs was 2 and is 3"),
        ({"first_seed": 0}, "first_seed was 10000 and is 0"),
        ({"variation": "narrow"}, "variation.preset was wide and is narrow"),
        ({"variation": {"preset": "wide", "bump": "arm"}}, "variation.bump was null and is arm"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_lost(tmp_path, changed, said):
    compare(config(tmp_path))
    before = lines(tmp_path)
    with pytest.raises(EvaluationError, match=said) as caught:
        compare(config(tmp_path, **changed))
    assert "job.folder" in str(caught.value)
    assert lines(tmp_path) == before


def test_an_agent_with_other_settings_is_refused_and_others_may_join(tmp_path):
    compare(config(tmp_path, agents=["hold_still"]))
    (still,) = contenders(["hold_still"])
    other = replace(still, settings={"model": {"weights": "ab"}})
    with pytest.raises(EvaluationError, match=r"hold_still\.model was null"):
        compare(config(tmp_path, agents=["hold_still"]), contenders=[other])
    compare(config(tmp_path), contenders=[replace(other, name="random"), still])
    with pytest.raises(EvaluationError, match="image_size was 256 and is 64"):
        compare(config(tmp_path), base=EnvConfig(image_size=64))


def test_the_version_of_the_code_is_noted_and_may_change(tmp_path):
    compare(config(tmp_path, episodes=2), code={"commit": "a"})
    compare(config(tmp_path, episodes=2), code={"commit": "b"})
    comparison = compare(config(tmp_path, episodes=2), code={"commit": "a"})
    assert comparison.code == [{"commit": "a"}, {"commit": "b"}]


def test_slow_agents_have_fewer_episodes(tmp_path):
    settings = config(tmp_path, few={"expert": 3, "random": 100})
    comparison = compare(settings)
    numbers = {figure.agent: figure.episodes for figure in comparison.figures()}
    assert numbers == {"hold_still": 5, "random": 5, "expert": 3}


def test_a_file_that_another_process_adds_to_is_left_alone(tmp_path):
    settings = config(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compare(settings, on_outcome=Stop(2))
    (path,) = tmp_path.glob("episodes/train/*/hold_still.jsonl")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(EvaluationError, match="Another process"):
            compare(settings)
    compare(settings)


@pytest.mark.parametrize("content", ["no json", "[]", '{"settings": {}}'])
def test_a_folder_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"config\.json.*job\.folder"):
        compare(config(tmp_path))


def test_each_batch_has_an_agent_of_its_own_whatever_was_done_before(tmp_path):
    made = []
    (one,) = contenders(["random"])
    spied = replace(one, make=lambda envs, seed: made.append(seed) or one.make(envs, seed))
    settings = config(tmp_path, agents=["random"], tasks=[TOY])
    compare(settings, contenders=[spied])
    assert made == [10000, 10000, 10002, 10004], "one to see whether it can be made at all"


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"agents": ["hold-still"]}, UnknownNameError, "hold_still"),
        ({"few": {"orakel": 1}}, UnknownNameError, "oracle"),
        ({"tasks": ["raech"]}, UnknownNameError, "reach"),
        ({"tasks": ["reach:single"]}, UnknownNameError, "pick_place_cup:single"),
        ({"tasks": ["foo/Bar-v0"]}, UnknownNameError, "FrankaReach"),
        ({"labs": ["mine"]}, UnknownNameError, "train"),
        ({"variation": "vide"}, UnknownNameError, "wide"),
        ({"variation": {"camera": 1}}, UnknownNameError, "camera_fovy"),
        ({"tasks": []}, ValueError, "tasks must name at least one"),
        ({"labs": ["test", "test"]}, ValueError, "more than once"),
        ({"episodes": 0}, ValueError, "episodes"),
        ({"num_envs": 0}, ValueError, "num_envs"),
        ({"first_seed": -1}, ValueError, "first_seed"),
        ({"few": {"oracle": 0}}, ValueError, "few.oracle"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(changed, error, said):
    with pytest.raises(error, match=said):
        CompareConfig(**changed)


@pytest.mark.parametrize(("task", "views"), [("pick_place_cup", 3), ("pick_place_cup:single", 1)])
def test_a_single_goal_image_is_the_last_one(task, views):
    base = EnvConfig(image_size=32, options={"horizon": 1})
    env = Cell(task, "test").env(base, {"preset": "none"})
    assert env.lab == "test"
    with closing(environments(env, 1)) as envs:
        _, info = envs.reset(seed=[3])
    assert info["goal"]["images"].shape == (1, views, 32, 32, 3)
    assert base.options == {"horizon": 1}


def test_what_was_never_measured_has_no_episodes(tmp_path):
    compare(config(tmp_path, tasks=[TOY]))
    cell, ledger = Cell(TOY, "train"), Ledger(tmp_path)
    assert [one.seed for one in ledger.outcomes(cell, "expert")] == list(range(10000, 10005))
    assert ledger.outcomes(Cell(TOY, "test"), "expert") == []
