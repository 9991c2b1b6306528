"""The helper, as a process beside a training process: real pipes, a real webhook on loopback, real deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from stub_hook import Hook
from writers import EventWriter, LogWriter

from tuimon.cli import main
from tuimon.notify import begin
from tuimon.notify.ledger import is_followed, lock, notices
from tuimon.notify.ranks import SILENT_S, Ranks
from tuimon.notify.wishes import wish
from tuimon.record.events import EventReader
from tuimon.record.liveness import identity
from tuimon.record.log import Row
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import RunDir, RunInfo, create_run

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0


def a_run(attempt=1, run=None, world=1):
    run = run or create_run("night")
    run.write_info(RunInfo("night", identity(), attempt=attempt, started=time.time(), world_size=world))
    return run, EventWriter(run.events, attempt)


def a_rank(run, rank, process, sign):
    """Seen last so many seconds ago."""
    run.write_rank(rank, {"rank": rank, "world": 3, "attempt": 1, "process": asdict(process)})
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0, rank=rank, world=3)
    log.append([Row(1, time.time(), {"loss": 2.0})])
    log.close()
    os.utime(segment_paths(run.metrics, rank)[-1], (time.time() - sign,) * 2)


def wishes(*targets, **table):
    return wish(list(targets), {}, {"notify": table})[0]


def incident(events, change="opened", rule="non-finite", severity="critical"):
    events.append("incident", 7, time.time(), {"change": change, "severity": severity, "rule": rule, "detected_step": 7, "headline": "Non-finite values", "why": "NaN"})


def until(condition):
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    return found


def lines(run: RunDir):
    return EventReader(run.notices).poll()


def helpers(run: RunDir):
    return [p for p in psutil.process_iter(["cmdline"]) if {"tuimon.notify", str(run.path)} <= set(p.info["cmdline"] or [])]


@pytest.fixture(autouse=True)
def _no_helper_outlives_its_test():
    yield
    begin.farewell(DEADLINE)


def test_a_person_is_told_of_an_incident_its_end_and_the_crash_and_no_secret_is_left_anywhere():
    with Hook() as hook:
        run, events = a_run()
        begin.begin(run, 1, wishes(hook.url))
        incident(events)
        first = hook.next()["body"]
        assert (first["headline"], first["run"], first["host"]) == ("Non-finite values (critical)", run.name, identity().host)
        (helper,) = helpers(run)
        assert "SECRET" not in " ".join(helper.cmdline()) + str(helper.environ())
        assert helper not in psutil.Process().children()   # a script that waits for its children does not wait for it
        incident(events, "resolved")
        events.append("end", 30, time.time(), {"state": "crashed", "error": "ValueError: no more data"})
        begin.farewell(DEADLINE)
        assert hook.next()["body"]["kind"] == "several"
        assert hook.got.empty()
    assert [line.kind for line in lines(run)] == ["watching", "sent", "sent"]
    assert notices(run, 1).targets == (f"webhook {hook.url.split('/')[2]}",)
    assert all(b"SECRET" not in path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    assert run.notices.stat().st_mode & 0o777 == 0o600
    until(lambda: not helpers(run))


def test_a_rank_that_dies_is_told_of_with_nobody_there_to_see_it():
    with Hook() as hook:
        run, events = a_run(world=3)
        for rank, process in enumerate([identity(), replace(identity(), pid=2**22 - 3, started=1.0, since_boot=1.0), identity()]):
            a_rank(run, rank, process, 0.0)
        begin.begin(run, 1, wishes(hook.url))
        body = hook.next()["body"]
        assert (body["kind"], body["severity"], body["headline"]) == ("rank", "critical", "Rank 1 died")
        events.append("end", 30, time.time(), {"state": "finished"})
        begin.farewell(DEADLINE)
        assert hook.got.empty()   # those of a run that has ended are not there, as they should


def test_a_rank_is_lost_where_it_died_or_has_been_silent_for_long_and_not_where_it_never_came():
    run, _ = a_run(world=4)
    elsewhere = replace(identity(), host="node7", boot_id="another")
    for rank, sign in enumerate((0.0, SILENT_S + 20, SILENT_S - 20)):
        a_rank(run, rank, elsewhere, sign)
    ranks = Ranks(run, run.read_info())
    assert [(rank, one.state, one.host) for rank, one in ranks.look(0.0)] == [(1, "silent", "node7")]
    assert ranks.look(1.0) is None   # not yet again
    assert ranks.look(1.0, is_last=True) == ()
    said = EventWriter(run.events_of(1), 1)
    said.append("end", 1, time.time(), {"state": "crashed", "error": "OSError: no"})
    said.close()
    assert [(rank, one.state, one.why) for rank, one in ranks.look(1.0, is_last=True)] == [(1, "crashed", "OSError: no")]


def test_a_target_that_hangs_keeps_neither_the_training_nor_the_others_waiting(tmp_path):
    with Hook(None) as hook:
        run, events = a_run()
        begin.begin(run, 1, wishes(hook.url, f"touch {tmp_path / 'told'}"))
        incident(events)
        until((tmp_path / "told").exists)
        events.append("end", 30, time.time(), {"state": "finished"})
        begin.farewell(0.0)   # as long as training gives it
        (helper,) = helpers(run)
        helper.kill()


_TRAINER = """
import os, sys, time
from tuimon.notify import begin
from tuimon.notify.ranks import SILENT_S, Ranks
from tuimon.notify.wishes import wish
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunDir, RunInfo
run = RunDir(__import__("pathlib").Path(sys.argv[1]))
run.write_info(RunInfo("night", identity(), started=time.time()))
begin.begin(run, 1, wish(sys.argv[2], {}, {})[0])
print("begun", flush=True)
sys.stdin.read()
"""


def test_a_training_that_is_killed_is_told_of_though_it_could_say_nothing():
    with Hook(503) as hook:   # and the first try is refused
        run = create_run("night")
        log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
        log.append([Row(41_000, time.time(), {"loss": 2.0})])   # no event says how far it has come
        log.close()
        trainer = subprocess.Popen([sys.executable, "-c", _TRAINER, str(run.path), hook.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True)
        assert trainer.stdout.readline() == "begun\n"
        until(lambda: lines(run))
        trainer.send_signal(signal.SIGKILL)
        assert trainer.wait(DEADLINE) == -signal.SIGKILL
        trainer.stdin.close()
        trainer.stdout.close()
        told = [hook.next(), hook.next()]
        assert [t["answer"] for t in told] == [503, 200]
        assert told[1]["body"]["headline"] == "Died at step 41,000"
    until(lambda: not helpers(run))
    assert [line.kind for line in lines(run)] == ["watching", "trying", "sent"]


def test_a_command_finds_the_python_path_of_the_training_as_it_was(tmp_path, monkeypatch):
    for path in ("/somewhere", ""):   # what is installed beside a training may be built for another Python
        monkeypatch.setenv("PYTHONPATH", path)
        run, events = a_run()
        begin.begin(run, 1, wishes(f"sh -c 'echo =$PYTHONPATH= >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/told'"))
        incident(events)
        events.append("end", 9, time.time(), {"state": "finished"})
        begin.farewell(DEADLINE)
        assert (tmp_path / "told").read_text() == f"={path}=\n"


def test_there_is_one_helper_per_run_and_what_was_told_is_not_told_again():
    with Hook() as hook:
        run, events = a_run()
        incident(events)
        for _ in range(2):
            begin.begin(run, 1, wishes(hook.url))
        assert hook.next()["body"]["kind"] == "incident"
        until(lambda: lines(run)[-1].kind == "sent")
        assert lock(run) is None
        helper = next(h for h in helpers(run) if h.pid == lines(run)[0].whole("pid"))
        helper.kill()   # nobody notices; the other one takes over
        until(lambda: [line.kind for line in lines(run)].count("watching") == 2)
        incident(events, rule="loss-spike")
        assert hook.next()["body"]["kind"] == "incident"
        events.append("end", 9, time.time(), {"state": "finished"})
        begin.farewell(DEADLINE)
        assert hook.got.empty()


def test_status_says_of_a_live_run_that_nobody_is_told_any_more(capsys):
    run, events = a_run()
    events.append("attempt", 0, time.time(), {})
    begin.begin(run, 1, wishes("true"))
    until(lambda: lines(run))
    assert main(["status"]) == 0
    assert "not told" not in capsys.readouterr().out
    (helper,) = helpers(run)
    helper.kill()   # as the kernel does where memory is short
    until(lambda: is_followed(run) is False)
    assert main(["status"]) == 0
    assert "[not told: the process that sends messages has gone]" in capsys.readouterr().out
    assert main(["status", run.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notify"]["trouble"]
    _, events = a_run(2, run)   # which nobody is to be told of
    events.append("attempt", 0, time.time(), {})
    assert main(["status"]) == 0
    assert "not told" not in capsys.readouterr().out


def test_another_attempt_has_a_helper_of_its_own_and_the_earlier_one_leaves():
    with Hook() as hook:
        run, events = a_run()
        begin.begin(run, 1, wishes(hook.url))
        until(lambda: lines(run))
        events.append("end", 9, time.time(), {"state": "finished"})
        _, events = a_run(2, run)
        events.append("attempt", 9, time.time(), {"number": 2})
        begin.begin(run, 2, wishes(hook.url))
        incident(events)
        assert hook.next()["body"]["kind"] == "incident"
        assert [line.attempt for line in lines(run) if line.kind == "watching"] == [1, 2]
        assert len(helpers(run)) == 1
        events.append("end", 9, time.time(), {"state": "finished"})


def test_a_helper_survives_ctrl_c_and_ends_with_a_directory_that_is_removed(tmp_path):
    run, _ = a_run()
    begin.begin(run, 1, wishes("true"))
    until(lambda: lines(run))
    (helper,) = helpers(run)
    assert os.getsid(helper.pid) != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGHUP):
        helper.send_signal(number)
    assert helper.is_running()
    run.path.rename(tmp_path / "moved")
    until(lambda: not helpers(run))
