import dataclasses
import json
import os
import resource
import subprocess
import sys

import pytest
import yaml

from vjepa_gym.errors import DatasetError
from vjepa_gym.experiments import launch
from vjepa_gym.experiments.cli import JOBS, main
from vjepa_gym.experiments.config import GROUPS, PRESETS, ExperimentConfig
from vjepa_gym.experiments.jobs.pretrain import PretrainConfig
from vjepa_gym.world_models.masking import Cut, MaskConfig
from vjepa_gym.world_models.presets import debug
from vjepa_gym.world_models.pretraining_presets import PRETRAINING


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Run in an empty folder, and catch what would be run instead of running it."""
    caught = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vjepa-gym"])
    monkeypatch.setattr(launch, "run", lambda experiment, folder: caught.append(experiment))
    return caught


def said(capsys):
    return capsys.readouterr().err.strip()


# Help.


def test_help_lists_every_job(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {job} " in text for job in JOBS)


def test_no_words_at_all_get_help(capsys):
    assert main([]) == 0
    assert "vjepa-gym <job>" in capsys.readouterr().out


def test_help_takes_less_than_a_second_of_work():
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "vjepa_gym", "--help"], check=True, stdout=-3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Time of the processor rather than of the clock: the machine may have other work to do.
    assert min(seconds() for _ in range(3)) < 1.0


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


def test_what_is_listed_can_be_run():
    assert set(GROUPS["job"]) == set(JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_every_key_of_a_job_is_explained(job, capsys):
    assert main([job, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    keys = [index for index, line in enumerate(lines) if line.startswith("  job.")]
    assert keys
    for index in keys:
        assert lines[index + 1].startswith("      "), lines[index]


@pytest.mark.parametrize(
    ("job", "usage"),
    [
        ("collect", "[root] [key=value ...]"),
        ("audit", "[root] [--checksums] [key=value ...]"),
        ("convert", "[source] [target] [key=value ...]"),
        ("benchmark", "[what] [key=value ...]"),
        ("gates", "[key=value ...]"),
        ("evaluate", "[group=option ...] [key=value ...]"),
    ],
)
def test_help_shows_the_words_that_need_no_key(job, usage, capsys):
    assert main([job, "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"vjepa-gym {job} {usage}"


# What is composed.


def test_a_job_runs_with_its_defaults(runs):
    assert main(["pretrain"]) == 0
    (experiment,) = runs
    assert isinstance(experiment, ExperimentConfig)
    assert experiment.job == PretrainConfig()


def test_any_field_can_be_set(runs):
    words = ["job.model.encoder.depth=2", "job.training.steps=7", "job.training.ema_end=1"]
    assert main(["pretrain", *words]) == 0
    job = runs[0].job
    assert (job.model.encoder.depth, job.training.steps, job.training.ema_end) == (2, 7, 1.0)


@pytest.mark.parametrize("job", ["collect", "audit"])
def test_a_word_without_a_key_is_the_root(runs, job):
    assert main([job, "data/x4", "job.workers=3"]) == 0
    assert (runs[0].job.root, runs[0].job.workers) == ("data/x4", 3)


def test_the_value_of_a_flag_is_not_taken_for_the_root(runs, capsys):
    assert main(["collect", "--cfg", "job", "data/x4"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["job"]["root"] == "data/x4"
    assert runs == []


@pytest.mark.parametrize("word", ["env.options.subgoals=false", "env.options={subgoals:false}"])
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_options_of_an_environment_need_no_plus(runs, tmp_path, word, plus):
    assert main(["evaluate", plus + word]) == 0
    assert runs[0].env.options == {"subgoals": False}
    (command,) = tmp_path.glob("runs/evaluate/*/command.txt")
    assert word in command.read_text()


def test_a_preset_fills_a_key_and_what_is_set_besides_wins(runs):
    words = ["job.training=debug", "job.model=debug", "job.training.batch_size=3"]
    assert main(["pretrain", *words]) == 0
    job = runs[0].job
    assert job.model == debug()
    assert job.training.steps == PRETRAINING["debug"]().steps
    assert job.training.batch_size == 3


@pytest.mark.parametrize(
    ("job", "key", "name"),
    [(job, key, name) for job, keys in PRESETS.items() for key in keys for name in keys[key]],
)
def test_every_preset_composes_to_itself(runs, job, key, name):
    assert main([job, f"{key}={name}"]) == 0
    part = runs[0]
    for field in key.split("."):
        part = getattr(part, field)
    assert part == PRESETS[job][key][name]()


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in GROUPS[group]]
)
def test_every_option_composes_to_itself(runs, group, option):
    job = option if group == "job" else "gates"
    assert main([job, f"{group}={option}"]) == 0
    node = GROUPS[group][option]
    assert getattr(runs[0], group) == (node() if isinstance(node, type) else node)


def test_a_sweep_runs_every_combination_in_folders_of_their_own(runs, tmp_path):
    assert main(["gates", "-m", "job.seed=1,2", "job.held_out=3,4"]) == 0
    ran = [(experiment.job.seed, experiment.job.held_out) for experiment in runs]
    assert ran == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert len(list(tmp_path.glob("runs/gates/*/*/config.yaml"))) == 4


# What is noted down.


def test_a_run_can_be_repeated_from_what_it_notes_down(runs, tmp_path):
    assert main(["pretrain", "job.training=debug", "job.data=some data"]) == 0
    (folder,) = tmp_path.glob("runs/pretrain/*")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["job"]["data"] == "some data"
    assert config["job"]["training"]["batch_size"] == 4
    versions = json.loads((folder / "version.json").read_text())
    assert {"vjepa-gym", "torch", "mujoco", "python", "commit", "changed"} <= set(versions)
    command = (folder / "command.txt").read_text()
    assert command == "vjepa-gym pretrain job.training=debug 'job.data=some data'\n"


@pytest.mark.parametrize("job", JOBS)
def test_what_is_noted_down_is_what_is_run(runs, tmp_path, job):
    assert main([job]) == 0
    (config,) = tmp_path.glob("runs/*/*/config.yaml")
    noted = yaml.safe_load(config.read_text())
    for field in dataclasses.fields(runs[0].job):
        value = getattr(runs[0].job, field.name)
        if isinstance(value, str | int | float | list | dict | None):
            assert noted["job"][field.name] == value


# Mistakes.


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["pretrian"], "Unknown job 'pretrian'. Did you mean 'pretrain'?"),
        (["pretrain", "job.fodler=x"], "Unknown key 'job.fodler'. Did you mean 'job.folder'?"),
        (["pretrain", "world_modle=tiny"], "Did you mean 'world_model'?"),
        (["pretrain", "job.training.stpes=1"], "Did you mean 'job.training.steps'?"),
        (["pretrain", "job.folder.name=x"], "job.folder"),
        (["gates", "agent=planing"], "Unknown option of agent 'planing'. Did you mean 'planning'?"),
        (["pretrain", "job.model=tinny"], "Unknown option of job.model 'tinny'. Did you mean"),
        (["pretrain", "job.training.steps=many"], "job.training.steps: Value 'many'"),
        (["pretrain", "job.model.encoder.rope=x"], "expected one of [released, interleaved]"),
        (["pretrain", "job.training.steps=0"], "steps must be positive, got 0"),
        (["gates", "agent.energy=l3"], "Unknown energy 'l3'. Available: "),
        (["collect", "job.mix.wild=1"], "Unknown behaviour 'wild'. Available: idle, noisy"),
        (["collect", "job.labs={tset:1}"], "Unknown lab 'tset'. Did you mean 'test'?"),
        (["collect", "job.tasks.raech=1"], "Unknown task 'raech'. Did you mean 'reach'?"),
        (["collect", "job.tasks={foo/Bar-v0:1}"], "vjepa_gym/FrankaReach-v0"),
        (["collect", "job.mix=3"], "job.mix: Cannot assign int to Dict"),
        (["collect", "job.record_hz=1000"], "at most 500 rows a second"),
        (["collect", "job.prest=small"], "Did you mean 'job.preset'? Available: job.cameras,"),
        (["collect", "preset=small"], "Unknown key 'preset'. Did you mean 'job.preset'?"),
        (["collect", "episods=3"], "Unknown key 'episods'. Did you mean 'job.episodes'?"),
        (["pretrain", "training.steps=3"], "Unknown key 'training'. Did you mean 'job.training'?"),
        (["collect", "job.cameras=left"], "job.cameras takes a list: job.cameras=[left]"),
        (["collect", "job.cameras=left,wrist"], "A list is job.cameras=[left,wrist]; -m runs each"),
        (["audit", "a", "job.root=b"], "job.root is given twice: as 'a' and as 'job.root=b'."),
        (["audit", "job.root=b", "a"], "job.root is given twice: as 'a' and as 'job.root=b'."),
        (["audit", "--checksums", "job.checksums=false"], "job.checksums is given twice"),
        (["pretrain", "folder"], "'folder'"),
        (["job=nothing"], "Unknown option of job 'nothing'."),
        (["agent=planning"], "You must specify 'job'"),
    ],
)
def test_a_mistake_is_answered_in_one_paragraph_and_runs_nothing(
    runs, capsys, tmp_path, words, answer
):
    assert main(words) == 2
    text = said(capsys)
    assert text.startswith("vjepa-gym: ")
    assert answer in text
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1
    assert runs == []
    assert list(tmp_path.glob("runs/*/*")) == []


def test_a_job_that_fails_says_why_without_a_traceback(runs, monkeypatch, capsys):
    def fail(experiment, folder):
        raise DatasetError("there is nothing there.")

    monkeypatch.setattr(launch, "run", fail)
    assert main(["gates"]) == 1
    assert said(capsys) == "vjepa-gym: there is nothing there."


def test_a_sweep_goes_on_after_a_failure_and_fails_in_the_end(runs, monkeypatch, capsys):
    def fail_sometimes(experiment, folder):
        runs.append(experiment)
        if experiment.job.seed < 2:
            raise DatasetError(f"seed {experiment.job.seed} is unlucky.")

    monkeypatch.setattr(launch, "run", fail_sometimes)
    assert main(["gates", "-m", "job.seed=0,1,2"]) == 1
    assert len(runs) == 3
    text = said(capsys)
    assert "seed 0 is unlucky" in text
    assert "seed 1 is unlucky" in text


def test_the_traceback_is_there_for_who_asks(runs, monkeypatch):
    monkeypatch.setenv("VJEPA_GYM_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["nothing"])


def test_an_interruption_is_no_traceback(runs, monkeypatch, capsys):
    def interrupt(experiment, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "run", interrupt)
    assert main(["gates"]) == 130
    assert said(capsys) == "vjepa-gym: interrupted."
    for words in (["collect"], ["job=train"]):
        assert main(words) == 130
        answer = "vjepa-gym: interrupted; what is done is kept, and the same words go on."
        assert said(capsys) == answer


def test_a_reader_that_has_gone_is_no_error():
    words = [sys.executable, "-m", "vjepa_gym", "--help"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_values_are_shown_as_they_are_typed(capsys):
    main(["pretrain", "--help"])
    text = capsys.readouterr().out
    assert "job.training.masked_by=remove  (remove|noise)" in text
    masks = next(line.strip() for line in text.splitlines() if "job.training.masks=" in line)
    assert masks == "job.training.masks=[{blocks:4,scale:0.15},{blocks:1,scale:0.5}]"


def test_what_is_shown_can_be_typed(runs):
    assert main(["pretrain", "job.training.masks=[{blocks:4,scale:0.15,cut:last}]"]) == 0
    assert runs[0].job.training.masks == [MaskConfig(blocks=4, scale=0.15, cut=Cut.last)]


def test_a_key_of_what_is_measured_is_pointed_to(runs, capsys):
    assert main(["benchmark", "training", "job.model=vit_b"]) == 2
    assert "'job.training.model'" in said(capsys)
