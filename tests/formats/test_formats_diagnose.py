"""`tuimon diagnose` on whatever a person names: one log, several, a folder, a run of ours, none of these."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tuimon.cli import main
from tuimon.diagnosis.model import Diagnosis, Incident, RunContext
from tuimon.formats import Reading, chunk_of, layers_of
from tuimon.formats.judged import Judged, find
from tuimon.record.rundir import create_run
from tuimon.record.segments import LogWriter, Row

HERE = Path(__file__).parent / "data"
SCHEMA = {"schema", "source", "steps", "state", "verdict", "incidents", "not_evaluated"}


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """A folder with a sick, a calm and a broken log, in which the person stands."""
    monkeypatch.chdir(tmp_path)
    def lines(values, every=1):
        return "step,loss\n" + "".join(f"{i * every},{v}\n" for i, v in enumerate(values))
    calm = [2 + 3 * math.exp(-i / 40) + 0.03 * math.sin(i * i) for i in range(150)]
    Path("calm.csv").write_text(lines(calm, every=10))
    Path("sick.csv").write_text(lines([*calm[:100], *["nan"] * 20]))
    Path("broken.csv").write_text("step,loss\n1,x\n")
    return tmp_path


def test_one_log_is_judged_in_words_with_what_was_understood(logs, capsys):
    assert main(["diagnose", "calm.csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["healthy after 1490 steps", "note: logged every 10 steps: what happens between is not seen"]
    assert main(["diagnose", "sick.csv"]) == 3
    assert "T201 critical open, since step 100: Non-finite values" in capsys.readouterr().out


def test_one_log_gives_the_json_object_of_the_schema(logs, capsys):
    assert main(["diagnose", "sick.csv", "--json"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert body.keys() == SCHEMA | {"kind", "logged_every", "columns", "notes", "labels"}
    assert (body["schema"], body["source"], body["steps"], body["verdict"], body["state"]) == (1, "sick.csv", 119, "critical", "unknown")
    assert (body["kind"], body["logged_every"], body["columns"], body["notes"]) == ("csv", 1, {"loss": "loss"}, [])
    assert body["incidents"][0]["rule"] == "non-finite"


def test_several_logs_are_a_table_worst_first_and_one_that_cannot_be_read_is_said(logs, capsys):
    assert main(["diagnose", "calm.csv", "broken.csv", "gone.csv", "sick.csv"]) == 3
    told = capsys.readouterr()
    assert [line.split()[:2] for line in told.out.splitlines()] == [["log", "verdict"], ["sick.csv", "critical"], ["calm.csv", "healthy"]]
    assert told.err.splitlines() == ["tuimon: gone.csv: cannot be read: No such file or directory",
                                     "tuimon: broken.csv: line 2, column 'loss': 'x' is not a number"]
    assert main(["diagnose", "calm.csv", "broken.csv"]) == 2
    assert main(["diagnose", "calm.csv", "calm.csv"]) == 0


def test_several_logs_as_json_are_one_object_a_line(logs, capsys):
    assert main(["diagnose", ".", "--json"]) == 3
    bodies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(b["source"], b["verdict"]) for b in bodies] == [("./sick.csv", "critical"), ("./calm.csv", "healthy")]


def test_a_tree_of_runs_is_judged_one_by_one(capsys):
    assert main(["diagnose", str(HERE / "tfevents")]) == 3
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {Path(row.split()[0]).name for row in rows} == {"one", "resumed", "tensors"}
    assert all(row.split()[1] == "critical" for row in rows)


@pytest.mark.parametrize(("line", "says"), [
    (["diagnose", "broken.csv"], "broken.csv: line 2, column 'loss': 'x' is not a number"), (["diagnose", "gone.csv"], "gone.csv: cannot be read"),
    (["diagnose", "./gone"], "./gone: cannot be read"), (["diagnose", "gone"], "no run named 'gone'"), (["diagnose", "empty"], "without logs of a training"),
    (["diagnose"], "no runs under"), (["diagnose", "bad\x1b[2Jname.csv"], "badname.csv"),
])
def test_what_cannot_be_judged_is_one_line_and_status_2(line, says, logs, capsys):
    (logs / "empty").mkdir()
    assert main(line) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert (told.err.count("\n"), told.out, "\x1b" in told.err) == (1, "", False)


def test_a_run_of_ours_is_found_by_name_though_a_folder_is_called_so(logs, capsys):
    run = create_run("mine")
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    writer.append([Row(i, float(i), {"loss": 1.0}) for i in range(1, 51)])
    writer.close()
    (logs / "mine").mkdir()
    for name in ("mine", run.name, str(run.path), str(next(run.metrics.iterdir()))):
        assert [source.path for source in find([name])[0]] == [str(run.path)]
        assert main(["diagnose", name, "--json"]) == 0
        body = json.loads(capsys.readouterr().out)
        assert (body["source"], body["kind"], body["steps"], body["logged_every"]) == (run.name, "run", 50, None)


def test_fail_on_counts_for_the_worst_of_all(logs, capsys):
    Path("spike.csv").write_text("loss\n" + "".join(f"{2 + 0.01 * math.sin(i * i) + (0.4 if 150 <= i < 190 else 0)}\n" for i in range(190)))
    assert main(["diagnose", "spike.csv", "calm.csv"]) == 0
    assert main(["diagnose", "spike.csv", "calm.csv", "--fail-on", "warning"]) == 3
    assert main(["diagnose", "sick.csv", "--rules", "notebook"]) == 3


def test_one_critical_incident_is_worse_than_two_warnings_and_an_info_worse_than_none():
    def judged(*severities):
        incidents = tuple(
            Incident("r", "T1", "loss", s, "open", 1, 1, None, None, "low", "", "", (), (), "") for s in severities)
        return Judged(Reading("a", "csv", (), RunContext()), replace(Diagnosis.nothing(), incidents=incidents)).badness
    worst_first = [judged("critical"), judged("warning", "warning"), judged("warning"), judged("info", "info"), judged("info"), judged()]
    assert worst_first == sorted(worst_first, reverse=True)
    assert len(set(worst_first)) == 6


def test_records_of_a_test_become_a_chunk_as_they_are():
    records = [{"step": 5, "loss": 2.0, "g": {"a": 1.0}, "upd": {"a": 0.1}}, {"step": 3, "loss": None, "train/lr": 0.1}, {"loss": "inf"}, {"step": 3, "val": 1}]
    chunk = chunk_of(records)
    assert chunk.steps.tolist() == [5, 3, 3, 3]
    assert chunk.measured("loss")[1].tolist() == [2.0, math.inf]
    assert chunk.measured("lr")[0].tolist() == [3]
    assert chunk.measured("val_loss")[1].tolist() == [1.0]
    assert (chunk.tensors.steps.tolist(), chunk.tensors.grad.tolist()) == ([5], [[1.0]])
    assert chunk.tensors.update[0, 0] == pytest.approx(0.1)
    assert layers_of(records).layers == {"a": (0,)}
