"""`tuimon curve`: files and runs in, pictures, words and strict JSON out, one line and status 2 for what cannot be read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tuimon.cli import main
from tuimon.record.liveness import identity
from tuimon.record.log import Row
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogWriter


def losses(n: int = 400, seed: int = 0):
    return 2 + 3 * np.exp(-np.arange(n) / 60) + np.random.default_rng(seed).normal(0, 0.05, n)


def jsonl(path, values, first=1):
    text = "\n".join(json.dumps({"step": first + i, "loss": float(v) if np.isfinite(v) else str(v)}) for i, v in enumerate(values))
    data = (text + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def said(capsys, *line):
    assert main(["curve", *line]) == 0
    return capsys.readouterr().out


def test_a_file_gets_a_picture_both_verdicts_and_the_numbers_behind_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = said(capsys, jsonl(tmp_path / "a.jsonl", losses()), "--total-steps", "800", "--target", "1.99")
    for part in ("tuimon ", "notebook ", "Strong improvement", "exponential law", "80 % band", "tau 6", "noise      0.0", "forecast ", "reach ", "plateau "):
        assert part in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_csv_and_gzip_are_read_like_plain_lines(tmp_path, capsys):
    values = losses()
    (tmp_path / "a.csv").write_text("step,loss,val_loss\n" + "\n".join(f"{i + 1},{v!r}," for i, v in enumerate(values.tolist())))
    one = json.loads(said(capsys, jsonl(tmp_path / "a.jsonl.gz", values), "--json"))
    two = json.loads(said(capsys, str(tmp_path / "a.csv"), "--json"))
    assert one["reading"] == two["reading"]
    assert one["source"] == "a.jsonl.gz"


def test_a_run_is_read_by_name_with_its_own_length_and_redone_steps_counted_once(capsys):
    run = create_run("mine")
    run.metrics.mkdir(parents=True, exist_ok=True)
    values = losses().tolist()
    for attempt, begin in ((1, 0), (2, 300)):
        writer = LogWriter(run.metrics, attempt=attempt, from_step=begin, tensors=0)
        wrong = 5.0 if attempt == 1 else 0.0
        writer.append([Row(i + 1, time.time(), {"loss": values[i] + wrong * (i >= 300)}) for i in range(begin, 400)])
        writer.close()
    body = json.loads(said(capsys, "mine", "--json"))
    assert body["source"] == run.name
    assert body["reading"]["points"] == 400
    assert body["reading"]["level"] == pytest.approx(2.0, abs=0.1)
    assert body["reading"]["changes"] == []
    run.write_info(RunInfo(run.name, identity(), total_steps=900))
    assert json.loads(said(capsys, "mine", "--json"))["reading"]["forecast"]["step"] == 900


def test_json_is_strict_even_for_losses_that_are_no_numbers(tmp_path, capsys):
    text = said(capsys, jsonl(tmp_path / "a.jsonl", [*losses(100), np.nan, np.inf]), "--json", "--target", "-9")
    body = json.loads(text, parse_constant=pytest.fail)
    assert body["reading"]["not_finite"] == 2
    assert body["mood"] == "bad"
    assert body["notebook"]["health"] == "not finite"
    assert body["reach"]["middle"] == "Infinity"
    assert body["reading"]["trend"]["word"] in {"falling", "unclear"}


def test_several_are_drawn_together_and_compared_in_one_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    files = [jsonl(tmp_path / f"{name}.jsonl", losses(seed=k) + k) for k, name in enumerate(("first", "second", "third"))]
    text = said(capsys, *files)
    rows = [line for line in text.splitlines() if ".jsonl " in line and line[:2] in {"a ", "b ", "c "}]
    assert [row.split()[1] for row in rows] == ["first.jsonl", "second.jsonl", "third.jsonl"]
    assert [float(row.split()[3]) for row in rows] == pytest.approx([2, 3, 4], abs=0.1)
    assert max(map(len, text.splitlines())) <= 80
    assert len(json.loads(said(capsys, *files, "--json"))) == 3


def test_the_gallery_shows_the_six_patterns_with_both_verdicts(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = said(capsys, "--gallery")
    for name in ("healthy", "overfitting", "learning rate too high", "learning rate too low", "exploding", "no learning"):
        assert f"{name}: loss" in text
    assert text.count("\ntuimon ") == text.count("\nnotebook ") == 6
    assert max(map(len, text.splitlines())) <= 80
    assert len(json.loads(said(capsys, "--gallery", "--json"))) == 6


@pytest.mark.parametrize(("line", "says"), [
    (["nowhere.csv"], "no run named 'nowhere.csv'"),
    (["--gallery", "a.csv"], "--gallery"),
    (["--total-steps", "0"], "--total-steps"),
    (["--target", "nan"], "--target"),
])
def test_what_cannot_be_done_is_said_in_one_line(line, says, capsys):
    try:
        status = main(["curve", *line])
    except SystemExit as left:
        status = left.code
    err = capsys.readouterr().err
    assert status == 2
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("content", "says"), [
    ('{"step": 1, "loss": 2.0}\nnonsense\n', "line 2: not JSON"), ("[1]\n", "[0]: wanted an object"), ('{"step": 1, "lr": 2.0}\n', "there is no loss in it"),
    ('{"step": 1, "loss": "abc"}\n', "abc"), ("", "is empty"),
])
def test_a_file_that_is_no_log_gets_one_line_with_its_place(content, says, tmp_path, capsys):
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    assert main(["curve", str(path)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_name_from_outside_reaches_the_terminal_as_plain_text(tmp_path, capsys):
    text = said(capsys, jsonl(tmp_path / "a\x1b[31mred.jsonl", losses(50)))
    assert "\x1b" not in text


@pytest.mark.parametrize("extra", [{"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb"}, {"TUIMON_GLYPHS": "ascii"}])
def test_a_terminal_that_knows_ascii_only_gets_nothing_else(extra, tmp_path):
    argv = [sys.executable, "-m", "tuimon", "curve", jsonl(tmp_path / "a.jsonl", losses()), "--total-steps", "600"]
    done = subprocess.run(argv, capture_output=True, env={**os.environ, "COLUMNS": "70", **extra}, check=True)
    text = done.stdout.decode("ascii")
    assert "oo exponential law" in text
    assert max(map(len, text.splitlines())) <= 70
