"""Which runs live is told as the list of runs tells it, from much less."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tuimon.record.events import EventWriter
from tuimon.record.liveness import identity
from tuimon.record.rundir import Launch, RunInfo, create_run
from tuimon.record.segments import LogWriter, Row
from tuimon.record.status import TAIL_BYTES, is_live, status


@pytest.fixture(scope="module")
def gone():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        who = identity(child.pid)
        child.kill()
    return who


RUNNING, FINISHED = ("state", {"state": "running"}), ("end", {"state": "finished"})
CASES = {
    # name: whose process attached, whose launched it, exit status seen, events
    "running": ("me", None, None, [RUNNING]),
    "finished in a process that lives": ("me", None, None, [RUNNING, FINISHED]),
    "died": ("gone", None, None, [RUNNING]),
    "launched, not attached": (None, "me", None, None),
    "launched, and gone before it attached": (None, "gone", 1, None),
    "launched again, the attempt before it died": ("gone", "me", None, [RUNNING]),
    "elsewhere, and heard of": ("elsewhere", None, None, [RUNNING]),
    "nobody has said whose it is": (None, None, None, None),
    "more events than are read": ("me", None, None, [RUNNING, *[("snapshot", {"snapshot_step": i}) for i in range(6000)]]),
    "ended by a signal that its starter saw": ("gone", "gone", -15, [RUNNING]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_live_if_its_status_says_so(tmp_path, gone, name):
    attached, launched, code, events = CASES[name]
    who = {"me": identity(), "gone": gone, "elsewhere": replace(identity(), host="elsewhere")}
    run = create_run("x", tmp_path)
    if launched:
        run.write_launch(Launch("x", "", "", None, 0, time.time(), who[launched], status=code))
    if attached:
        run.write_info(RunInfo("x", who[attached], started=time.time()))
    if events is not None:
        writer = EventWriter(run.events, 1)
        for kind, fields in [("attempt", {}), *events]:
            writer.append(kind, 3, 0.0, fields)
        writer.close()
        log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
        log.append([Row(1, time.time(), {"loss": 2.0})])
        log.beat(time.time(), 0.0, "running")
        log.close()
    if "more" in name:
        assert run.events.stat().st_size > TAIL_BYTES
    assert is_live(run) == status(run).is_live
    assert is_live(run) == (name in {"running", "launched, not attached", "elsewhere, and heard of", "more events than are read"})


def test_what_cannot_be_read_does_not_live(tmp_path):
    run = create_run("x", tmp_path)
    run.run_json.write_text("{")
    assert not is_live(run)
