"""A report and a plot show what the log says also where that is odd: zeros, NaN, silence, long diaries, no room."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from tests.formats.html_reading import parsed
from tests.viewer.synthetic import healthy
from tuimon.cli import main
from tuimon.formats.judged import find
from tuimon.formats.report.gather import gather
from tuimon.formats.report.page import page


def made(path):
    (found,), _ = find([str(path)])
    return parsed(page(gather(found)))


def logged(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_validation_loss_of_zero_is_zero(tmp_path):
    root = made(logged(tmp_path / "log.jsonl", [{"step": i, "loss": 1.0, "val_loss": max(0, 5 - i)} for i in range(1, 9)]))
    words = next(root.every("p", "swatches"))
    assert words.text.endswith("validation, last 0")
    assert [d.attributes["value"] for d in words.every("data")] == ["0.0"]


def heat(root):
    svg = next(root.every("svg", "heat"))
    return {row.text: now.text for row, now in zip(svg.every("text", "layer"), svg.every("text", "now"), strict=True)}, len(list(svg.every("path", "bad")))


def layers(path, value):
    return logged(path, [{"step": i, "loss": 1.0, "layer_grad_norm": {"a": 0.5, **({} if value(i) is None else {"b": value(i)})}} for i in range(1, 61)])


def test_a_layer_without_a_gradient_is_not_one_whose_gradient_is_no_number(tmp_path):
    now, bad = heat(made(layers(tmp_path / "idle.jsonl", lambda i: 0.25 if i % 2 else None)))
    assert (set(now.values()), bad) == ({"0.500", "–"}, 0)
    now, bad = heat(made(layers(tmp_path / "sick.jsonl", lambda i: 0.25 if i < 50 else math.nan)))
    assert (set(now.values()), bad) == ({"0.500", "NaN"}, 1)


def test_a_layer_that_was_never_a_number_is_seen(tmp_path):
    now, bad = heat(made(layers(tmp_path / "never.jsonl", lambda _: math.nan)))
    assert (set(now.values()), bad) == ({"0.500", "NaN"}, 1)


def test_a_long_diary_keeps_its_beginning(tmp_path):
    run = healthy(20, root=tmp_path)
    run.event("note", text="it began here")
    for number in range(400):
        run.event("checkpoint", id=f"c{number}", snapshot_step=number, bytes=5, sha256="ab", outcome="written")
        run.event("snapshot-healthy", snapshot_step=number)
    (actions,) = (s for s in made(run.dir.path).every("section") if s.attributes.get("id") == "actions")
    assert "it began here" in actions.text
    assert len(list(actions.one("tbody").every("tr"))) == 401


def test_a_report_is_there_whole_or_not_at_all(tmp_path, capsys, monkeypatch):
    log = str(logged(tmp_path / "log.jsonl", [{"step": 1, "loss": 1.0}]))
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.html")
    assert main(["report", log, "-o", "pipe.html", "--force"]) == 2
    assert capsys.readouterr().err == "tuimon: pipe.html: is there and is no regular file; -o - writes to standard output\n"
    assert main(["report", log, "-o", "nowhere/x.html"]) == 2
    assert capsys.readouterr().err == "tuimon: nowhere/x.html: there is no directory nowhere\n"
    assert sorted(os.listdir()) == ["log.jsonl", "pipe.html"]


@pytest.mark.parametrize("end", ["--first", "--last"])
def test_a_plot_ends_at_steps(tmp_path, capsys, end):
    log = str(logged(tmp_path / "log.jsonl", [{"step": i, "loss": 1.0 / i} for i in range(1, 40)]))
    for odd in ("-1" + "0" * 30, "1" + "0" * 30, "2.5", "x"):
        with pytest.raises(SystemExit):
            main(["plot", log, end, odd])
        assert capsys.readouterr().err == f"tuimon: {end}: {odd}: a step is wanted, below 2^50; see tuimon plot --help\n"
    assert main(["plot", log, "--first", f"-{(1 << 50) - 1}", "--last", f"{(1 << 50) - 1}", "--width", "1000"]) == 0
