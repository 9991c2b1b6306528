"""Looking without touching: in a read-only view no key, whatever it is, changes a run; the panel says so, calmly."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

import pytest
import synthetic
from test_runs_place import panel, text_of, three

from tuimon.cli import compare, watch
from tuimon.cli.looking import heed_read_only
from tuimon.control.commands import Who
from tuimon.record.label import Label, read_label
from tuimon.viewer.actions import ACTIONS, STEERING, actions_at, find, footer
from tuimon.viewer.arrange import header
from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import ASCII
from tuimon.viewer.lines import text_of as words_of
from tuimon.viewer.places import PLACES
from tuimon.viewer.reading import Reading
from tuimon.viewer.screens.help import draw_help, help_lines
from tuimon.viewer.screens.keys import called
from tuimon.viewer.screens.palette import entries

WRITING = [action for action in ACTIONS if action.order is not None or action.writes]
LOOKING = replace(empty_frame("x", "", read_only=True), state="running")
BARRED = replace(empty_frame("x", ""), state="running", barred="the run directory belongs to user 7")


def test_the_table_knows_what_writes():
    assert {a.name for a in WRITING} == {
        "pause", "hold", "rescue", "checkpoint", "undo", "end", "runs_rename", "runs_note", "runs_delete"}


@pytest.mark.parametrize("action", WRITING, ids=lambda a: a.name)
def test_all_that_writes_goes_one_way_and_is_refused_there(action):
    for place in action.places:
        assert called(action, 0, place) == f"app.act('{action.name}')"
    assert action.refusal(LOOKING) == "this is a read-only view"


@pytest.mark.parametrize("action", [a for a in ACTIONS if a not in WRITING], ids=lambda a: a.name)
def test_all_that_only_looks_goes_on(action):
    assert action.refusal(LOOKING) is None


def test_a_run_of_another_user_cannot_be_commanded_and_ones_own_runs_can_still_be_named():
    assert find("hold").refusal(BARRED) == "the run directory belongs to user 7"
    assert find("runs_rename").refusal(BARRED) is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("frame", [LOOKING, BARRED], ids=["read-only", "foreign"])
def test_header_footer_help_and_palette_say_so(place, frame):
    for width in (60, 80, 120):
        (line,) = header(frame, width, 1)
        assert "read-only" in words_of(line)
        assert len(words_of(line)) <= width
    offered = {words_of(line).split(" ")[0] for _, line in footer(frame, place)}
    may_not = [action for action in actions_at(place) if action.bar(frame)]
    assert not offered & {action.shown for action in may_not} - {a.shown for a in actions_at(place) if a not in may_not}
    said = "\n".join(words_of(line) for block in help_lines(place, frame) for line in block)
    assert (frame.barred in said) == (place in STEERING)
    assert all(line.isascii() for line in draw_help(place, frame, 0, 80, 24, ASCII).lines)
    known = {entry.call: entry.is_possible for entry in entries(place, frame)}
    assert not any(known[called(action, 0, place)] for action in may_not)


def test_a_usual_view_says_nothing_about_it():
    (line,) = header(empty_frame("x", ""), 120, 1)
    assert "read-only" not in words_of(line)


async def test_no_key_reaches_the_run(monkeypatch):
    run = synthetic.exploding()
    monkeypatch.setenv("TUIMON_READONLY", "1")
    async with panel(run.dir) as shown:
        await shown.until("read-only")
        await shown.until("Exploding")
        for action in WRITING:
            if "overview" in action.places:
                await shown.press(action.keys[0])
                await shown.until("this is a read-only view")
                assert len(shown.app.screen_stack) == 2   # nothing is asked
    assert os.listdir(run.dir.commands / "new") == [] or not run.dir.commands.exists()


async def test_no_run_is_named_noted_or_deleted(monkeypatch):
    base, dead, done = three()
    monkeypatch.setenv("TUIMON_READONLY", "1")
    async with panel(done.dir) as shown:
        await shown.press("b")
        await shown.until("done")
        for key in ("e", "n", "delete"):
            await shown.press(key)
            await shown.until("this is a read-only view")
            assert "?" not in text_of(shown.app).splitlines()[1]
    assert all(read_label(one.dir) == Label() and one.dir.path.exists() for one in (base, dead, done))


def test_what_gets_past_the_keys_is_refused_where_commands_are_written(monkeypatch):
    run = synthetic.healthy()
    monkeypatch.setenv("TUIMON_READONLY", "1")
    reading = Reading(run.dir)
    reading.ask("stop", {}, 2_000.0, Who(), "")
    assert [r.why for r in reading._asked.values()] == ["it could not be handed over: this is a read-only view"]
    assert not run.dir.commands.exists() or os.listdir(run.dir.commands / "new") == []


@pytest.mark.parametrize(("command", "line"), [(watch, ["--read-only"]), (compare, ["a", "b", "--read-only"])])
def test_the_flag_is_for_every_process_of_the_viewer(monkeypatch, command, line):
    monkeypatch.setenv("TUIMON_READONLY", "")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    heed_read_only(parser.parse_args([arg for arg in line if arg != "--read-only"]))
    assert os.environ["TUIMON_READONLY"] == ""
    heed_read_only(parser.parse_args(line))
    assert os.environ["TUIMON_READONLY"] == "1"
