"""Every job once, end to end, with a model of a few thousand parameters."""

import json
import sys
from contextlib import closing

import pytest
from toys import toy_envs

from vjepa_gym.agents.controls import Expert, HoldStill, RandomAgent
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import REACH
from vjepa_gym.envs.oracle import OracleDynamics
from vjepa_gym.errors import CheckpointError, PlanningError, UnknownNameError
from vjepa_gym.experiments.cli import main
from vjepa_gym.experiments.config import GROUPS, PlanningConfig, WorldModelConfig
from vjepa_gym.experiments.factory import Factory
from vjepa_gym.experiments.jobs.evaluate import make_envs
from vjepa_gym.world_models.vjepa2_ac import VJEPA2AC, Persistence, load_world_model

DATA = ["job.data=data", "job.held_out=2", "job.device=cpu"]
SMALL = ["job.model=debug", "job.training=debug"]
EASY = ["job.episodes=2", "job.num_envs=2", "job.videos=1", "env.image_size=32"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder in which data were collected, and a model was trained on them."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["vjepa-gym"])
        collecting = ["job.root=data", "job.episodes=6", "job.steps=6", "job.image_size=32"]
        assert main(["collect", *collecting, "job.workers=1"]) == 0
        assert main(["pretrain", *DATA, *SMALL, "job.folder=encoder"]) == 0
        assert main(["train", *DATA, *SMALL, "job.encoder=encoder", "job.folder=model"]) == 0
        yield folder


@pytest.fixture
def envs():
    with closing(make_envs(REACH, 1, image_size=32)) as made:
        yield made


def result(workplace, job, name):
    """Return a JSON file of the last run of a job."""
    path = max(workplace.glob(f"runs/{job}/*/{name}"))
    return json.loads(path.read_text())


def test_training_leaves_a_model_with_its_gates(workplace):
    model = load_world_model(workplace / "model")
    assert isinstance(model, VJEPA2AC)
    assert model.gates is not None
    assert model.gates.transitions > 0


def test_gates_measure_the_same_as_training_did(workplace, capsys):
    expected = load_world_model(workplace / "model").gates.to_json()
    assert main(["gates", *DATA, "job.model=model"]) == 0
    told = capsys.readouterr().out
    assert "percentile of the true action" in told
    assert "not passed: " in told
    measured = result(workplace, "gates", "gates.json")
    assert json.loads((workplace / "model" / "gates.json").read_text()) == measured
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float | list):
            assert measured[name] == pytest.approx(value, rel=1e-3), name
        else:
            assert measured[name] == value


def test_a_probe_judges_encoders_beside_untrained_ones(workplace, capsys):
    words = ["probe", "job.models=[encoder,model]", *DATA, "job.fitted=3"]
    assert main(words) == 0
    readings = result(workplace, "probe", "probes.json")
    assert len(readings) == 2 * 4 * 3
    assert {one["target"] for one in readings} == {"end effector", "objects", "cup", "box"}
    for one in readings:
        assert one["ratio"] == pytest.approx(one["error_mm"] / one["untrained_mm"])
        assert 0 < one["error_mm"] < 20 * one["chance_mm"]
    errors = {(one["model"], one["probe"], one["target"]): one["error_mm"] for one in readings}
    both = (errors["model", "mlp", "cup"] + errors["model", "mlp", "box"]) / 2
    assert errors["model", "mlp", "objects"] == pytest.approx(both, rel=1e-3)
    # The whole model holds the same encoder.
    for (_, *rest), error in errors.items():
        assert error == pytest.approx(errors["model", *rest])
    assert "attentive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["job.fitted=5"], "has 4 episodes besides the 2 held out"),
        (["job.probes=[guess]"], "guess"),
        (["job.models=[]"], "at least one model"),
    ],
)
def test_a_probe_says_what_it_cannot_do(workplace, capsys, words, said):
    assert main(["probe", "job.models=[encoder]", *DATA, *words]) != 0
    assert said in capsys.readouterr().err


def test_evaluation_leaves_a_report_of_the_agent_and_its_controls(workplace, capsys):
    few = ["agent.planner.num_samples=16", "agent.planner.num_iterations=1"]
    assert main(["evaluate", *EASY, *few, "world_model.source=model"]) == 0
    assert "planning" in capsys.readouterr().out
    agents = [row["agent"] for row in result(workplace, "evaluate", "table.json")]
    assert agents == ["planning", "persistence", "hold_still", "random", "expert"]
    assert list(workplace.glob("runs/evaluate/*/index.html"))


def test_planning_sees_the_centred_square_of_wide_pictures(workplace, capsys):
    wide = ["env.image_size=[24,40]", "world_model.source=model", "job.controls=[expert]"]
    few = ["agent.planner.num_samples=16", "agent.planner.num_iterations=1"]
    assert main(["evaluate", *EASY, *wide, *few]) == 0
    assert "planning" in capsys.readouterr().out
    assert list(workplace.glob("runs/evaluate/*/index.html"))


def test_an_agent_without_a_model_needs_none_and_has_no_model_control(workplace):
    words = ["agent=expert", "job.controls=[persistence,random]", "world_model.source=nowhere"]
    assert main(["evaluate", *EASY, *words]) == 0
    rows = result(workplace, "evaluate", "table.json")
    assert [row["agent"] for row in rows] == ["expert", "random"]
    assert rows[0]["successes"] == 2


def test_the_demo_shows_the_agent_beside_its_controls(workplace, capsys):
    few = ["job.evaluation.episodes=1", "job.evaluation.num_envs=1", "job.evaluation.videos=0"]
    words = ["job.world_model=model", "job.planner.num_iterations=1", *few]
    assert main(["demo", *words, "job.evaluation.controls=[hold_still]"]) == 0
    told = capsys.readouterr().out
    assert "hold_still" in told
    assert "runs/demo/" in told


@pytest.mark.parametrize(
    ("words", "status", "answer"),
    [
        (["gates", "job.data=nowhere", "job.model=model"], 1, "nowhere"),
        (["gates", "job.data=data", "job.model=nowhere"], 2, "Unknown model 'nowhere'"),
        (
            ["gates", "job.data=data", "job.model=model", "job.held_out=6"],
            1,
            "between 1 and 5; got 6",
        ),
        (["train", *DATA, *SMALL, "job.encoder=nowhere"], 2, "Unknown model 'nowhere'"),
        (["gates", *DATA, "job.model=model", "job.device=tpu"], 2, "Unknown device 'tpu'"),
        (["evaluate", *EASY, "agent=random", "job.controls=[x]"], 2, "Unknown control 'x'"),
    ],
)
def test_what_is_missing_is_said_in_a_paragraph(workplace, capsys, words, status, answer):
    assert main(words) == status
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("vjepa-gym: ")
    assert answer in told


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("planning", PlanningAgent),
        ("random", RandomAgent),
        ("hold_still", HoldStill),
        ("expert", Expert),
    ],
)
def test_every_configuration_of_an_agent_makes_that_agent(workplace, envs, option, kind):
    factory = Factory(WorldModelConfig(source="model", device="cpu"))
    assert isinstance(factory.agent(GROUPS["agent"][option](), envs), kind)


def test_what_is_no_configuration_makes_no_agent(envs):
    with pytest.raises(TypeError, match="WorldModelConfig"):
        Factory(WorldModelConfig()).agent(WorldModelConfig(), envs)


@pytest.mark.parametrize(
    ("dynamics", "kind"), [("persistence", Persistence), ("oracle", OracleDynamics)]
)
def test_a_world_model_can_be_one_in_which_nothing_changes_or_the_simulator(
    workplace, envs, dynamics, kind
):
    config = WorldModelConfig(source="model", dynamics=dynamics, device="cpu")
    assert isinstance(Factory(config).world_model(envs), kind)


def test_the_oracle_says_that_it_cannot_look_into_other_environments(workplace):
    config = WorldModelConfig(source="model", dynamics="oracle", device="cpu")
    with pytest.raises(PlanningError, match="processes=false"):
        Factory(config).world_model(toy_envs(1))


def test_a_model_is_loaded_once_for_all_agents(workplace):
    factory = Factory(WorldModelConfig(source="model", device="cpu"))
    assert factory.model is factory.model
    assert factory.facts(PlanningConfig())["model"] == "model"


def test_a_truncated_model_is_refused(workplace, tmp_path, envs):
    for file in (workplace / "model").glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError):
        Factory(WorldModelConfig(source=str(tmp_path), device="cpu")).world_model(envs)


def test_an_energy_that_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match="l1"):
        PlanningConfig(energy="l7")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["evaluate", "env.id=foo/Bar-v0"], 2, "vjepa_gym/FrankaReach-v0"),
        (["collect", "job.tasks.flip=1.0"], 2, "Unknown task 'flip'"),
        (["evaluate", "env.image_size=-3"], 2, "at least 16 px"),
        (["evaluate", "env.image_size=[180]"], 2, "[180, 320]"),
        (["collect", "job.root=/proc/x", "job.episodes=1"], 1, "/proc/x"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(workplace, capsys, words, status, said):
    assert main(words) == status
    assert said in capsys.readouterr().err
