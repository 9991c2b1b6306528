"""Who did what: every command leaves its line in events.jsonl, whoever it came from and whatever became of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
from steering_parts import ScriptedJudge, incident, rig, wait_for

from tuimon.control.commands import Command, Who
from tuimon.control.person import this_person
from tuimon.control.spool import submit
from tuimon.launch.process import Started
from tuimon.record.rundir import Launch

ADA = Who("ada", 4711, "desk", 7, "viewer", "pts/3", "10.0.0.9")


def _lines(run, **fields):
    return [e.fields for e in run.seen("command", **fields)]


def _told(run, command):
    return wait_for(lambda: _lines(run, id=command.id), command.verb)[-1]


def test_a_refused_command_is_told_as_fully_as_one_that_was_obeyed(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        late = Command("late", "set-clip", {"max_norm": 2.0}, 1, time.time() - 1e6, who=ADA)
        other = Command("other", "rollback", {"step": 0}, 7, time.time(), who=ADA)
        for command, why in ((late, "expired"), (other, "attempt 7")):
            submit(run.run.commands, command)
            told = _told(run, command)
            assert (told["verb"], told["args"], told["outcome"]) == (command.verb, dict(command.args), "refused")
            assert why in told["why"]
            assert told["who"] == {**ADA.fields(), "uid": os.geteuid()}
        good = run.delivered(run.ask("set-lr-scale", scale=0.5))
        submit(run.run.commands, Command(good.id, "stop", {}, 1, time.time(), who=ADA))
        twice = wait_for(lambda: _lines(run, verb="stop"), "the duplicate")[-1]
        assert (twice["outcome"], twice["why"], twice["who"]["user"]) == ("refused", "duplicate", "ada")


def test_what_is_no_command_is_told_with_whose_file_it_was(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        (run.run.commands / "new" / "odd").write_text("rubbish")
        told = wait_for(lambda: _lines(run, id="odd"), "the odd file")[0]
        assert (told["outcome"], told["who"]) == ("refused", {"uid": os.geteuid()})
        assert "malformed" in told["why"]


def test_where_commands_are_switched_off_even_a_forged_guard_is_refused_and_told(tmp_path):
    with rig(tmp_path, controls=False) as run:
        run.train(1)
        forged = Command("f1", "stop", {}, 1, time.time(), who=Who(origin="guard"))
        submit(run.run.commands, forged)
        told = wait_for(lambda: _lines(run, id="f1", outcome="refused"), "the refusal")[0]
        assert told["why"] == "this run was attached with controls=False"
        assert not run.steering.should_stop


def test_what_the_autopilot_does_is_told_as_its_own(tmp_path):
    judge = ScriptedJudge(lambda step, _marks: (incident(onset=5),) if step >= 5 else ())
    with rig(tmp_path, judge, on_critical="stop") as run:
        run.train(5)
        told = wait_for(lambda: _lines(run, verb="stop"), "the autopilot's stop")[0]
        assert told["who"] == this_person("guard").fields()


def test_ending_what_one_started_is_told_too(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        launch = Launch("x", "", "", None, 0, 0.0)
        with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
            Started(run.run, launch, process)._ask_to_stop()
        told = wait_for(lambda: _lines(run, verb="stop"), "the stop")[0]
        assert told["who"] == this_person("launch").fields()
        assert told["who"]["host"] != "?"


def test_over_ssh_the_line_says_where_it_came_from_and_who_it_is_is_not_a_matter_of_the_environment(monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 51234 10.0.0.1 22")
    monkeypatch.setenv("USER", "mallory")
    who = this_person("viewer")
    assert (who.ssh, who.origin, who.uid, who.pid) == ("10.0.0.9", "viewer", os.getuid(), os.getpid())


def test_the_terminal_is_named_also_by_a_process_that_has_closed_it():
    code = ("import os\nfrom tuimon.control.person import terminal\nfor fd in (0, 2): os.close(fd)\n"
            "os.write(1, terminal().encode())")
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs).removeprefix("/dev/")
    child = subprocess.run(
        [sys.executable, "-c", ("import fcntl, termios, sys, os, subprocess\n"
         f"fcntl.ioctl({theirs}, termios.TIOCSCTTY, 0)\n"
         "print(subprocess.run([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE).stdout.decode())"), code],
        pass_fds=(theirs,), start_new_session=True, stdout=subprocess.PIPE, text=True)
    os.close(ours)
    os.close(theirs)
    assert child.stdout.strip() == name
    alone = [sys.executable, "-c", "from tuimon.control.person import terminal; print(repr(terminal()))"]
    assert subprocess.run(alone, start_new_session=True, stdout=subprocess.PIPE, text=True).stdout.strip() == "''"
