"""The list of runs: what it shows at each width, how it is looked at, and what is done with a run."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from tuimon.record.catalogue import Entry
from tuimon.record.label import Label, read_label
from tuimon.record.status import RunStatus
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.places.runs import draw
from tuimon.viewer.places.runs.columns import divide
from tuimon.viewer.places.runs.detail import RunsDetail
from tuimon.viewer.places.runs.model import Ask, Look, Order, RunsView, listed, paths, row_of
from tuimon.viewer.wanted import Wanted

NOW = 1_000_000.0


def entry(name: str, *, state="running", verdict="healthy", headline="", since=None, loss=2.91, step=81_204, age=7200.0, best=2.94, size=1_200_000,
          losses=(9.0, 5.0, 4.0, 3.0, 2.9), note="", total=100_000, lr=3e-4) -> Entry:
    found = RunStatus(state, 1, step, total, loss, None, NOW - age, verdict, headline, "", since, lr)
    return Entry(Path(f"/runs/{name}-dir"), found, Label("", note), name, NOW - age, best, 100, losses, "AdamW", "GPT 12L 124M", 124_000_000,
                 "cuda", "node7", 4242, ("train.py", "--lr", "3e-4"), size, 2)


SIX = (
    entry("gpt2-medium-owt", age=2 * 86_400.0),
    entry("lr-3e-3", verdict="warning", headline="Plateau", since=9100, loss=3.40, step=12_870, age=4 * 3600.0, best=3.42),
    entry("lr-1e-2", state="held", verdict="critical", headline="Exploding gradients", since=1212, loss=8.77, step=1310, age=4 * 3600.0, best=3.80),
    entry("seed-4", state="died", verdict="critical", headline="NaN in the loss", since=39_900, loss=math.nan, step=40_002, age=86_400.0, best=3.11, losses=(9.0, 5.0, math.nan)),
    entry("seed-3", state="finished", age=90_000.0, best=None, note="kept for the paper"),
    Entry(Path("/runs/unread"), started=NOW - 100_000.0),
)
VIEW = RunsView(tuple(map(row_of, SIX)), 1, "/runs", "", NOW)


def table(view=VIEW, look=None, width=80, height=12, glyphs=ASCII, *, framed=False) -> list[str]:
    look = look or Look()
    rows = listed(view, look)
    look = look.at(rows, draw.inside(width, height, framed=framed)[1])
    return draw.draw_table(view, rows, look, width, height, glyphs, framed=framed).lines


def test_the_list_at_80_columns_as_a_picture():
    assert table(height=9) == [
        " runs                                        reading 1 more - 6 in all - 6.0 MB ",
        "    name             state         age     steps verdict          loss best val ",
        " >  gpt2-medium-owt  + running     2 d    81,204 + healthy        2.91     2.94 ",
        "    lr-3e-3          + running     4 h    12,870 ! plateau        3.40     3.42 ",
        "    lr-1e-2          # held        4 h     1,310 X exploding~     8.77     3.80 ",
        "    seed-4           X died       24 h    40,002 X NaN in the~     NaN     3.11 ",
        "    seed-3           + finished   25 h    81,204 + healthy        2.91          ",
        "    unread           ? reading    28 h                                          ",
        "                                                                                ",
    ]


def test_a_marked_run_that_is_gone_counts_no_more():
    look = Look(key="lr-3e-3-dir", marked=("gone", "seed-3-dir"))
    assert "runs · 1 marked" in table(look=look, glyphs=BRAILLE)[0]
    look = replace(look, marked=("gone",))
    assert "marked" not in table(look=look)[0]
    assert [path.name for path in paths(replace(VIEW, here="seed-4-dir"), look)] == ["lr-3e-3-dir", "seed-4-dir"]


@pytest.mark.parametrize("width", [38, 40, 60, 80, 100, 120, 160, 200, 250])
def test_the_columns_fill_the_width_and_never_more(width):
    for glyphs, framed in ((BRAILLE, True), (ASCII, False)):
        picture = draw.draw_table(VIEW, VIEW.rows, Look().at(VIEW.rows, 8), width, 12, glyphs, framed=framed)
        assert all(len(line) == width for line in picture.lines)
        assert glyphs is not ASCII or all(line.isascii() for line in picture.lines)
    assert sum(cells for _, cells in divide(width)) + len(divide(width)) - 1 + 3 <= width


def test_a_tiny_loss_keeps_its_exponent():
    tiny = row_of(entry("tiny", loss=8.8e-11))
    view = replace(VIEW, rows=(tiny,))
    for width in (38, 80, 120):
        assert " 9e-11" in "\n".join(draw.draw_table(view, view.rows, Look(), width, 8, BRAILLE, framed=False).lines)


def test_wider_screens_tell_more():
    shown = [{column.name for column, _ in divide(width)} for width in (44, 78, 116, 196)]
    assert shown[0] == {"name", "state", "steps", "loss"}
    for less, more in pairwise(shown):
        assert less < more
    assert {"spark", "lr"} <= shown[2]
    assert {"note", "model", "size"} <= shown[3]


def test_what_is_not_finite_is_marked_in_the_curve():
    lines = table(width=120, height=12, glyphs=BRAILLE, framed=True)
    seed = next(line for line in lines if "seed-4" in line)
    assert "✗" in seed
    assert "█" in seed


def test_an_empty_root_and_an_empty_result_say_what_to_do():
    assert "tuimon demo exploding" in "\n".join(table(RunsView((), 0, "/runs", "", NOW)))
    none = table(look=Look().filtered("state:crashed"))
    assert "0 of 6 match" in none[0]
    assert "None of 6 runs match." in "\n".join(none)


def test_a_filter_that_is_not_understood_leaves_the_last_one_in_force():
    look = Look().filtered("state:died")
    assert [row.name for row in listed(VIEW, look)] == ["seed-4"]
    typing = look.filtered("state:died lr>")
    assert [row.name for row in listed(VIEW, typing)] == ["seed-4"]
    assert "lr> wants a number" in typing.problem
    assert typing.filtered("state:died lr>1e-5").problem == ""


@pytest.mark.parametrize(("sort", "first", "last"), [
    ("age", "gpt2-medium-owt", "unread"), ("loss", "gpt2-medium-owt", "unread"), ("steps", "gpt2-medium-owt", "unread"),
    ("verdict", "lr-1e-2", "unread"), ("name", "gpt2-medium-owt", "unread"),
])
def test_the_list_is_sorted_by_what_one_asks_for(sort, first, last):
    names = [row.name for row in listed(VIEW, replace(Look(), sort=sort))]
    assert (names[0], names[-1]) == (first, last)


def test_sorting_turns_through_all_orders():
    look, seen = Look(), []
    for _ in range(6):
        look = look.sorted_next()
        seen.append(look.sort)
    assert seen == ["loss", "steps", "verdict", "size", "name", "age"]


@given(st.integers(0, 40), st.integers(0, 12), st.lists(st.integers(-50, 50), max_size=12))
def test_the_choice_is_always_in_the_list_and_in_sight(count, height, moves):
    rows = tuple(row_of(replace(SIX[0], path=Path(f"/runs/{i}"))) for i in range(count))
    look = Look().at(rows, height)
    for by in moves:
        look = look.moved(rows, by, height)
        assert count == 0 or rows[look.row].key == look.key
        assert count == 0 or height == 0 or look.top <= look.row < look.top + height
        assert look.top <= max(0, count - height)


def test_the_choice_stays_on_its_run_when_the_list_changes():
    rows = VIEW.rows
    look = Look().at(rows, 5).moved(rows, 2, 5)
    chosen = look.key
    moved = (rows[5], *rows[:5])
    assert look.at(moved, 5).key == chosen
    without = tuple(row for row in rows if row.key != chosen)
    assert look.at(without, 5).key == rows[3].key


def test_marked_runs_are_compared_in_the_order_of_marking():
    look = Look(key="seed-3-dir").turned("seed-4-dir").turned("lr-1e-2-dir").turned("gone").turned("lr-3e-3-dir").turned("lr-3e-3-dir")
    assert [path.name for path in paths(VIEW, look)] == ["seed-4-dir", "lr-1e-2-dir"]
    assert [path.name for path in paths(replace(VIEW, here="lr-1e-2-dir"), Look(key="seed-3-dir"))] == ["seed-3-dir", "lr-1e-2-dir"]


def test_hostile_names_are_text():
    row = row_of(replace(SIX[0], run_name="\x1b]0;x\x07[red]evil\u202e" + "x" * 500, label=Label("", "\x1b[2J\nnote")))
    assert "\x1b" not in row.name + row.note
    assert row.name.startswith("[red]evil")
    assert len(row.name) <= 80
    assert row.note == "note" or "\n" not in row.note


def test_what_is_known_of_the_chosen_run_is_told():
    text = "\n".join("".join(span.text for span in line) for line in draw.detail_lines(VIEW.rows[2], VIEW))
    for words in ("held", "step 1,310 of 100,000", "exploding gradients since 1,212", "last 8.77", "best validation 3.80 at step 100", "AdamW, lr 3.0e-4",
                  "train.py --lr 3e-4", "cuda, node7, process 4242", "1.2 MB, 2 checkpoints", "124M trained"):
        assert words in text


def asked(*orders: Order) -> Wanted:
    return Wanted(place="runs", ask=Ask(orders))


def test_the_detail_lists_names_and_deletes_each_order_once(tmp_path):
    one, two = (synthetic.Run(tmp_path, name=name, alive=False).go(20).end() for name in ("one", "two"))
    detail, reading = RunsDetail(tmp_path), SimpleNamespace(run=one.dir, hosts=None)
    view = detail.update(reading, asked(), NOW, 0.0)
    while view.unread:
        view = detail.update(reading, asked(), NOW, 0.0)
    assert {row.name for row in view.rows} == {"one", "two"}
    assert view.here == one.dir.name
    assert detail.update(reading, asked(), NOW, 0.0) == view
    label = Order(1, "label", two.dir.name, "renamed", "a note")
    view = detail.update(reading, asked(label), NOW, 0.0)
    assert view.outcomes[-1].done
    assert {row.name for row in view.rows} == {"one", "renamed"}
    delete = Order(2, "delete", two.dir.name)
    view = detail.update(reading, asked(label, delete), NOW, 0.0)
    assert [outcome.serial for outcome in view.outcomes] == [1, 2]
    assert [row.name for row in view.rows] == ["one"]
    assert not two.dir.path.exists()
    assert detail.update(reading, asked(label, delete), NOW, 0.0).outcomes == view.outcomes


def test_a_live_run_and_what_is_none_are_not_deleted(tmp_path):
    live = synthetic.Run(tmp_path / "runs", name="live").go(20)
    other = synthetic.Run(tmp_path / "other", alive=False).go(5)
    detail, reading = RunsDetail(tmp_path / "runs"), SimpleNamespace(run=other.dir, hosts=None)
    detail.update(reading, asked(), NOW, 0.0)
    view = detail.update(reading, asked(Order(1, "delete", live.dir.name), Order(2, "delete", f"../other/{other.dir.name}")), NOW, 0.0)
    assert [outcome.done for outcome in view.outcomes] == [False, False]
    assert "alive" in view.outcomes[0].words
    assert live.dir.path.exists()
    assert other.dir.path.exists()
    assert view.here == ""


def test_a_read_only_view_writes_nothing(tmp_path, monkeypatch):
    run = synthetic.Run(tmp_path, alive=False).go(5).end()
    monkeypatch.setenv("TUIMON_READONLY", "1")
    detail, reading = RunsDetail(tmp_path), SimpleNamespace(run=run.dir, hosts=None)
    detail.update(reading, asked(), NOW, 0.0)
    view = detail.update(reading, asked(Order(1, "label", run.dir.name, "x"), Order(2, "delete", run.dir.name)), NOW, 0.0)
    assert [outcome.done for outcome in view.outcomes] == [False, False]
    assert read_label(run.dir) == Label()


def test_of_a_run_that_has_not_been_read_nothing_is_claimed():
    unread = row_of(Entry(Path("/runs/gpt-20261127-203046-ce1ecf"), started=NOW - 60.0))
    assert unread.name == "gpt"   # as it will be called once it has been read
    said = "\n".join(draw.draw_details(unread, VIEW, Look(), 70, 11, BRAILLE).lines)
    assert "reading" in said and "gpt-20261127-203046-ce1ecf" in said
    assert "step 0" not in said and "0 B" not in said
    assert draw.curve_spec(unread)[0].waiting == "reading"
    assert "0 B" not in "".join(draw.draw_brief(unread, VIEW, Look(), 80, 2, BRAILLE).lines)
