"""The place Ranks in the panel, and what the overview and the plain viewer say of ranks."""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from test_app_overview import panel

from tuimon.record.catalogue import Entry
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import RunInfo
from tuimon.record.segments import LogWriter, Row
from tuimon.record.status import RunStatus
from tuimon.viewer.actions import find
from tuimon.viewer.arrange import footer_keys, header
from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.ranks.draw import draw
from tuimon.viewer.places.ranks.model import UNKNOWN, Look, RanksView, shades, worst
from tuimon.viewer.places.runs.model import row_of
from tuimon.viewer.plain import sentences
from tuimon.viewer.reading import Reading
from tuimon.viewer.views import CrewView
from tuimon.viewer.wanted import Wanted

NOW = 1_800_000_021.0


def seen(run: synthetic.Run, now: float = NOW) -> tuple[Reading, RanksView]:
    reading, view = Reading(run.dir), None
    while view is None or reading.is_behind:
        frame = reading.poll(now, 1000.0, Wanted("ranks"))
        view = frame.detail if frame is not None else view
    assert isinstance(view, RanksView)
    return reading, view


def made(tmp_path, world: int = 8, steps: int = 400, **options) -> synthetic.Run:
    tmp_path.mkdir(exist_ok=True)
    return synthetic.ranked(world, steps, root=tmp_path, began=NOW - 1 - 0.05 * steps, **options)


async def test_shift_r_shows_a_row_for_each_rank_and_the_slow_one_by_name():
    async with panel(synthetic.ranked(silent=6)) as p:
        text = await p.until(lambda t: "RANKS" in t)
        await p.pilot.press("W")
        text = await p.until(lambda t: "own time" in t and "node1" in t)
        assert "Rank 3 on node0 is 1.8x slower than the median since step 1" in text
        for word in ("cuda:3", "▲ slow", "● live", "50.0 ms", "w worst first", "x hold", "q quit"):
            assert word in text
        await p.pilot.press("w")
        text = await p.until(lambda t: "worst first ─" in t)
        rows = [line for line in text.splitlines() if "cuda:" in line and "│" in line]
        assert " 6 " in rows[0]
        assert " 3 " in rows[1]
        await p.pilot.resize_terminal(80, 24)
        text = await p.until(lambda t: "own time" in t and "node1" not in t)
        assert max(map(len, text.splitlines())) == 80
        await p.pilot.press("W")
        await p.until(lambda t: "LOSS" in t and "own time" not in t)


async def test_a_rank_whose_weights_are_others_is_named_with_its_host():
    async with panel(synthetic.ranked(apart=(5, 101))) as p:
        text = await p.until(lambda t: "Replicas have come apart" in t)
        await p.pilot.press("W")
        text = await p.until(lambda t: "own time" in t and "node1" in t)
        assert "Rank 5 on node1 holds other weights than the ranks that should hold the same since step 104." in " ".join(text.split())


async def test_a_run_of_one_rank_says_so_and_its_overview_has_no_word_of_ranks():
    async with panel(synthetic.healthy()) as p:
        text = await p.until("● Healthy")
        assert "RANKS" not in text
        assert "W ranks" not in text
        await p.pilot.press("W")
        await p.until("This run trains on one rank.")
        await p.pilot.press("down", "end", "w", "escape")
        await p.until("● Healthy")


def test_the_footer_offers_the_ranks_where_there_are_several():
    one = empty_frame("x", "")
    several = replace(one, crew=CrewView(8, "8 ranks", "8"))
    assert "W ranks" not in text_of(footer_keys(one, 200, 1)[0])
    assert "W ranks" in text_of(footer_keys(several, 200, 1)[0])
    assert find("go_ranks").keys == ("W",)


def test_the_overview_says_how_many_and_who_is_slow_or_silent(tmp_path):
    def said(run, now):
        reading, frame = Reading(run.dir), None
        while frame is None or reading.is_behind:
            frame = reading.poll(now, 1000.0) or frame
        return frame.header.what, [(b.word, b.tone) for b in frame.badges if b.label == "RANKS"]

    assert said(made(tmp_path / "a", 2, 20), NOW) == ("GPT 4L 64d 0.2M · cuda:0 · 2 ranks", [("2", "ok")])
    assert said(made(tmp_path / "b"), NOW) == ("GPT 4L 64d 0.2M · cuda:0 · 8 ranks, 1 slow", [("1 slow", "warning")])
    run = made(tmp_path / "c", silent=6, slow=(0, 10_000))
    when = NOW - 12
    os.utime(segment_paths(run.dir.metrics, 6)[-1], (when, when))
    assert said(run, NOW) == ("GPT 4L 64d 0.2M · cuda:0 · rank 6 silent for 12 s", [("1 silent", "warning")])


def test_a_healthy_run_without_one_of_its_ranks_says_so_in_its_verdict(tmp_path):
    reading, _ = seen(made(tmp_path, silent=6, slow=(0, 10_000)))
    for width in (80, 120):
        frame = reading.poll(NOW + 1, 1002.0 + width)
        lines = frame.verdict if width > 100 else frame.narrow
        assert "Rank 6 silent for 8 s." in text_of(lines[2])
        assert text_of(lines[2]).endswith("W  ranks")
    assert "rank 6 silent for 8 s" in text_of(header(frame, 120, 1)[0])


def test_the_list_of_runs_names_a_rank_that_is_gone():
    found = RunStatus("running", step=5, verdict="healthy", world=2, lost=((1, "died"),))
    assert (row_of(Entry(Path("x"), found)).verdict, row_of(Entry(Path("x"), found)).tone) == ("rank 1 died", "warning")
    assert row_of(Entry(Path("x"), replace(found, lost=()))).verdict == "healthy"
    assert row_of(Entry(Path("x"), replace(found, lost=((1, "missing"),)))).verdict == "healthy"


def test_a_rank_that_dies_is_told_in_words_and_so_is_its_return(tmp_path):
    before = replace(empty_frame("x", ""), crew=CrewView(2, "2 ranks", "2"))
    lost = replace(before, crew=CrewView(2, "rank 1 died", "1 died", "rank 1 died"))
    slow = replace(before, crew=CrewView(2, "2 ranks, 1 slow", "1 slow", "", "rank 1 on b is 1.8x slower", 1))
    assert list(sentences(before, lost)) == ["Of 2 ranks not all are there: rank 1 died."]
    assert list(sentences(lost, before)) == ["All 2 ranks are there again."]
    assert list(sentences(before, slow)) == ["Rank 1 on b is 1.8x slower."]
    named = replace(before, header=replace(before.header, what="GPT · cpu · 2 ranks"))
    assert "This is x, GPT on cpu, on 2 ranks." in sentences(None, named)


def test_it_fits_every_size_and_glyph_set(tmp_path):
    _, view = seen(made(tmp_path, 40, 100, silent=6))
    for width, height in ((20, 3), (40, 8), (80, 21), (120, 37), (200, 57)):
        for glyphs in (BRAILLE, ASCII):
            for look in (Look(), Look("worst", 35)):
                lines = draw(view, look, width, height, glyphs).lines
                assert len(lines) == height
                assert {len(line) for line in lines} == {width}
                assert glyphs is BRAILLE or "".join(lines).isascii()


def test_many_ranks_scroll_and_the_strip_below_has_all_of_them(tmp_path):
    _, view = seen(made(tmp_path, 512, 96, slow=(300, 1)))
    text = "\n".join(draw(view, Look("number", 290), 120, 37, BRAILLE).lines)
    assert "Rank 300 on node75" in text
    assert "  300 node75" in text
    assert "291–314 of 512" in text
    below = text[text.index("all ranks:"):].splitlines()
    assert [("▓" in line or "█" in line) for line in below[1:9]] == [False] * 4 + [True] + [False] * 3   # 256 to 319
    worst_first = draw(view, Look("worst"), 120, 37, BRAILLE).lines[3]
    assert "  300 node75" in worst_first


def test_shades_are_times_the_median_and_of_neighbours_the_worst_shows():
    found = shades(np.array([1.0, 1.2, 1.4, 1.8, 2.5, 0.8, 0.4, np.nan]))
    assert found.tolist() == [4, 5, 6, 7, 8, 3, 0, UNKNOWN]
    assert worst(np.array([[4, 9, 4], [7, 9, 0], [3, 9, 3]], np.uint8)).tolist() == [7, 9, 0]


@pytest.mark.nightly
def test_thousands_of_ranks_are_little_to_send(tmp_path):
    """From the process that reads to the screen, once a second."""
    _, view = seen(made(tmp_path, 4096, 48))
    assert len(pickle.dumps(view, -1)) < 1 << 20
    assert "4,089–4,096 of 4,096" in "\n".join(draw(view, Look("number", 4088), 80, 21, BRAILLE).lines)


def test_a_viewer_that_was_there_first_sees_all_ranks(tmp_path):
    """Who looks when nobody has written yet, and who looks when one rank becomes two."""
    run = synthetic.Run(tmp_path, name="early", info=False, began=NOW)
    run.dir.write_info(RunInfo("early", run.process, world_size=2))
    early = Reading(run.dir)
    early.poll(NOW, 1000.0)
    write(run.dir, 2, 1, 0, 5)
    early.poll(NOW, 1001.0)
    assert early.history.series("loss").values.tolist() == [0.5] * 5
    grown = synthetic.Run(tmp_path, name="grown", info=False, began=NOW)
    write(grown.dir, 1, 1, 0, 5)
    reading = Reading(grown.dir)
    reading.poll(NOW, 1000.0)
    assert reading.history.series("loss").values.tolist() == [0.0] * 5
    write(grown.dir, 2, 2, 3, 8)
    for mono in range(1001, 1004):
        frame = reading.poll(NOW, float(mono)) or frame_of(reading)
    assert reading.history.series("loss").values.tolist() == [0.0] * 3 + [0.5] * 5
    assert frame.crew.world == 2


def frame_of(reading):
    return reading._last


def write(run, world, attempt, after, until):
    for rank in range(world):
        log = LogWriter(run.metrics, attempt=attempt, from_step=after, tensors=0, rank=rank, world=world)
        log.append([Row(s, NOW, {"loss": float(rank)}) for s in range(after + 1, until + 1)])
        log.close()


def test_who_attached_on_one_rank_only_is_told_what_the_charts_lack(tmp_path):
    """The loss of all ranks is not guessed from one; what that one has is said."""
    now = time.time()
    run = synthetic.Run(tmp_path, name="alone", info=False, began=NOW)
    run.dir.write_info(RunInfo("alone", run.process, world_size=2))
    run.dir.write_rank(0, {"rank": 0, "world": 2, "attempt": 1, "process": {"host": "a"}})
    log = LogWriter(run.dir.metrics, attempt=1, from_step=0, tensors=0, world=2)
    log.append([Row(s, now - 60, {"loss": 2.5, "grad_square": 1.0, "lr": 0.1}) for s in range(1, 9)])
    log.close()
    reading, _ = seen(run, now)
    frame = reading.poll(now + 1, 1002.0)
    charts = {chart.name: chart for chart in frame.charts}
    assert charts["loss"].waiting == "not known while rank 1 missing; rank 0's own is 2.50"
    assert charts["grad_norm"].waiting == "not known while rank 1 missing"
    assert charts["lr"].current == "1.0e-1"
    assert frame.crew.lost == "rank 1 missing"
