"""The scorecard can be read: it fits the terminal, is strict JSON, and says which kinds nobody has seen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.zoo.__main__ import main
from tests.zoo.cache import default_dir
from tests.zoo.card import card
from tests.zoo.recording import Label, Recording
from tests.zoo.show import told
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk


def recordings() -> list[Recording]:
    rng = np.random.default_rng(0)
    well = 2.0 + 3.0 * np.exp(-np.arange(400) / 80) + rng.normal(0, 0.03, 400)
    sick = well.copy()
    sick[200:] += np.minimum(0.2 * np.arange(200), 20)
    sick[330:] = math.nan
    # a loss that leaps for twelve steps and comes back: a warning that is false here
    noisy = well.copy()
    noisy[300:312] += 2.0
    labels = (
        (Label("a-fault-with-quite-a-long-name", False, ("divergence", "exploding-gradients"), (), 201, None, True, 331), sick),
        (Label("calm", True, (), (), None, None, False, None), well),
        (Label("noisy", True, (), (), None, None, False, None), noisy),
    )
    return [
        Recording(label, seed, "gpt", "AdamW", RunContext(), (Chunk.of(loss=list(loss), grad_norm=[1.0] * 400),))
        for label, loss in labels for seed in (10, 11)
    ]


def test_the_card_fits_120_columns_and_marks_the_kinds_that_were_held_out():
    text = card("Everything", recordings(), held_out=["calm"]).text()
    assert max(map(len, text.splitlines())) <= 120
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "2/2" in lines["a-fault-with-quite-a-long-name"]
    assert "calm *" in lines
    assert "0.00 [0.00 46.11]" in lines["calm *"]
    assert "noisy-10" in lines
    assert lines["mean + 6 sigma"].split()[6:8] == ["-", "-"]


def test_the_card_as_json_is_strict_and_as_markdown_a_table():
    found = card("Everything", recordings())
    again = json.loads(json.dumps(found.json(), allow_nan=False))
    assert again["judges"]["tuimon"]["kinds"]["calm"]["false_warnings"]["steps"] == 800
    assert {run["kind"] for run in again["runs"]} == {"a-fault-with-quite-a-long-name", "calm", "noisy"}
    assert "| calm | 2 | 800 | 0 | 0.00 [0.00 46.11] | 0 | 0.00 [0.00 46.11] |" in found.markdown().splitlines()


def test_one_run_is_told_beside_its_label():
    text = told(recordings()[0])
    assert "a-fault-with-quite-a-long-name-10: catastrophic" in text
    assert "critical divergence" in text.replace("  ", " ")
    assert "right first yes" in text
    assert "10x first maximum     not-finite at 331" in text
    assert max(map(len, text.splitlines())) <= 120


def test_what_is_not_there_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TUIMON_ZOO", str(tmp_path / "zoo"))
    assert default_dir() == tmp_path / "zoo"
    assert main(["show", "nothing", "3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tests.zoo: no recording of nothing-3 in")
    assert said.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["score", "--part", "everything"])
