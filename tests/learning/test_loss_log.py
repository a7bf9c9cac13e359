from pathlib import Path

from vjepa_gym.learning.loss_log import LossLog


def test_a_row_a_step_below_the_names(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "run" / "losses.csv", 0)
    log.add(1, {"loss": 0.5, "std": 1 / 3})
    log.add(2, {"loss": 0.25, "std": 2.0})
    text = (tmp_path / "run" / "losses.csv").read_text()
    assert text == "step,loss,std\n1,0.5,0.333333\n2,0.25,2\n"


def test_what_a_kill_undid_or_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("step,loss\n1,3\n2,2\n3,1\n4,0.")
    LossLog(path, 2).add(3, {"loss": 7.0})
    assert path.read_text() == "step,loss\n1,3\n2,2\n3,7\n"


def test_a_run_that_begins_anew_begins_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    for content in ("step,loss\n1,3\n", "step,lo", ""):
        path.write_text(content)
        LossLog(path, 0).add(1, {"loss": 7.0})
        assert path.read_text() == "step,loss\n1,7\n"


def test_metrics_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    log = LossLog(path, 0)
    log.add(1, {"loss": 3.0})
    log.add(2, {"loss": 2.0, "image": 5.0})
    log.add(3, {"image": 4.0, "loss": 1.0})
    log = LossLog(path, 2)
    log.add(3, {"loss": 1.5})
    log.add(4, {"rank": 7.0})
    assert path.read_text() == "step,loss,image,rank\n1,3,,\n2,2,5,\n3,1.5,,\n4,,,7\n"
