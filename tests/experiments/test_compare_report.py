"""What a table says: rates, intervals, who is privileged, what the paper reports, what to note."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from vjepa_gym.envs import SHORT
from vjepa_gym.experiments.compare.cells import Cell, title
from vjepa_gym.experiments.compare.figures import Comparison
from vjepa_gym.experiments.compare.outcome import Outcome
from vjepa_gym.experiments.compare.published import PUBLISHED
from vjepa_gym.experiments.compare.report import markdown, show_comparison, write_comparison
from vjepa_gym.experiments.statistics import mcnemar, wilson_interval


def episodes(successes, count, *, solved=0, evaluations=(), seconds=(0.2, 0.4)):
    """Return episodes of which the first are solved at the start and the next succeed."""
    return [
        Outcome(
            seed=seed,
            success=seed < solved + successes,
            success_once=True,
            solved_at_start=seed < solved,
            final_distance=0.01 * seed,
            seconds=seconds,
            evaluations=evaluations,
            variation={},
        )
        for seed in range(count)
    ]


def comparison(outcomes, tasks=("reach", "grasp_cup"), labs=("train",)):
    agents = list(dict.fromkeys(agent for _, _, agent in outcomes))
    return Comparison(
        tasks=list(tasks),
        labs=list(labs),
        agents={name: {"privileged": name == "expert"} for name in agents},
        settings={"num_envs": 2},
        code=[],
        outcomes={
            (Cell(task, lab), agent): found for (lab, task, agent), found in outcomes.items()
        },
    )


def table(found):
    """Return the cells of the Markdown table by lab and agent."""
    said = [line.strip("| ").split(" | ") for line in markdown(found).splitlines() if "|" in line]
    return said[0], {(line[0], line[1]): [cell.strip() for cell in line[2:]] for line in said[2:]}


def test_a_cell_says_rate_and_interval_and_starts_that_are_solved_do_not_count():
    found = comparison(
        {
            ("train", "reach", "planning"): episodes(87, 100, evaluations=[768]),
            ("train", "grasp_cup", "planning"): episodes(50, 100, solved=4, seconds=(1.0,)),
            ("train", "reach", "expert"): episodes(100, 100),
        }
    )
    head, said = table(found)
    assert head[2:] == ["Reach", "Grasp cup", "n", "s/action", "plans/action"]
    low, high = wilson_interval(87, 100)
    assert said["train", "planning"][0] == f"87 % ({100 * low:.0f}-{100 * high:.0f})"
    assert said["train", "planning"][1:] == ["52 % (42-62)", "96-100", "0.40", "768"]
    assert said["train", "expert, privileged"][:3] == ["100 % (96-100)", "", "100"]
    figure = found.figure(Cell("grasp_cup", "train"), "planning")
    assert (figure.episodes, figure.solved_at_start, figure.successes) == (96, 4, 50)


def test_the_paper_stands_below_with_intervals_of_its_twenty_trials():
    found = comparison({("train", "reach", "random"): episodes(0, 5)}, tasks=SHORT)
    _, said = table(found)
    paper = said["real robot (paper, Table 2)", "V-JEPA 2-AC"]
    assert [cell.split(" (")[0] for cell in paper[:7]] == [
        *("100 %", "65 %", "25 %", "75 %", "75 %", "80 %", "65 %")
    ]
    low, high = wilson_interval(13, 20)
    assert paper[1] == f"65 % ({100 * low:.0f}-{100 * high:.0f})"
    assert paper[7:] == ["20", "16", "8000"]
    octo = said["real robot (paper, Table 2)", "Octo"]
    assert [int(cell.split()[0]) for cell in octo[:7]] == [100, 15, 0, 15, 70, 15, 10]
    cosmos = said["real robot (paper, Table 3)", "Cosmos"]
    assert cosmos[3:5] == ["", ""], "nobody reports a reach with an object of it"
    assert "arXiv 2506.09985" in markdown(found)
    assert not any("2604.03208" in block for block, _ in said)


@pytest.mark.parametrize("one", [one for one in PUBLISHED if one.trials])
def test_published_rates_are_of_whole_trials(one):
    for rate in one.rates.values():
        assert rate * one.trials == pytest.approx(round(rate * one.trials))


def test_a_single_goal_image_has_a_column_and_published_rows_of_its_own():
    tasks = ["pick_place_cup", "pick_place_cup:single"]
    found = comparison({("train", tasks[1], "planning"): episodes(0, 10)}, tasks=tasks)
    head, said = table(found)
    assert head[2:4] == ["Pick-&-place cup", "Pick-&-place cup, 1 image"]
    assert said["real robot (arXiv 2604.03208)", "V-JEPA 2-AC, two levels"][:2] == ["", "70 %"]
    assert said["train", "planning"][:2] == ["", "0 % (0-28)"]


def test_planning_below_its_proposals_is_said_with_a_paired_test():
    plan, proposals = episodes(3, 12), episodes(11, 12)
    found = comparison(
        {
            ("train", "reach", "planning"): plan,
            ("train", "reach", "inverse"): proposals,
            ("train", "reach", "no_proposals"): episodes(2, 12),
            ("train", "grasp_cup", "planning"): episodes(5, 5),
            ("train", "grasp_cup", "inverse"): episodes(6, 12),
        }
    )
    (said,) = found.remarks()
    pair = found.pair(Cell("reach", "train"), "planning", "inverse")
    assert (pair.episodes, pair.first, pair.second) == (12, 3, 11)
    successes = [np.array([one.success for one in rows]) for rows in (plan, proposals)]
    assert pair.p_value == mcnemar(*successes)
    assert said.startswith("Lab train: planning has fewer successes than the proposals alone")
    assert f"Reach, 3 against 11 of 12 (p = {pair.p_value:.2g})" in said
    assert "Grasp" not in said, "on the seeds that both have done it does better"
    assert said in markdown(found)


def test_agents_without_a_seed_in_common_are_not_paired():
    first, second = episodes(1, 3), episodes(1, 6)[3:]
    outcomes = {("train", "reach", "planning"): first, ("train", "reach", "inverse"): second}
    assert comparison(outcomes).pair(Cell("reach", "train"), "planning", "inverse") is None


def test_a_cell_in_which_nothing_was_to_be_done_is_empty():
    outcomes = {
        ("train", "reach", "planning"): episodes(0, 3, solved=3),
        ("train", "grasp_cup", "planning"): episodes(1, 3),
    }
    _, said = table(comparison(outcomes))
    assert said["train", "planning"][:3] == ["", "33 % (6-79)", "3"]


def test_what_nobody_can_tell_is_left_open():
    (one,) = episodes(1, 1)
    far = Outcome(**{**vars(one), "final_distance": None})
    figure = comparison({("train", "reach", "x"): [far]}).figure(Cell("reach", "train"), "x")
    assert figure.median_distance is None
    assert figure.evaluations is None


def test_seven_tasks_fit_into_a_terminal_and_more_are_not_cut_off(tmp_path):
    wide = [*SHORT, "pick_place_cup:single", "pick_place_box:single"]
    for tasks, most in ((SHORT, 80), (wide, 100)):
        outcomes = {
            (lab, task, agent): episodes(99, 100, solved=1, evaluations=[76800])
            for lab in ("train", "test")
            for task in tasks
            for agent in ("no_proposals", "expert")
        }
        found = comparison(outcomes, tasks, ("train", "test"))
        out = io.StringIO()
        show_comparison(Console(file=out, width=80, soft_wrap=True), found, tmp_path)
        shown = [line.rstrip() for line in out.getvalue().split("real robot")[0].splitlines()]
        assert max(map(len, shown)) <= most
        assert out.getvalue().count("100 %") >= 4 * len(tasks)
        assert "76800" in out.getvalue()
        assert "…" not in out.getvalue()


def test_results_are_kept_for_machines_too(tmp_path):
    found = comparison({("train", "reach", "planning"): episodes(3, 4, evaluations=[8])})
    write_comparison(found, tmp_path)
    said = json.loads((tmp_path / "results.json").read_text())
    (figure,) = said["figures"]
    assert (figure["task"], figure["agent"], figure["rate"]) == ("reach", "planning", 0.75)
    assert figure["median_distance"] == pytest.approx(0.015)
    assert said["settings"] == {"num_envs": 2}
    assert (tmp_path / "table.md").read_text() == markdown(found)


def test_an_episode_is_read_as_it_was_written():
    (one,) = episodes(1, 1, evaluations=[8], seconds=[0.5])
    assert Outcome.from_line(one.to_line()) == one
    with pytest.raises(ValueError, match="seed"):
        Outcome.from_line("{}")


def test_a_task_of_somebody_elses_is_called_by_its_own_name():
    assert title("mine/Stack-v0") == "mine/Stack-v0"
