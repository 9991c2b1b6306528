"""`tuimon plot`: metrics as pictures of characters, the same in a pipe and in ASCII, with what was not finite and where."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.viewer.synthetic import exploding
from tuimon.cli import main

DATA = Path(__file__).parent / "data"


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log that spikes for one step and ends in NaN, in the folder where the person stands."""
    monkeypatch.chdir(tmp_path)
    values = [2 + 2 * math.exp(-i / 50) + 0.02 * math.sin(i * i) for i in range(400)]
    values[200] = 6.0
    rows = [f"{i},{v},{math.exp(-i / 40)},{1e-3 * (1 - i / 800)}" for i, v in enumerate(values)]
    rows += [f"{400 + i},nan,nan,5e-4" for i in range(100)]
    Path("log.csv").write_text("\n".join(("step,train_loss,grad_norm,lr", *rows, "")))
    return "log.csv"


def printed(capsys, *arguments):
    assert main(["plot", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def inside(lines):
    """The rows between the axes."""
    return [found.group(1) for line in lines if (found := re.match(r"^[ \d.e-]*[|+](.*)\|$", line))]


def test_without_a_metric_it_is_the_loss_and_a_spike_of_one_step_is_seen(log, capsys):
    lines = printed(capsys, log, "--ascii", "--width", "80", "--height", "14")
    assert len(lines) == 14 + 2
    assert lines[0].split() == ["loss,", "last", "NaN", "or", "infinite,", "x:", "not", "finite,", "first", "at", "step", "400"]
    rows = inside(lines)
    assert "." in rows[0][25:35]
    assert set(rows[0]) <= set(" .x|")
    assert rows[0].count("x") == pytest.approx(len(rows[0]) / 5, abs=2)
    assert rows[0].rstrip().endswith("x")
    assert lines[-1] == "| 400  critical: Non-finite values"
    assert len({row.index("|") for row in rows[1:]}) == 1
    assert rows[1].index("|") == pytest.approx(0.8 * len(rows[1]), abs=2)


def test_a_pipe_gets_no_colour_and_ascii_is_ascii(log, capsys):
    plain = "\n".join(printed(capsys, log, "loss", "lr"))
    assert "\x1b" not in plain
    assert not plain.isascii()
    for more in ((), ("--overlay",), ("--log",)):
        assert "\n".join(printed(capsys, log, "loss", "lr", "--ascii", *more)).isascii()


def test_several_stand_below_each_other_or_over_each_other(log, capsys):
    apart = printed(capsys, log, "loss", "grad_norm", "lr", "--ascii", "--width", "60", "--height", "10")
    assert [line.strip().split(",")[0] for line in apart if "last" in line] == ["loss", "grad norm", "learning rate"]
    assert len(apart) == 3 * 10 + 2 + 2
    together = printed(capsys, log, "loss", "lr", "--overlay", "--ascii", "--width", "60", "--height", "12")
    assert together[0].strip() == "each over its own range"
    assert together[1].startswith("aa loss 2-6  bb learning rate 5e-4-1e-3")
    assert {"a", "b"} <= set("".join(inside(together)))


def test_axes_are_those_of_the_panel_unless_asked_otherwise(log, capsys):
    assert "log" in printed(capsys, log, "grad_norm", "--ascii")[0]
    assert "log" not in printed(capsys, log, "grad_norm", "--ascii", "--linear")[0]
    assert "log" in printed(capsys, log, "loss", "--ascii", "--log")[0]


def test_a_stretch_of_steps_is_drawn_from_end_to_end(log, capsys):
    lines = printed(capsys, log, "--ascii", "--first", "190", "--last", "210", "--height", "10")
    assert lines[0].strip() == f"loss, last {2 + 2 * math.exp(-210 / 50) + 0.02 * math.sin(210 * 210):.2f}"
    assert lines[-1].split() == ["190", "200", "210"]
    assert printed(capsys, log, "--ascii", "--last", "600")[-3].split()[-1] == "600"
    assert main(["plot", log, "--first", "20", "--last", "10"]) == 2
    assert capsys.readouterr().err == "tuimon: no steps from 20 to 10: there are 0 to 499\n"
    assert main(["plot", log, "--first", "900"]) == 2
    assert printed(capsys, log, "--ascii", "--first", "450")[0] == "loss, last NaN or infinite, x: not finite, first at step 450: nothing to draw"


def test_a_metric_that_is_not_there_is_one_line_that_names_those_that_are(log, capsys):
    assert main(["plot", log, "accuracy"]) == 2
    assert capsys.readouterr().err == "tuimon: no metric 'accuracy' in log.csv: it has grad_norm, loss, lr\n"
    assert printed(capsys, log, "train_loss", "--ascii")[0].strip().startswith("loss, last")


def test_a_run_of_ours_is_found_by_its_metric_alone(capsys):
    exploding()
    lines = printed(capsys, "grad_norm", "val_loss", "--ascii")
    assert lines[-1].startswith("| ")
    assert lines[-1].endswith("warning: Learning rate ran away from its schedule")
    assert [line.strip().split(",")[0] for line in lines if ", last" in line] == ["grad norm", "validation loss"]


@pytest.mark.parametrize("size", [("20", "6"), ("200", "60"), ("40", "8")])
def test_no_line_is_wider_or_picture_higher_than_asked(log, capsys, size):
    width, height = size
    lines = printed(capsys, log, "loss", "--width", width, "--height", height)
    assert len(lines) == int(height) + 2
    assert all(len(line) <= int(width) for line in lines[:-2])


def test_odd_sizes_and_several_runs_are_refused_in_one_line(log, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["plot", log, "--width", "2"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
