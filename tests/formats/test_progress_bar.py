"""Long reading shows how far it is, on a terminal, after a moment, and leaves nothing behind."""

from __future__ import annotations

import io
import math

import numpy as np

from tests.viewer.synthetic import healthy
from tuimon.formats.judged import find, judged
from tuimon.formats.progress import PATIENCE, Bar, line


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def told(stream, env=None):
    now = iter(np.arange(0, 100, PATIENCE).tolist())
    with Bar(stream, env or {}, lambda: next(now)) as watch:
        for share in (0.0, 0.25, 0.5, 1.0):
            watch("reading", share)
    return stream.getvalue()


def test_a_terminal_sees_it_and_is_left_clean():
    words = told(Terminal())
    assert [part.split() for part in words.split("\r")][1:4] == [
        ["reading", "─" * 24, "0", "%"], ["reading", "━" * 6 + "─" * 18, "25", "%"], ["reading", "━" * 12 + "─" * 12, "50", "%"]]
    assert words.endswith(" \r")
    assert "\n" not in words


def test_pipes_and_dumb_terminals_see_nothing():
    assert told(io.StringIO()) == ""
    assert told(Terminal(), {"TERM": "dumb"}) == ""


def test_what_is_over_at_once_is_not_announced():
    stream = Terminal()
    with Bar(stream, {}, lambda: 1.0) as watch:
        watch("reading", 0.5)
    assert stream.getvalue() == ""


def test_a_share_that_nobody_knows_is_dots():
    assert line("reading", math.nan) == "reading ..."
    assert line("judging", 7.0).endswith("100 %")


def test_a_run_is_read_to_its_end_and_judged_in_pieces_with_the_same_verdict(monkeypatch, tmp_path):
    run = healthy(root=tmp_path)
    (source,), _ = find([str(run.dir.path)])
    seen = []
    plain = judged(source)
    monkeypatch.setattr("tuimon.formats.judged.PIECE", 50)
    watched = judged(source, watch=lambda what, share: seen.append((what, share)))
    assert watched.json() == plain.json()
    assert ("reading", 1.0) in seen
    shares = [share for what, share in seen if what == "judging"]
    assert shares == [0, 50 / 240, 100 / 240, 150 / 240, 200 / 240]
