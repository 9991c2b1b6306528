"""The console in the panel: it follows, stands, searches, and says what is awaited; nothing printed reaches the terminal."""

from __future__ import annotations

import pytest
import synthetic
from test_app_overview import panel

from tuimon.viewer.glyphs import ASCII
from tuimon.viewer.places.console.detail import Detail
from tuimon.viewer.places.console.model import Ask, ConsoleView, Jump
from tuimon.viewer.reading import Reading
from tuimon.viewer.wanted import Wanted


def steps(first, last):
    return "".join(f"step {i} of many\n" for i in range(first, last))


def add(run, text):
    with open(run.dir.console, "a") as file:
        file.write(text)


async def test_the_newest_is_followed_until_one_scrolls_up_and_again_from_the_end_on():
    run = synthetic.healthy()
    run.dir.console.write_text(steps(0, 500))
    async with panel(run, (80, 24)) as p:
        await p.until("● Healthy")
        await p.pilot.press("o")
        await p.until(lambda t: "line 500 of 500 · following" in t and "step 499 of many" in t)
        add(run, "\r 10%|#   |\r 20%|##  |")
        await p.until(lambda t: " 20%|##  |" in t and "10%" not in t)
        await p.pilot.press("up", "pageup")
        await p.until(lambda t: "following" not in t and "step 477 of many" in t)
        add(run, "\n" + steps(500, 600))
        await p.until(lambda t: "of 601" in t and "step 477 of many" in t)
        await p.pilot.press("home", "pageup", "down")
        await p.until(lambda t: "step 1 of many" in t and "step 0 of many" not in t)
        await p.pilot.press("end")
        await p.until(lambda t: "line 601 of 601 · following" in t and "step 599 of many" in t)
        await p.pilot.press("f", "number_sign")
        await p.until(lambda t: "following" not in t and "601   step 599" in t)


async def test_a_search_of_a_console_in_which_nothing_stands_ends_at_once():
    async with panel(synthetic.healthy(), (80, 24)) as p:
        await p.until("● Healthy")
        await p.pilot.press("o", "slash", "x", "enter")
        await p.until("console · /x · nothing to search")


async def test_a_search_counts_while_it_is_typed_leads_there_and_ends_with_escape():
    run = synthetic.healthy()
    run.dir.console.write_text(steps(0, 300) + "\x1b[31mRuntimeError\x1b[0m: one\n" + steps(300, 900) + "RuntimeError: two\n" + steps(900, 950))
    async with panel(run, (120, 40)) as p:
        await p.until("● Healthy")
        await p.pilot.press("o")
        await p.until("following")
        await p.pilot.press("slash", *"runtime")
        await p.until("/runtime · 2 lines")
        await p.pilot.press("enter")
        await p.until(lambda t: "/runtime · 2 of 2 lines" in t and "▸ RuntimeError: two" in t)
        await p.pilot.press("N")
        await p.until(lambda t: "/runtime · 1 of 2 lines" in t and "▸ RuntimeError: one" in t)
        await p.pilot.press("N")
        await p.until(lambda t: "▸ RuntimeError: two" in t and "from the other end" in t)
        await p.pilot.press("slash", *"xyz", "escape")
        await p.until(lambda t: "/runtime · 2 of 2 lines" in t and "▸ RuntimeError: two" in t)
        await p.pilot.press("escape")
        await p.until(lambda t: "/runtime" not in t and "console" in t)
        await p.pilot.press("escape")
        await p.until("● Healthy")


async def test_cut_lines_and_a_terminal_that_draws_letters_only():
    run = synthetic.healthy()
    run.dir.console.write_text("a" * 60 + "b" * 60 + "\x1b]0;owned\x07 é \x1b[5n\n")
    async with panel(run, (80, 24), glyphs=ASCII) as p:
        await p.until("+ Healthy")
        await p.pilot.press("o")
        await p.until("b" * 40)
        await p.pilot.press("w")
        await p.until(lambda t: "b" * 20 not in t)
        await p.pilot.press("right", "right", "right")
        text = await p.until(lambda t: "b" * 60 in t and "a" not in t.split("\n")[2])
        assert text.isascii()
        assert "owned" not in text


@pytest.fixture
def detail():
    made = Detail()
    yield made
    made.close()


def test_a_run_that_was_not_started_by_tuimon_says_where_its_output_is_and_another_that_it_is_awaited(detail):
    run = synthetic.Run()
    run.dir.launch_json.unlink(missing_ok=True)
    reading = Reading(run.dir)
    assert detail.update(reading, Wanted("console"), 0, 0) == ConsoleView("elsewhere")
    run.dir.launch_json.write_text("{}")
    assert detail.update(reading, Wanted("console"), 0, 0).state == "missing"
    run.dir.console.write_text("here\n")
    assert detail.update(reading, Wanted("console"), 0, 0).lines[0].text == "here"


def test_what_is_answered_is_around_where_one_looks_and_stays_equal_while_nothing_changes(detail):
    run = synthetic.Run()
    run.dir.console.write_text(steps(0, 5_000))
    reading = Reading(run.dir)

    def asked(**ask):
        return detail.update(reading, Wanted("console", ask=Ask(rows=20, **ask)), 0, 0)

    newest = asked()
    assert (newest.first, newest.after, newest.total) == (4_940, 5_000, 5_000)
    assert asked() == newest
    middle = asked(top=2_000)
    assert (middle.first, middle.after) == (1_960, 2_060)
    assert middle.lines[40].text == "step 2000 of many"
    assert asked(top=2_001).lines[:-1] == middle.lines[1:]
    found = asked(top=2_000, pattern="step 4321", jump=Jump(1, 1, 2_000))
    assert (found.found.line, found.first) == (4_321, 4_281)
    run.dir.console.write_text("anew\n")
    assert asked(top=2_000).generation == 1
    assert [line.text for line in asked(top=2_000).lines] == ["anew"]
