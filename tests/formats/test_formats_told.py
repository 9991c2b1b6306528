"""What `tuimon diagnose` says of one log: one event is one paragraph, with what to do about it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from tuimon.diagnosis.judging import judge
from tuimon.diagnosis.model import Diagnosis, Incident, NotEvaluated, RunContext
from tuimon.formats import Reading, read
from tuimon.formats.judged import Judged
from tuimon.formats.told import told
from tuimon.record.events import EventWriter
from tuimon.record.rundir import create_run
from tuimon.record.segments import LogWriter, Row


def incident(rule, onset, resolved=None, cause=None, layer=None):
    state = "open" if resolved is None else "resolved"
    return Incident(rule, "T1", "loss", "warning", state, onset, onset, resolved, layer, "high", rule, "Why.",
                    (f"mend {rule}", "then wait"), (), rule, cause=cause)


def lines(*incidents, waiting=()):
    diagnosis = replace(Diagnosis.nothing(), steps=1500, incidents=incidents, not_evaluated=waiting)
    return list(told(Judged(Reading("a", "csv", (), RunContext()), diagnosis)))[1:]


def test_signs_stand_below_their_cause_and_what_to_do_is_said_once():
    assert lines(incident("divergence", 90, cause="exploding-gradients"), incident("exploding-gradients", 1200, layer="b1")) == [
        "T1 warning open, since step 90: divergence. Why. (confidence high)", "    1. mend divergence", "    2. then wait",
        "T1 warning open, since step 1,200 in b1: exploding-gradients. Why. (confidence high)", "    1. mend exploding-gradients", "    2. then wait"]
    assert lines(incident("divergence", 1203, cause="exploding-gradients"), incident("exploding-gradients", 1200)) == [
        "T1 warning open, since step 1,200: exploding-gradients. Why. (confidence high)", "    1. mend exploding-gradients", "    2. then wait",
        "  T1 warning open, since step 1,203: divergence. Why. (confidence high)"]


def test_what_outlived_its_cause_keeps_its_own_advice():
    assert lines(incident("loss-spike", 101, cause="exploding-gradients"), incident("exploding-gradients", 100, 150)) == [
        "T1 warning resolved, step 100 to 150: exploding-gradients. Why. (confidence high)",
        "  T1 warning open, since step 101: loss-spike. Why. (confidence high)", "      1. mend loss-spike", "      2. then wait"]


def test_rules_that_wait_for_the_same_are_one_line():
    waiting = (NotEvaluated("plateau", ("9 more losses",)), NotEvaluated("detached-layer", ("tensors", "x")), NotEvaluated("not-updating", ("tensors", "x")))
    assert lines(waiting=waiting) == [
        "not evaluated for want of 9 more losses: plateau", "not evaluated for want of tensors, x: detached-layer, not-updating"]


def layers(tmp_path, value):
    path = tmp_path / "layers.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": 2 + math.exp(-i / 50), "layer_grad_norm": {"a": value if i > 100 else 1.0, "b": 1.0, "c": 1.0}}) + "\n" for i in range(300)))
    found = read(path)
    return {i.rule: i.layer for i in judge(found.chunks, found.context).incidents if i.severity != "info"}


def test_a_layer_that_was_not_logged_is_not_cut_off_and_one_that_is_nan_is_told(tmp_path):
    assert layers(tmp_path, None) == {}
    assert layers(tmp_path, "NaN") == {"non-finite": "a"}


def test_what_a_run_says_is_missing_from_its_log_is_told_with_the_reason(tmp_path):
    run = create_run("full", tmp_path)
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    for step, why in ((1, "No space left on device"), (900, "No space left on device"), (1300, "the writer was held up")):
        log.append([Row(step, float(step), {"loss": 2.0})])
        log.gap(602, why)
    log.close()
    events = EventWriter(run.events, 1)
    events.append("gap", 1300, 0.0, {"rows": 700, "why": "No space left on device"})
    events.append("end", 1300, 0.0, {"state": "finished"})   # of rows that came before, the log tells itself
    found = list(told(Judged(read(run.path), Diagnosis.nothing())))
    assert found[1:3] == ["note: 1,204 rows not recorded: disk full", "note: 602 rows not recorded: the writer was held up"]
    assert "the log ends" not in "".join(found)
    events.append("end", 2000, 0.0, {"state": "finished"})
    found = list(told(Judged(read(run.path), Diagnosis.nothing())))
    assert found[1] == "note: the log ends at step 1,300, the run at 2,000: disk full"
