"""The command line without a screen: one line for what cannot be done, and what `runs` says."""

from __future__ import annotations

import time

import pytest

from tuimon.cli import main
from tuimon.record.rundir import Launch, create_run


@pytest.mark.parametrize(("line", "says"), [
    (["demo", "exploding", "--lr", "abc"], "--lr: invalid float value: 'abc'"),
    (["demo", "exploding", "--seed", "x"], "--seed: invalid int value: 'x'"),
    (["demo", "exploding", "--size", "huge"], "invalid choice: 'huge'"),
    (["demo", "exploding", "--frobnicate"], "--frobnicate"),
    (["nonsense"], "invalid choice: 'nonsense'"),
    (["demo", "nonsense"], "known: healthy"),
    (["demo", "exploding", "--steps", "-3"], "--steps"),
    (["diagnose", "nope"], "no run named 'nope'"),
])
def test_what_cannot_be_done_is_said_in_one_line_with_status_2(line, says, capsys):
    try:
        status = main(line)
    except SystemExit as left:
        status = left.code
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("tuimon: ")
    assert says in said
    assert said.count("\n") == 1


def test_a_run_without_a_step_is_not_called_healthy(capsys):
    run = create_run("healthy")
    run.write_launch(Launch(run.name, "healthy", "", 50, 1, time.time() - 3600, None))
    assert main(["runs"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "died" in row
    assert row.endswith("nothing measured")
