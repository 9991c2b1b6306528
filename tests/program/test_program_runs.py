"""`tuimon runs` and `tuimon compare` without a screen: tables, a query, JSON, one line for what cannot be."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time

import pytest

from tuimon.cli import main
from tuimon.cli.tables import print_table
from tuimon.record.events import EventWriter
from tuimon.record.label import Label, write_label
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogWriter, Row


def a_run(name: str, losses, *, lr=3e-4, ended="finished", incident=""):
    run = create_run(name)
    run.write_info(RunInfo(name, ProcessIdentity(2**22 - 3, 1.0, boot_id(), "elsewhere"), started=time.time() - 7200, optimizer="AdamW", argv=("train.py", "--lr", str(lr))))
    events = EventWriter(run.events, 1)
    events.append("attempt", 0, 0.0, {})
    if incident:
        events.append("incident", 3, 0.0, {"rule": "x", "severity": "critical", "change": "opened", "onset_step": 3, "headline": incident})
    if ended:
        events.append("end", len(losses), 0.0, {"state": ended})
    events.close()
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    log.append([Row(i, 1000.0 + i, {"loss": loss, "lr": lr, "val_loss": loss + 0.1}) for i, loss in enumerate(losses, 1)])
    log.close()
    return run


def test_runs_are_listed_as_a_table_with_what_a_person_called_them(capsys):
    run = a_run("one", [3.0, 2.0])
    write_label(run, Label("mine", "the good \x1b[31mone"))
    a_run("two", [3.0, math.nan], incident="NaN in the loss")
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "state", "age", "steps", "loss", "best", "val", "verdict"]
    one = next(line for line in lines if line.startswith("one-"))
    assert "finished" in one and "2 h" in one and "2.00" in one and "2.10" in one and one.endswith("healthy  (mine · the good one)")
    assert next(line for line in lines if line.startswith("two-")).endswith("critical: NaN in the loss")


def test_a_query_says_which(capsys):
    a_run("one", [3.0, 2.0])
    a_run("two", [3.0, 2.5], lr=3e-2)
    assert main(["runs", "lr>1e-3 age<1d"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("-")[0] for line in lines[1:]] == ["two"]
    assert main(["runs", "state:died"]) == 0
    assert "none of 2 runs match" in capsys.readouterr().out
    assert main(["runs", "--", "-two"]) == 0
    assert "one-" in capsys.readouterr().out
    assert main(["runs", "speed>3"]) == 2
    assert capsys.readouterr().err.startswith("tuimon: there is no speed; there are lr, loss")


def test_runs_as_json_are_one_strict_object_a_line(capsys):
    a_run("one", [3.0, math.inf], incident="Infinite loss")
    assert main(["runs", "--json"]) == 0
    body = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (body["schema"], body["state"], body["step"], body["loss"], body["verdict"], body["since_step"]) == (1, "finished", 2, "Infinity", "critical", 3)
    assert (body["best_val_loss"], body["best_val_step"], body["lr"], body["optimizer"]) == (3.1, 1, 3e-4, "AdamW")


def test_compare_prints_what_they_came_to_and_what_differs(capsys, tmp_path):
    one, two = a_run("first", [3.0, 2.0, 1.0]), a_run("two", [3.0, 2.5], lr=3e-2, incident="Plateau")
    write_label(one, Label("one"))
    log = tmp_path / "other.csv"
    log.write_text("step,loss\n1,3\n2,2.8\n")
    assert main(["compare", one.name, two.name, str(log)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["run", "state", "steps", "loss", "at", "2", "best", "val", "lr", "verdict"]
    assert rows[1][:6] == ["a", "one", "finished", "3", "1.00", "2.00"]
    assert rows[2][:6] == ["b", "two", "finished", "2", "2.50", "2.50"]
    assert rows[3][:4] == ["c", "other.csv", "log", "2"]
    assert "plateau since 3" in out
    assert ["--lr", "0.0003", "0.03", "–"] in rows
    assert "Best validation loss: a (one), 1.10; next b, 2.60." in out


@pytest.mark.parametrize(("names", "says"), [
    (["one"], "two to eight runs can be compared; this is one"), (["one", "nope"], "no run named 'nope'"), (["one", "one"], "two to eight runs can be compared; this is one"),
])
def test_what_cannot_be_compared_is_said_in_one_line(names, says, capsys):
    a_run("one", [3.0])
    assert main(["compare", *names]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_what_a_run_says_of_itself_does_not_reach_the_terminal_as_commands(capsys):
    run = create_run("odd")
    LogWriter(run.metrics, attempt=1, from_step=0, tensors=0).append([Row(1, time.time(), {"loss": 1.0})])
    run.write_info(RunInfo("odd", identity(), started=time.time()))
    events, evil = EventWriter(run.events, 1), "\x1b]0;mine\x07\x1b[31mred"
    events.append("attempt", 0, 1.0, {})
    events.append("state", 0, 1.0, {"state": evil})
    events.append("incident", 1, 1.0, {"rule": "x", "severity": evil, "headline": evil})
    assert main(["runs", "odd"]) == 0
    out = capsys.readouterr().out
    assert "red: red" in out
    assert out.replace("\n", "").isprintable()


def test_columns_of_wide_characters_stand_under_each_other(capsys):
    print_table([("name", "n"), ("学校", "1"), ("ab", "2")])
    assert capsys.readouterr().out == "name  n\n学校  1\nab    2\n"


@pytest.mark.parametrize(("line", "says"), [
    (["curve", "--total-steps", "many"], "--total-steps: many: a number of at least 1 is wanted"),
    (["curve", "--target", "low"], "--target: low: a finite number is wanted"),
    (["plot", "--width", "\x1b[31mwide"], "--width: wide: 6 to 1000 is wanted"),
])
def test_an_argument_that_is_none_is_said_in_words(line, says, capsys):
    with pytest.raises(SystemExit):
        main(line)
    assert capsys.readouterr().err == f"tuimon: {says}; see tuimon {line[0]} --help\n"


def test_a_fault_of_ours_is_told_without_commands_for_the_terminal(capsys, monkeypatch):
    def fails(_):
        raise RuntimeError("\x1b[31mred")

    monkeypatch.delenv("TUIMON_DEBUG", raising=False)
    monkeypatch.setattr("tuimon.cli.runs.run", fails)
    assert main(["runs"]) == 1
    assert capsys.readouterr().err == "tuimon: a fault of ours: RuntimeError: red (TUIMON_DEBUG=1 shows where)\n"


def test_an_output_that_knows_fewer_letters_gets_those_it_knows():
    write_label(a_run("plain", [1.0, 2.0]), Label("学 one", ""))
    done = subprocess.run([sys.executable, "-m", "tuimon", "runs"], capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "(? one)" in done.stdout
