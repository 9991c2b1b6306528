"""`tuimon status`: a line per live run, and an exit status that a script can trust."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tuimon.cli import main
from tuimon.record import status
from tuimon.record.events import EventWriter
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogWriter, Row


def a_run(*, alive=True, severity="", ended="", steps=40, ago=0.0):
    run = create_run("one")
    process = identity() if alive else ProcessIdentity(2**22 - 3, 1.0, boot_id(), identity().host)
    run.write_info(RunInfo("one", process, started=time.time(), total_steps=100))
    events = EventWriter(run.events, 1)
    events.append("attempt", 0, 0.0, {})
    events.append("state", 0, 0.0, {"state": "running"})
    if severity:
        events.append("incident", 3, 0.0, {"rule": "x", "severity": severity, "change": "opened", "onset_step": 3, "headline": "Exploding gradients"})
    if ended:
        events.append("end", 40, 0.0, {"state": ended})
    events.close()
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    log.append([Row(i, time.time() - ago, {"loss": 2.5, "step_time": 30.0 if i == 7 else 2.0}) for i in range(1, steps + 1)])
    log.close()
    return run


@pytest.mark.parametrize(("kind", "words", "expected"), [
    ({}, [], 0), ({"severity": "warning"}, [], 0), ({"severity": "warning"}, ["--fail-on", "warning"], 3), ({"severity": "critical"}, [], 3),
    ({"alive": False}, [], 4), ({"alive": False}, ["one"], 3), ({"alive": False, "ended": "finished"}, ["one"], 4), ({"ended": "crashed"}, ["one"], 3),
    ({}, ["no-such-run"], 2),
])
def test_the_exit_status_says_whether_somebody_should_look(kind, words, expected):
    a_run(**kind)
    assert main(["status", *words]) == expected


def test_a_line_tells_how_far_it_is_how_long_it_takes_and_what_is_wrong(capsys):
    run = a_run(severity="critical")
    main(["status"])
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["run", "state", "step", "ETA", "loss", "age", "verdict"]
    assert line.startswith(run.name)
    assert "running  40/100  2:00" in line
    assert "critical: Exploding gradients since step 3" in line


def test_json_is_one_object_a_line_with_who_was_told(capsys):
    run = a_run(severity="critical")
    notices = EventWriter(run.notices, 1)
    notices.append("watching", 0, 0.0, {"to": ["webhook host"]})
    notices.append("failed", 3, 0.0, {"to": "webhook host", "why": "HTTP 404 Not Found"})
    main(["status", "--json"])
    body = json.loads(capsys.readouterr().out)
    assert (body["run"], body["step"], body["eta_seconds"], body["verdict"], body["since_step"]) == (run.name, 40, 120.0, "critical", 3)
    assert body["notify"] == {"to": ["webhook host"], "sent": 0, "trouble": "webhook host: HTTP 404 Not Found"}


def test_a_run_of_which_no_step_is_known_is_not_called_healthy(capsys):
    a_run(steps=0)
    for command in ("status", "runs"):
        main([command])
        assert "nothing measured" in capsys.readouterr().out
        main([command, "--json"])
        assert json.loads(capsys.readouterr().out)["verdict"] is None


def test_a_run_whose_disk_is_full_is_told_as_such_and_no_more_once_there_is_room(capsys, monkeypatch):
    a_run(ago=60.0)
    for is_full in (True, False):
        monkeypatch.setattr(status, "is_full", lambda path, is_full=is_full: is_full)
        for command in ("status", "runs"):
            main([command, "--json"])
            assert json.loads(capsys.readouterr().out)["disk_full"] is is_full
            main([command])
            assert ("the disk with this run is full" in capsys.readouterr().out) is is_full


def test_a_run_that_was_written_to_just_now_has_room_however_little_there_is(capsys, monkeypatch):
    a_run()
    monkeypatch.setattr(status, "is_full", lambda path: True)
    main(["status"])
    assert "full" not in capsys.readouterr().out


def test_it_loads_neither_torch_nor_textual():
    code = "import sys; from tuimon.cli import main; main(['status']); assert not {'torch', 'textual'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_nobody_to_tell_is_said_with_what_to_write_and_a_test_says_what_came_of_it(capsys, monkeypatch):
    assert main(["notify"]) == 2
    assert "[notify]" in capsys.readouterr().err
    monkeypatch.setenv("TUIMON_NOTIFY", "true\nfalse")
    assert main(["notify", "show"]) == 0
    assert main(["notify", "test"]) == 2
    said = capsys.readouterr().out
    assert "command true: arrived" in said
    assert "command false: not arrived: exit status 1" in said
