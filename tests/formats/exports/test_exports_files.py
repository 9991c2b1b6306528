"""An export is there whole or not at all, says in one line what it cannot do, and tells what happened in its place."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from exported import STARTED, Run, again, logged

from tuimon.cli import main
from tuimon.cli.export import told_to_go
from tuimon.errors import LogError, UsageError
from tuimon.formats import read
from tuimon.formats.exports.export import FORMATS, Wish, export
from tuimon.formats.exports.titles import titles
from tuimon.formats.place import placed
from tuimon.formats.sources import only

ROWS = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": float("nan"), "grad_norm": 1.0}, {"step": 4, "loss": float("-inf")}]


@pytest.fixture
def log(tmp_path):
    return logged(tmp_path / "log.jsonl", ROWS)


def test_a_csv_has_empty_cells_and_words(log, tmp_path):
    again(log, "csv", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "step,time,loss,grad_norm\n1,,2.5,\n2,,nan,1.0\n4,,-inf,\n"


def test_json_lines_hold_only_what_was_measured_and_are_strict(log, tmp_path):
    again(log, "jsonl", tmp_path / "x.jsonl")
    never = lambda word: pytest.fail(f"{word} is no JSON")
    assert [json.loads(line, parse_constant=never) for line in (tmp_path / "x.jsonl").read_text().splitlines()] == [
        {"step": 1, "loss": 2.5}, {"step": 2, "loss": "NaN", "grad_norm": 1.0}, {"step": 4, "loss": "-Infinity"}]


def test_rows_in_which_nothing_wanted_was_measured_are_left_out(log, tmp_path):
    back = again(log, "csv", tmp_path / "x.csv", metrics=("grad_norm",))
    assert [chunk.steps.tolist() for chunk in back.chunks] == [[2]]
    with pytest.raises(UsageError, match=r"never measured in .*: 'lr'; there are: loss, grad_norm"):
        again(log, "csv", tmp_path / "x.csv", metrics=("lr",))


def test_a_file_that_is_there_stays_unless_forced(log, tmp_path):
    target = tmp_path / "x.csv"
    target.write_text("mine")
    with pytest.raises(UsageError, match="is there already; --force replaces it"):
        export(only(log), Wish("csv", str(target)))
    assert target.read_text() == "mine"
    export(only(log), Wish("csv", str(target), force=True))
    assert target.read_text().startswith("step")
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_file_that_came_in_the_meantime_stays(tmp_path):
    target = tmp_path / "x.csv"
    with pytest.raises(UsageError, match="is there already"), placed(str(target), force=False):
        target.write_text("of another program")
    assert target.read_text() == "of another program"
    assert os.listdir(tmp_path) == ["x.csv"]


def test_an_export_that_breaks_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), placed(str(tmp_path / "x"), force=False):
        raise RuntimeError
    with pytest.raises(UsageError, match="x: cannot be written: No space left on device"), placed(str(tmp_path / "x"), force=False):
        raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_an_export_that_is_told_to_go_leaves_nothing(tmp_path):
    with pytest.raises(SystemExit) as told, told_to_go(), placed(str(tmp_path / "x"), force=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert told.value.code == 128 + signal.SIGTERM
    assert not os.listdir(tmp_path)


def test_permissions_are_those_of_any_file_of_the_user(log, tmp_path):
    before = os.umask(0o027)
    try:
        export(only(log), Wish("csv", str(tmp_path / "x.csv")))
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "x.csv").st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("output", "why"), [
    ("nowhere/x.csv", "there is no directory"), ("pipe", "is no regular file"),
])
def test_no_place_for_a_file_is_one_line(log, tmp_path, output, why):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=why):
        export(only(log), Wish("csv", str(tmp_path / output), force=True))


def test_a_directory_gets_a_file_named_after_the_log(log, tmp_path):
    (tmp_path / "out").mkdir()
    for form in ("csv", "sqlite", "tfevents"):
        export(only(log), Wish(form, str(tmp_path / "out")))
    assert sorted(os.listdir(tmp_path / "out")) == ["log.csv", "log.sqlite", "log.tfevents"]


def test_formats_say_what_they_cannot_hold(log, tmp_path):
    for form in FORMATS.values():
        wish = Wish(form.name, str(tmp_path / f"y{form.ending}"), events=True)
        if not form.tells:
            with pytest.raises(UsageError, match="jsonl, sqlite, tfevents take them"):
                export(only(log), wish)
        if not form.streams:
            with pytest.raises(UsageError, match="no stream; name a file"):
                export(only(log), Wish(form.name, "-"))
    with pytest.raises(UsageError, match="TensorBoard only reads files with tfevents in their names"):
        export(only(log), Wish("tfevents", str(tmp_path / "x.log")))


def test_what_goes_to_standard_output_is_what_goes_to_a_file(log, tmp_path):
    for form in ("csv", "jsonl"):
        stream = io.BytesIO()
        assert export(only(log), Wish(form, "-"), stdout=stream).rows == 3
        export(only(log), Wish(form, str(tmp_path / form)))
        assert stream.getvalue() == (tmp_path / form).read_bytes()


def test_what_a_live_run_logs_meanwhile_is_for_the_next_export(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 3)

    class Growing(io.BytesIO):
        def write(self, data):
            if not self.tell():
                run.steps(4, 5, lr=0.1)
            return super().write(data)

    stream = Growing()
    assert export(only(str(run.dir.path)), Wish("csv", "-"), stdout=stream).rows == 3
    assert [line.split(",")[0] for line in stream.getvalue().decode().splitlines()] == ["step", "1", "2", "3"]


def test_nothing_measured_is_said(tmp_path):
    with pytest.raises(LogError, match="nothing is measured in it yet"):
        export(only(str(Run(tmp_path).dir.path)), Wish("csv", str(tmp_path / "x.csv")))
    assert not (tmp_path / "x.csv").exists()


def test_events_stand_in_their_place_and_are_no_rows(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 3)
    run.incident(2, lr=7.0)
    run.events.append("note", 3, STARTED + 3, {"text": "the end"})
    back = again(str(run.dir.path), "jsonl", tmp_path / "x.jsonl", events=True)
    told = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [one.get("tuimon_event", {}).get("kind", one["step"]) for one in told] == [1, 2, "incident", 3, "note"]
    assert "lr" not in back.chunks[0].columns
    export(only(str(run.dir.path)), Wish("sqlite", str(tmp_path / "x.sqlite"), events=True))
    base = sqlite3.connect(tmp_path / "x.sqlite")
    assert base.execute("SELECT step, kind, json_extract(fields, '$.headline') FROM events").fetchall() == [(2, "incident", "loss *spiked*"), (3, "note", None)]
    assert dict(base.execute("SELECT key, value FROM run"))["model"] == '"GPT `2L`"'
    assert base.execute("SELECT step, time - ?, loss, grad_norm FROM metrics WHERE attempt = 1 AND step = 2", (STARTED,)).fetchall() == [(2, 2.0, 2.1, 0.5)]
    base.close()


def test_a_scripts_own_names_are_columns_of_their_own(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 2, **{"step": 9.0, "Loss": 8.0, 'a "b", c': 7.0, "50%": 6.0})
    for form in ("csv", "jsonl"):
        back = again(str(run.dir.path), form, tmp_path / f"x.{form}")
        assert back.chunks[0].columns["loss"].tolist() == [1.1, 2.1]
    assert json.loads((tmp_path / "x.jsonl").read_text().splitlines()[0]) == {"step": 1, "time": STARTED + 1, "loss": 1.1, "50%": 6.0, "Loss_2": 8.0, 'a "b", c': 7.0, "step_2": 9.0}
    export(only(str(run.dir.path)), Wish("sqlite", str(tmp_path / "x.sqlite")))
    base = sqlite3.connect(tmp_path / "x.sqlite")
    assert base.execute('SELECT "step_2", "Loss_2", "a ""b"", c" FROM metrics').fetchone() == (9.0, 8.0, 7.0)
    base.close()


def test_titles_have_no_control_characters():
    assert titles(["a\nb", "a_b", "\udc80"]) == {"a\nb": "a_b", "a_b": "a_b_2", "\udc80": "_"}


def test_the_command_writes_a_file_and_says_so(log, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", log, "--to", "csv"]) == 0
    assert capsys.readouterr() == ("", "log.csv: 3 rows of 2 metrics, 53 B\n")
    assert read("log.csv").chunks[0].steps.tolist() == [1, 2, 4]
    assert main(["export", log, "--to", "csv"]) == 2
    assert capsys.readouterr().err == "tuimon: log.csv: is there already; --force replaces it\n"
    assert main(["export", "no-such-run", "--to", "csv"]) == 2
    assert main(["export", log, "-o", "y.txt"]) == 2
    assert capsys.readouterr().err.endswith("tuimon: --to is wanted: one of csv, jsonl, parquet, sqlite, tfevents\n")
    assert main(["export", log, "-o", "y.jsonl"]) == 0
    assert main(["export", log, "--to", "csv", "-o", "y.csv", "--metrics", "loss, grad_norm,loss"]) == 0
    assert (tmp_path / "y.csv").read_bytes() == (tmp_path / "log.csv").read_bytes()


def test_parquet_without_pyarrow_is_one_line(log, tmp_path):
    code = f"import sys; sys.modules['pyarrow'] = None; from tuimon.cli import main; sys.exit(main(['export', {log!r}, '--to', 'parquet', '-o', 'x.parquet']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert (done.returncode, done.stderr) == (2, "tuimon: parquet needs pyarrow: pip install 'tuimon[parquet]'\n")
    assert not (tmp_path / "x.parquet").exists()


def test_a_full_standard_output_is_one_line_and_a_closed_one_is_none(log):
    command = [sys.executable, "-m", "tuimon", "export", log, "--to", "csv", "-o", "-"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "tuimon: standard output: cannot be written: No space left on device\n")
    end, start = os.pipe()
    os.close(end)
    with os.fdopen(start, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_parquet_goes_through_a_pipe(log):
    pytest.importorskip("pyarrow")
    stream = io.BytesIO()
    export(only(log), Wish("parquet", "-"), stdout=stream)
    assert stream.getvalue().startswith(b"PAR1")
    assert stream.getvalue().endswith(b"PAR1")
