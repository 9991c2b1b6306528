"""What is odd in a run is exported as it is, or passed over, and breaks nothing; a mirror is of one run only."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from exported import STARTED, TENSORS, Run, logged

from tuimon.errors import UsageError
from tuimon.formats.exports.export import FORMATS, Wish, export
from tuimon.formats.exports.mirror import Mirror
from tuimon.formats.sources import only
from tuimon.record.chunk import TensorRows
from tuimon.record.layered import LayerGroups
from tuimon.record.segments import Row, TensorRow
from tuimon.record.tensors import TensorTable


def lines(run, tmp_path):
    export(only(str(run.dir.path)), Wish("jsonl", str(tmp_path / "x.jsonl"), events=True))
    return [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]


def test_events_of_one_step_stand_in_the_order_in_which_they_happened(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 3)
    for kind in ("command", "rescue", "rollback", "override"):
        run.events.append(kind, 2, STARTED + 2, {})
    told = [one.get("tuimon_event", {}).get("kind", one["step"]) for one in lines(run, tmp_path)]
    assert told == [1, 2, "command", "rescue", "rollback", "override", 3]


def test_what_happened_to_an_attempt_behind_its_last_row_stands_before_the_next_attempt(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 5)
    run.events.append("end", 8, STARTED + 8, {"state": "crashed"})
    run.begin(4)
    run.steps(5, 10)
    run.events.append("note", 6, STARTED + 9, {"text": "again"})
    told = [(one["attempt"], one.get("tuimon_event", {}).get("kind", one["step"])) for one in lines(run, tmp_path)]
    assert told == [*((1, step) for step in range(1, 6)), (1, "end"), (2, 5), (2, 6), (2, "note"), *((2, step) for step in range(7, 11))]


@pytest.mark.parametrize("form", FORMATS)
def test_a_clock_that_is_no_number_breaks_no_export(tmp_path, form):
    pytest.importorskip("pyarrow")
    run = Run(tmp_path)
    run.log.append([Row(1, math.nan, {"loss": 1.0}), Row(2, math.inf, {"loss": 2.0}), Row(3, STARTED, {"loss": 3.0})])
    done = export(only(str(run.dir.path)), Wish(form, str(tmp_path / f"x.{form}")))
    assert done.rows == 3
    if form == "csv":
        assert (tmp_path / "x.csv").read_text() == f"step,time,loss\n1,,1.0\n2,,2.0\n3,{STARTED},3.0\n"
    if form == "jsonl":
        assert [json.loads(line).get("time") for line in (tmp_path / "x.jsonl").read_text().splitlines()] == [None, None, STARTED]


@pytest.mark.parametrize("form", FORMATS)
def test_names_that_are_no_text_break_no_export(tmp_path, form):
    pytest.importorskip("pyarrow")
    name = "\ud800\x1b]0;x\x07"
    log = logged(tmp_path / "log.jsonl", [{"step": step, "loss": 1.0, "layer_grad_norm": {name: 0.5, "a": 1.0}} for step in (1, 2)])
    export(only(log), Wish(form, str(tmp_path / f"x.{form}"), layers=True))
    if form == "sqlite":
        with closing(sqlite3.connect(tmp_path / "x.sqlite")) as base:
            assert base.execute("SELECT count(DISTINCT layer), sum(value) FROM tensors").fetchone() == (2, 3.0)
    run = Run(tmp_path / "runs")
    run.steps(1, 2)
    with run.dir.events.open("a") as file:
        file.write(json.dumps({"seq": 0, "time": 1.0, "attempt": 1, "step": 1, "kind": name, name: name}) + "\n")
    export(only(str(run.dir.path)), Wish(form, str(tmp_path / f"y.{form}"), events=FORMATS[form].tells))


def test_a_long_name_that_the_disk_takes_is_taken(tmp_path):
    target = tmp_path / ("学" * 82 + ".csv")
    export(only(logged(tmp_path / "log.jsonl", [{"step": 1, "loss": 1.0}])), Wish("csv", str(target)))
    assert target.read_text() == "step,time,loss\n1,,1.0\n"


def mirrored(tmp_path):
    """A run of five steps, and what mirrored them."""
    run = Run(tmp_path)
    run.steps(1, 5)
    mirror = Mirror(run.dir, str(tmp_path / "tb"))
    mirror.turn()
    return run, mirror


def test_a_mirror_is_not_gone_on_with_another_run_of_the_same_name(tmp_path):
    run, first = mirrored(tmp_path)
    shutil.rmtree(run.dir.path)
    run = Run(tmp_path)
    run.steps(1, 3, lr=1.0)
    run.log.append([Row(step, STARTED + 99 + step, {"loss": 9.0}) for step in range(4, 9)])
    with pytest.raises(UsageError, match="took the place of the one that is mirrored"):
        first.turn()
    first.close()


def test_a_mirror_that_is_started_again_knows_its_run(tmp_path):
    run, first = mirrored(tmp_path)
    first.close()
    shutil.rmtree(run.dir.path)
    run = Run(tmp_path)
    run.log.append([Row(step, STARTED + 1000 + step, {"loss": 9.0}) for step in range(1, 9)])
    second = Mirror(run.dir, str(tmp_path / "tb"))
    with pytest.raises(UsageError, match="mirrors another run of that name; name another directory"):
        second.turn()
    second.close()


def test_a_layers_update_ratio_is_the_one_on_the_screen(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 3)
    updates = np.array([0.1, 0.4, math.nan], np.float32)
    run.log.append([TensorRow(2, np.ones(3, np.float32), np.ones(3, np.bool_), updates)])
    run.steps(4, 4)
    export(only(str(run.dir.path)), Wish("jsonl", str(tmp_path / "x.jsonl"), layers=True))
    (told,) = [one["layer_update_ratio"] for line in (tmp_path / "x.jsonl").read_text().splitlines() if "layer_update_ratio" in (one := json.loads(line))]
    shown, there = LayerGroups.of(TensorTable(TENSORS)).update_ratio(TensorRows(np.array([2]), updates[None], updates[None], np.ones((1, 3), np.bool_)))
    assert told == pytest.approx({"blocks.0": 0.2})
    assert (shown[there].tolist(), there.tolist()) == (pytest.approx(list(told.values())), [[True, False]])
