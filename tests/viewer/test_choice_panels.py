"""How one person looks at the overview: digits, tab, enter, and what keys act on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from test_app_overview import has_charts, panel

from tuimon.viewer.choice import CHARTS, PANELS, SMOOTHING, Choice
from tuimon.viewer.frame import empty_frame

FRAME = empty_frame("run", "waiting")
KINDS = ("wide", "full", "compact")
presses = st.lists(st.one_of(st.integers(0, 6), st.sampled_from(["tab", "enter", "+", "-", "y", "n"])), max_size=30)


def pressed(choice: Choice, key: int | str, kind: str) -> Choice:
    view = FRAME.charts[choice.acting(FRAME, kind)]
    if isinstance(key, int):
        return choice.pressed(key, kind)
    return {"tab": lambda: choice.next(FRAME, kind), "enter": lambda: choice.maximised(FRAME, kind),
            "+": lambda: choice.smoothed(view, 1), "-": lambda: choice.smoothed(view, -1),
            "y": lambda: choice.turned(view), "n": choice.zoned}[key]()


@given(st.sampled_from(KINDS), presses)
def test_whatever_is_pressed_keys_act_on_a_chart_that_is_seen(kind, keys):
    choice = Choice()
    for key in keys:
        choice = pressed(choice, key, kind)
        at, shown = choice.acting(FRAME, kind), choice.visible(kind)
        assert 0 <= at < CHARTS
        assert choice.is_large or kind == "compact" or at in shown or not shown
        assert 0 <= choice.past(FRAME.charts[at]) <= SMOOTHING[-1]


@given(st.sampled_from(KINDS), st.integers(0, 6))
def test_a_digit_pressed_twice_leaves_the_panels_as_they_were(kind, digit):
    twice = Choice().pressed(digit, kind).pressed(digit, kind)
    assert twice.visible(kind) == Choice().visible(kind)


def test_turning_one_axis_or_smoothing_one_chart_leaves_the_others_as_they_were():
    loss, norm = empty_frame("run", "").charts[:2]
    both = Choice().turned(loss).turned(norm).smoothed(loss, 1).smoothed(norm, 2)
    assert both.log == {"loss": True, "grad_norm": False}
    assert both.smooth == {"loss": 1, "grad_norm": 2}


def test_the_chart_that_was_chosen_is_let_go_when_it_is_hidden():
    chosen = replace(Choice(), chart=1)
    hidden = chosen.pressed(1, "full")
    assert hidden.chart is None
    assert 1 not in hidden.visible("full")


def test_with_the_chart_of_the_verdict_hidden_keys_act_on_the_first_that_is_shown():
    frame = replace(FRAME, about=1)
    assert Choice().acting(frame, "full") == 1
    assert Choice().pressed(1, "full").acting(frame, "full") == 0


@pytest.mark.parametrize(("kind", "shown"), [("full", (0, 1, 2, 3)), ("wide", (0, 1, 2, 3, 4, 5)), ("tiny", ())])
def test_what_is_shown_until_somebody_chooses(kind, shown):
    assert Choice().visible(kind) == shown


def test_on_a_small_screen_a_digit_chooses_the_chart_and_the_strip_of_layers_stays():
    choice = Choice().pressed(3, "compact")
    assert (choice.chart, choice.toggled) == (3, frozenset())
    assert choice.pressed(PANELS.index("layers"), "compact") == choice


@pytest.mark.parametrize("key", ["y", "plus", "minus"])
async def test_the_chart_that_a_key_acted_on_has_the_frame_of_the_chosen_one(key):
    async with panel(synthetic.exploding()) as p:
        await p.until(lambda text: "grad norm · log" in text and has_charts(text))
        await p.pilot.press(key)
        assert p.app._overview.choice.chart == 1
        await p.pilot.press("tab", key)   # and from there on to the next
        assert p.app._overview.choice.chart == 2
