"""The table of gates: a line each, and what was not measured neither passes nor fails."""

import dataclasses
import json
import math

import pytest

from vjepa_gym.learning.checkpoints import from_json
from vjepa_gym.world_models.gate_rows import FAILED, NOT_MEASURED, PASSED
from vjepa_gym.world_models.gate_table import Gates

OLD = {
    "ridge_error_mm": [9.0, 4.0, 4.0],
    "mlp_error_mm": [4.0, 9.0, 4.5],
    "chance_error_mm": [70.0, 100.0, 80.0],
    "true_action_percentile": 0.01,
    "prediction_over_persistence": [0.3, 0.2],
    "prediction_over_persistence_changed": [0.25, 0.2],
    "shuffled_action_percentile": 0.52,
    "shuffled_over_persistence": 1.2,
    "transitions": 256,
}
"""A file of the first version."""
NEW = {
    **OLD,
    "prediction_over_persistence_changed": [0.25, 0.2, 0.3, 0.45],
    "object_error_mm": {"cup": [6.0, 7.0], "box": [7.9, 3.0]},
    "object_chance_mm": {"cup": [60.0, 70.0], "box": [60.0, 70.0]},
    "gripper_r2": 0.97,
    "lifted_auc": {"cup": 0.99, "box": 0.985},
    "gripper_percentile": 0.05,
    "gripper_moves": 40,
    "landscape_argmin_mm": 8.0,
    "landscape_monotone": 0.95,
    "landscapes": 32,
    "oracle_success": 0.9,
    "model_success": 0.7,
    "oracle_episodes": 10,
}


def gates(content: dict, **changed: object) -> Gates:
    return dataclasses.replace(Gates(**content), **changed)


def test_files_of_the_first_version_are_read_and_say_what_they_lack(tmp_path) -> None:
    old = from_json(Gates, OLD, source=tmp_path)
    assert old.failures() == []
    verdicts = [row.verdict for row in old.rows()]
    assert verdicts.count(PASSED) == 5
    assert verdicts.count(NOT_MEASURED) == 8
    for row in old.rows():
        if row.verdict == NOT_MEASURED:
            assert row.measured.startswith("not measured: ")
            assert len(row.measured) > len("not measured: ") + 10


def test_gates_survive_a_file(tmp_path) -> None:
    new = gates(NEW, not_measured={"gripper_r2": "why"})
    again = json.loads(json.dumps(new.to_json()))
    assert from_json(Gates, again, source=tmp_path) == new


def test_everything_can_pass() -> None:
    new = gates(NEW)
    assert {row.verdict for row in new.rows()} == {PASSED}
    assert new.failures() == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ridge_error_mm": [9.0, 9.0, 9.0]}, "end effector read [mm]: 9, at most 5"),
        ({"object_error_mm": {"cup": [1.0, 1.0], "box": [1.0, 8.1]}}, "objects' x and y"),
        ({"gripper_r2": 0.9}, "closedness read [R2]: 0.9, at least 0.95 is wanted"),
        ({"lifted_auc": {"cup": 0.99, "box": 0.9}}, "objects off the table told [AUC]: 0.9"),
        ({"true_action_percentile": 0.06}, "percentile of the true action: 0.06"),
        ({"gripper_percentile": 0.5}, "percentile of the true gripper action"),
        ({"prediction_over_persistence_changed": [0.6, 0.2, 0.2, 0.2]}, "one step ahead: 0.6"),
        ({"prediction_over_persistence_changed": [0.2, 0.2, 0.2, 0.6]}, "four steps ahead: 0.6"),
        ({"landscape_argmin_mm": 11.0}, "least energy from the true action"),
        ({"landscape_monotone": 0.5}, "energy falls on the way to it"),
        ({"shuffled_action_percentile": 0.39}, "another's action, from 0.5: 0.11"),
        ({"shuffled_over_persistence": 0.3}, "another's action / the true: 1, at least 1.2 is"),
        ({"oracle_success": 0.7}, "oracle's successes"),
        ({"landscape_argmin_mm": math.nan}, "least energy from the true action [mm]: nan"),
        ({"ridge_error_mm": [math.nan] * 3, "mlp_error_mm": [math.nan] * 3}, "end effector"),
    ],
)
def test_each_gate_can_stop_a_model(changed: dict, told: str) -> None:
    failing = gates(NEW, **changed)
    (sentence,) = failing.failures()
    assert told in sentence
    assert [row.verdict for row in failing.rows()].count(FAILED) == 1


def test_a_line_holds_the_figure_the_control_and_what_is_wanted() -> None:
    hand, objects, *_, oracle = gates(NEW).rows()
    assert (hand.measured, hand.chance, hand.wanted) == ("4 4 4", "70 100 80", "at most 5")
    assert objects.measured == "cup 6 7, box 7.9 3"
    assert oracle.measured == "0.9 (the model 0.7)"
