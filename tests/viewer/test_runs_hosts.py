"""The list of runs of several machines: which machine each is on, how each machine stands, and what may be done there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import synthetic
from test_runs_list import NOW, SIX, VIEW
from test_runs_place import text_of

from tuimon.control.spool import prepare
from tuimon.record.far import REFUSED, Far, write_far
from tuimon.record.hosts import answer, host_place, is_asked, nowhere, ordered
from tuimon.record.label import read_label
from tuimon.record.merged import Host
from tuimon.record.rundir import RunDir
from tuimon.remote.listed import NUMBER, Listed
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.places.runs import draw
from tuimon.viewer.places.runs.columns import WHOLE, divide
from tuimon.viewer.places.runs.detail import RunsDetail
from tuimon.viewer.places.runs.model import Ask, Look, Order, RunsView, listed, row_of
from tuimon.viewer.places.runs.words import ask_delete, barred, refusal
from tuimon.viewer.wanted import Wanted

ONE = Host("node1", "live", since=NOW - 300, heard=NOW, root="/runs", count=2, unread=0, control=True, place=Path("/place/h0"))
TWO = Host("node2", "unreached", why="ssh: connect to host node2 port 22: No route to host", place=Path("/place/h1"))
THREE = Host("node3", "refused", why="ada@node3: Permission denied (publickey).", place=Path("/place/h2"))
FOUR = Host("node4", "reaching")
FAR = tuple(replace(one, machine=machine, there=f"{one.path.name}") for one, machine in zip(SIX, ("node1", "", "node1", "", "gpu-cluster-node-17", ""), strict=True))
HOSTS = replace(VIEW, rows=tuple(map(row_of, FAR)), hosts=(ONE, TWO, THREE, FOUR))


def table(view: RunsView, width: int, height: int, *, framed: bool = False, look: Look | None = None) -> list[str]:
    look = look or Look()
    rows = listed(view, look)
    look = look.at(rows, draw.inside(width, height, framed=framed, hosts=bool(view.hosts))[1])
    return [line.rstrip() for line in draw.draw_table(view, rows, look, width, height, ASCII, framed=framed).lines]


def test_the_list_of_several_machines_at_80_columns_as_a_picture():
    assert table(HOSTS, 80, 9) == [
        " runs                                        reading 1 more - 6 in all - 6.0 MB",
        "    X node2 not reachable   X node3 asks for a login (R)   ? node4 reaching   ~",
        "    name             host      state         age     steps verdict         loss",
        " >  gpt2-medium-owt  node1     + running     2 d    81,204 + healthy       2.91",
        "    lr-3e-3          here      + running     4 h    12,870 ! plateau       3.40",
        "    lr-1e-2          node1     # held        4 h     1,310 X exploding~    8.77",
        "    seed-4           here      X died       24 h    40,002 X NaN in the~    NaN",
        "    seed-3           gpu-clus~ + finished   25 h    81,204 + healthy       2.91",
        "    unread           here      ? reading    28 h",
    ]


def test_every_width_shows_whole_columns_and_which_machine_where_there_is_room():
    for width in range(WHOLE + 9, 260):
        columns = divide(width, hosts=True)
        assert sum(cells + 1 for _, cells in columns) + 2 <= width
        assert "machine" in [column.name for column, _ in columns]
        assert "machine" not in [column.name for column, _ in divide(width)]
    assert [column.name for column, _ in divide(60, hosts=True)] == ["name", "state", "steps", "loss"]


@pytest.mark.parametrize("width", [40, 80, 120, 200, 300])
def test_what_is_wrong_with_a_machine_stands_first_and_says_why_where_there_is_room(width: int):
    line = "".join(span.text for span in draw.host_line(HOSTS, width))
    assert line.startswith("✖ node2 not reachable")
    assert ("No route to host" in line) == (width >= 120)
    assert ("connect to host" in line) == (width >= 200)
    assert "✖ node3 asks for a login (R)" in line
    assert line.endswith("● node1 5 min")
    assert "Permission denied" not in line


def test_nothing_is_written_where_a_machine_is_only_looked_at_or_not_reached():
    row = HOSTS.rows[0]
    assert barred(None) == ""
    assert barred(ONE) == ""
    assert "node1 is only looked at; tuimon watch --control" in barred(replace(ONE, control=False))
    assert barred(replace(ONE, state="reconnecting")) == "node1 is not reached now"
    assert HOSTS.host_of(row) is ONE
    assert HOSTS.host_of(HOSTS.rows[1]) is None
    assert "it is alive" in refusal(row, ONE)
    assert "only looked at" in refusal(HOSTS.rows[4], replace(ONE, control=False))
    assert "seed-3 on gpu-cluster-node-17" in ask_delete(HOSTS.rows[4], HOSTS).lines[0][0].text


def a_place(tmp_path: Path, *, control: bool) -> tuple[Path, Listed]:
    place = tmp_path / "place"
    place.mkdir()
    far = Listed(host_place(place, 0), "node1", None, control=control)
    far.heard(NOW, NOW)
    far.take({"k": "listed", "root": "/runs"}, b"")
    far.take({"k": "runs", "c": NUMBER, "gone": [], "left": 0}, b'{"over": {"state": "finished", "started": 999000, "step": 5, "run_name": "theirs"}}')
    return place, far


def test_an_order_for_a_far_run_goes_to_its_machine_and_is_told_when_that_has_answered(tmp_path: Path):
    place, _ = a_place(tmp_path, control=True)
    detail, reading = RunsDetail(tmp_path / "runs"), SimpleNamespace(run=RunDir(tmp_path / "x"), hosts=place)
    view = detail.update(reading, Wanted(place="runs"), NOW, 0.0)
    assert [row.key for row in view.rows] == ["node1:over"]
    asked: Any = Ask((Order(1, "label", "node1:over", "mine", "hot"), Order(2, "delete", "node1:over")))
    view = detail.update(reading, Wanted(place="runs", ask=asked), NOW, 0.0)
    assert view.outcomes == ()
    first, second = ordered(host_place(place, 0))
    assert {name: first[name] for name in ("kind", "run", "name", "note")} == {"kind": "label", "run": "over", "name": "mine", "note": "hot"}
    assert (second["kind"], second["run"]) == ("delete", "over")
    answer(host_place(place, 0), first["serial"], "")
    answer(host_place(place, 0), second["serial"], "it is alive\x1b[2J")
    outcomes = detail.update(reading, Wanted(place="runs", ask=asked), NOW, 0.0).outcomes
    assert [(one.serial, one.words, one.done) for one in outcomes] == [(1, "over: called mine", True), (2, "refused there: it is alive", False)]
    assert ordered(host_place(place, 0)) == []


def test_a_far_run_that_is_only_looked_at_is_not_ordered_about(tmp_path: Path):
    place, _ = a_place(tmp_path, control=False)
    detail, reading = RunsDetail(tmp_path / "runs"), SimpleNamespace(run=RunDir(tmp_path / "x"), hosts=place)
    detail.update(reading, Wanted(place="runs"), NOW, 0.0)
    asked: Any = Ask((Order(1, "label", "node1:over", "mine", "hot"),))
    (outcome,) = detail.update(reading, Wanted(place="runs", ask=asked), NOW, 0.0).outcomes
    assert not outcome.done
    assert ordered(host_place(place, 0)) == []


async def test_in_the_panel_a_far_run_is_opened_at_its_place_and_its_keys_say_why_not(tmp_path: Path):
    place, _ = a_place(tmp_path, control=False)
    login = Listed(host_place(place, 1), "node2", None, control=False)
    write_far(login.run, Far("node2", state=REFUSED, why="Permission denied (publickey)."))
    here = synthetic.Run(name="mine", alive=False).go(5).end().dir
    opened: list[Path] = []

    def opener(path: Path):
        opened.append(path)
        return path.name, lambda ready: Feed(RunDir(path), ready, period=0.05, hosts=place)

    app = Tuimon(here.name, lambda ready: Feed(here, ready, period=0.05, hosts=place), glyphs=BRAILLE, opener=opener)
    async with app.run_test(size=(120, 40)) as pilot:
        async def until(*words: str) -> None:
            for _ in range(400):
                if all(word in text_of(app) for word in words):
                    return
                await pilot.pause(0.05)
            raise AssertionError(text_of(app))

        await pilot.press("b")
        await until("theirs", "node1", "2 in all", "node2 asks for a login (R)")
        assert app.in_front().login == login.run
        await pilot.press("slash", *"host:node1", "enter")
        await until("1 of 2 match")
        await pilot.press("e")
        await until("name: node1 is only looked at; tuimon watch --control lets it order")
        await pilot.press("delete")
        await until("delete: node1 is only looked at")
        await pilot.press("enter")
        await until("asking for the run")
        assert is_asked(opened[0].parent)
    assert opened == [host_place(place, 0) / opened[0].parent.name / "over"]


async def test_beside_a_far_run_that_is_only_looked_at_those_of_this_machine_are_at_hand(tmp_path: Path):
    place, _ = a_place(tmp_path, control=False)
    theirs, mine = synthetic.healthy(root=tmp_path / "there").dir, synthetic.healthy().dir
    prepare(mine.commands)
    write_far(theirs, Far("node1", alive=True))
    app = Tuimon(theirs.name, lambda ready: Feed(theirs, ready, period=0.05, hosts=place), glyphs=BRAILLE,
                 opener=lambda path: (path.name, lambda ready: Feed(RunDir(path), ready, period=0.05, hosts=place)))
    async with app.run_test(size=(120, 40)) as pilot:
        async def until(is_so: Callable[[], bool]) -> None:
            for _ in range(400):
                if is_so():
                    return
                await pilot.pause(0.05)
            raise AssertionError(text_of(app))

        async def after(*keys: str, shows: str) -> None:
            await pilot.press(*keys)
            await until(lambda: shows in text_of(app))

        await after(shows="read-only")
        await after("x", shows="tuimon watch --control lets it order")
        await after("b", shows="2 in all")
        await after("slash", *"host:node1", "enter", shows="1 of 2 match")
        await after("e", shows="name: node1 is only looked at; tuimon watch --control lets it order")
        await after("escape", "slash", *"healthy", "enter", shows="▸  healthy")
        await pilot.press("n", *"hot", "enter")
        await until(lambda: read_label(mine).note == "hot")
        await after("enter", shows="x hold")
        await after("x", shows="Hold this run?")
        await pilot.press("y")
        await until(lambda: bool(os.listdir(mine.commands / "new")))


async def test_the_choice_stays_with_the_first_run_until_somebody_chooses(tmp_path: Path):
    place, far = a_place(tmp_path, control=False)
    nowhere_ = nowhere(place, "node1")
    app = Tuimon(nowhere_.name, lambda ready: Feed(nowhere_, ready, period=0.05, hosts=place), glyphs=BRAILLE, place="runs")
    async with app.run_test(size=(120, 40)) as pilot:
        async def until(word: str) -> None:
            for _ in range(400):
                if word in text_of(app):
                    return
                await pilot.pause(0.05)
            raise AssertionError(text_of(app))

        def tell(key: str, started: int) -> None:
            told = {key: {"state": "finished", "started": started, "step": 5, "run_name": f"the {key}"}}
            far.take({"k": "runs", "c": NUMBER, "gone": [], "left": 0}, json.dumps(told).encode())

        await until("▸  theirs")
        tell("newer", 999_500)
        await until("▸  the newer")
        await pilot.press("down")
        await until("▸  theirs")
        tell("newest", 999_900)
        await until("the newest")
        assert "▸  theirs" in text_of(app)
        await pilot.press("escape")
        await until("No run is open; b lists those there are")
