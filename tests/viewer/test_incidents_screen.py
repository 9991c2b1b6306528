"""The incidents screen over synthetic runs: what stands on it, what keys do, and that it keeps still."""

from __future__ import annotations

import re

import pytest
import synthetic
from test_app_overview import HOSTILE, has_charts, panel

from tuimon.control.commands import Command
from tuimon.viewer.glyphs import ASCII
from tuimon.viewer.widgets.picture import PictureView

SIZES = [(80, 24), (120, 40), (200, 60)]


def chosen(text: str) -> str:
    """The row of the list that is chosen."""
    (row,) = re.findall(r"▸.*", text)
    return row


@pytest.mark.parametrize("size", SIZES)
async def test_i_shows_what_was_found_with_why_numbers_curve_and_advice_and_esc_goes_back(size):
    async with panel(synthetic.exploding(), size) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("i")
        text = await p.until(lambda t: "▸" in t and has_charts(t))
        for words in ("incidents", "Exploding gradients", "critical", "since 20", "found at", "usual", "limit", "enter go there"):
            assert words in text
        await p.pilot.press("down")
        seen = await p.until(lambda t: "┊" in t and re.search("[├└] ✖", chosen(t)))
        for _ in range(8):
            await p.pilot.press("pagedown")
            seen += p.text
        for words in ("What to do", "1  ", "Symptom:", "Confused with:", "Source:"):
            assert words in seen
        await p.pilot.press("escape")
        text = await p.until("┃ ✖ Exploding")
        assert has_charts(text)


@pytest.mark.parametrize("size", SIZES)
async def test_what_went_wrong_inside_the_model_has_its_badge_and_the_curve_of_the_layer_that_convicts(size):
    async with panel(synthetic.collapsing(), size) as p:
        text = await p.until("✖ Attention has collapsed")
        assert "✖ ACTIV" in text
        await p.pilot.press("i")
        text = await p.until(lambda t: "▸" in t and has_charts(t))
        assert "blocks.2" in chosen(text)
        for words in ("attention logit of blocks.2", "limit 1,000", "1,444", "┊"):
            assert words in text


async def test_up_and_down_choose_and_everything_else_follows():
    async with panel(synthetic.exploding()) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("i")
        first = chosen(await p.until("▸"))
        await p.pilot.press("down")
        second = chosen(p.text)
        assert first != second
        headline = re.search(r"(?:critical|warning|info) +(.+?)  ", second).group(1)
        assert f"─ {headline} ─" in p.text
        await p.pilot.press("k")
        assert chosen(p.text) == first
        await p.pilot.press("j")
        assert chosen(p.text) == second


async def test_the_choice_and_the_place_in_the_text_stay_while_the_run_goes_on():
    run = synthetic.exploding()
    async with panel(run, (80, 24)) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("i")
        await p.until("▸")
        await p.pilot.press("down", "pagedown")
        row, place = chosen(p.text), re.search(r"\d+–\d+ of", p.text).group()
        run.go(40)
        text = await p.until("300/600")
        assert chosen(text).split("since")[0] == row.split("since")[0]
        assert place in text


async def test_an_incident_that_ends_while_it_is_looked_at_stays_chosen_and_says_that_it_is_over():
    run = synthetic.exploding()
    async with panel(run) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("i")
        text = await p.until("▸")
        for _ in range(20):
            if "Exploding gradients" in chosen(text):
                break
            await p.pilot.press("down")
            text = p.text
        assert "Exploding gradients" in chosen(text)
        assert "still open" in text
        run.rescue().go(80, snapshots=False)
        text = await p.until(lambda t: "Exploding gradients" in chosen(t) and "over" in chosen(t))
        assert "still open" not in text
        assert re.search(r"╎ over at \d+", text)


async def test_a_healthy_run_says_that_nothing_was_found_and_what_could_not_look():
    async with panel(synthetic.healthy(60)) as p:
        await p.until("● Healthy")
        await p.pilot.press("i")
        text = await p.until("Nothing found in 60 steps.")
        assert "No rule has found anything wrong so far." in text
        assert re.search(r"could not look: [a-z-]+, needs ", text)
        assert "▸" not in text
        await p.pilot.press("down")
        text = await p.until("▸ ◌ could not look")
        assert "This rule could not look, so its silence says nothing." in text
        assert "Symptom:" in text


async def test_what_is_found_while_the_screen_is_open_appears_and_is_chosen():
    run = synthetic.healthy(198)
    async with panel(run) as p:
        await p.until("● Healthy")
        await p.pilot.press("i")
        await p.until("Nothing found")
        run.explode().go(62)
        text = await p.until("▸")
        assert re.search(r"▸ +([├└] )?[✖▲]", text)


async def test_a_frame_that_says_nothing_new_changes_no_row():
    async with panel(synthetic.exploding(alive=False)) as p:
        await p.until("Died")
        await p.pilot.press("i")
        await p.until(lambda t: "▸" in t and has_charts(t))
        p.app.screen.show_frame(p.app.current)
        assert [view.rows_changed for view in p.app.screen.query(PictureView) if view.is_on_screen and view.display
                and view.size.area] == [0] * 6


async def test_a_frame_that_comes_the_moment_the_screen_opens_is_shown():
    async with panel(synthetic.exploding(alive=False)) as p:
        await p.until("Died")
        await p.app.run_action("go('incidents')")
        p.app._front.show_frame(p.app.current)
        await p.until("▸")


async def test_a_rescue_can_be_asked_for_from_here_and_the_refusal_of_another_is_said_here():
    async with panel(synthetic.exploding()) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("i")
        await p.until("▸")
        await p.pilot.press("u")
        await p.until("no override is in force")
        await p.pilot.press("r")
        await p.until("Rescue this run?")
        await p.pilot.press("y")
        (command,) = await p.commands(1)
        assert isinstance(command, Command)
        assert command.verb == "rescue"
        assert "▸" in p.text


async def test_the_help_lists_the_keys_of_this_screen_and_closes_onto_it():
    from tuimon.viewer.actions import actions_at

    async with panel(synthetic.healthy()) as p:
        await p.until("Healthy")
        await p.pilot.press("i")
        await p.until("Nothing found")
        await p.pilot.press("question_mark")
        text = await p.until("╷ event")
        for action in actions_at("incidents"):
            assert f"{action.shown}  {action.help.split()[0]}" in text
        assert "smooth the chosen chart" not in text
        await p.pilot.press("escape")
        await p.until(lambda t: "╷ event" not in t and "Nothing found" in t)


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_leaving_from_here_asks_the_owner_once(key):
    async with panel(synthetic.healthy(), owner=True) as p:
        await p.until("Healthy")
        await p.pilot.press("i")
        await p.until("Nothing found")
        await p.pilot.press(key)
        await p.until("leave it running")
        await p.pilot.press("ctrl+q")
        await p.pilot.press("l")
        await p.pilot.pause()
        assert p.app.return_value == "leave"


async def test_the_charts_are_up_to_date_and_fit_when_the_person_comes_back():
    run = synthetic.healthy()
    async with panel(run) as p:
        await p.until(lambda t: "Healthy" in t and has_charts(t))
        await p.pilot.press("i")
        await p.until("Nothing found")
        await p.pilot.resize_terminal(80, 24)
        run.go(60)
        await p.until("300/600")
        await p.pilot.press("i")
        text = await p.until(lambda t: "● Healthy" in t and has_charts(t))
        assert "300/600" in text
        run.go(10)
        await p.until("310/600")


@pytest.mark.parametrize("size", [(1, 1), (39, 10), (40, 10), (99, 31), (100, 28), (300, 90)])
async def test_every_size_shows_the_choice_or_says_that_it_is_too_small(size):
    async with panel(synthetic.exploding(), (120, 40)) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("i")
        await p.until("▸")
        await p.pilot.resize_terminal(*size)
        await p.pilot.pause()
        if size[0] >= 40:
            await p.until("▸")
        elif size[0] > 20:
            await p.until("too small")


async def test_an_ascii_terminal_gets_ascii_only():
    async with panel(synthetic.rescued(), glyphs=ASCII) as p:
        await p.until("Healthy again")
        await p.pilot.press("i")
        text = await p.until(lambda t: "> X critical" in t or "> ! warning" in t)
        for _ in range(6):
            assert text.isascii(), {c for c in text if not c.isascii()}
            await p.pilot.press("down")
            text = p.text


async def test_names_from_outside_are_text_and_nothing_else():
    run = synthetic.Run(name=HOSTILE).go(198).explode().go(62)
    async with panel(run) as p:
        await p.until("Exploding")
        await p.pilot.press("i")
        text = await p.until("▸")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "[@click=app.quit]" in text


async def test_the_notebooks_verdicts_are_listed_without_a_page():
    async with panel(synthetic.exploding(), rules="notebook") as p:
        await p.until("step 260")
        await p.pilot.press("i")
        text = await p.until("▸")
        assert "has no page" in " ".join(text.split())
