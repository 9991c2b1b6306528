"""The table of actions: one place for keys, words, questions and orders."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from tuimon.control.commands import Command, check
from tuimon.control.states import STATES, Refuse, outcome
from tuimon.diagnosis.overrides import Overrides
from tuimon.viewer.actions import ACTIONS, STEERING, actions_at, actions_markdown, find, footer
from tuimon.viewer.arrange import footer_keys
from tuimon.viewer.frame import empty_frame
from tuimon.viewer.lines import text_of
from tuimon.viewer.places import PLACES
from tuimon.viewer.places.layers.model import Ask
from tuimon.viewer.views import Facts, Frame
from tuimon.viewer.wanted import Wanted

ORDERS = [action for action in ACTIONS if action.order is not None]


def frame(state="running", **facts) -> Frame:
    base = {"name": "x", "step": 260, "lr": 3e-2, "loss": 4.7, "target": 190, "clips": False}
    return replace(empty_frame("x", ""), state=state, facts=Facts(**{**base, **facts}))


def words(question) -> str:
    return "\n".join([question.title, *map(text_of, question.lines), question.no, question.yes])


@pytest.mark.parametrize(("action", "state"), list(product(ORDERS, STATES)), ids=lambda v: getattr(v, "name", v))
def test_a_key_is_refused_here_exactly_where_the_run_would_refuse_it(action, state):
    shown = frame(state, overrides=Overrides(0.1, 1.0))
    order = action.order(shown)
    assert (action.refusal(shown) is not None) == isinstance(outcome(state, order.verb), Refuse)


@pytest.mark.parametrize(("action", "state"), list(product(ORDERS, STATES)), ids=lambda v: getattr(v, "name", v))
def test_every_order_is_a_well_formed_command_with_a_question_before_it(action, state):
    for facts in ({}, {"target": None, "lr": None, "clips": None}, {"overrides": Overrides(0.1, None)}):
        shown = frame(state, **facts)
        order = action.order(shown)
        check(Command("a1", order.verb, order.args))
        question = action.question(shown)
        assert question.title.endswith("?")
        assert question.lines


def test_a_rescue_says_exactly_what_it_will_do():
    said = words(find("rescue").question(frame()))
    for fact in ("step 190", "70 steps ago", "3.0e-2 → 3.0e-3", "clip gradients at 1.0 (this script does not clip)",
                 "over 20 steps", "The 70 steps since are given up", "u undoes 3 and 4"):
        assert fact in said
    order = find("rescue").order(frame())
    assert order.args == {"step": 190, "lr_scale": 0.1, "max_norm": 1.0, "warmup": 20}


def test_without_a_healthy_snapshot_a_rescue_says_that_it_goes_to_the_start():
    said = words(find("rescue").question(frame(target=None)))
    assert "initial weights" in said
    assert "All 260 steps are given up" in said
    assert "step" not in find("rescue").order(frame(target=None)).args


def test_undo_says_the_learning_rate_that_comes_back():
    said = words(find("undo").question(frame(lr=3e-3, lr_scheduled=3e-2, overrides=Overrides(0.1, 1.0))))
    assert "3.0e-3 → 3.0e-2" in said
    assert "not clipped at 1.0" in said
    warming_up = frame(lr=1.5e-4, lr_scheduled=3e-2, overrides=Overrides(0.1, 1.0, 260, 20), rescuing=True)
    assert "1.5e-4 → 3.0e-2" in words(find("undo").question(warming_up))
    assert "→" not in words(find("undo").question(frame(lr=1.5e-4, overrides=Overrides(0.1))))   # an old log


def test_a_rescue_under_way_is_not_asked_for_again():
    assert find("rescue").refusal(frame(rescuing=True)) == "a rescue is under way"


@pytest.mark.parametrize("place", PLACES)
def test_no_key_is_bound_twice_on_a_screen_and_names_are_unique(place):
    keys = [key for action in actions_at(place) for key in action.keys]
    assert len(keys) == len(set(keys))
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


def test_a_run_that_stands_offers_its_end_even_on_a_narrow_screen():
    def narrow(state):
        return text_of(footer_keys(frame(state), 80, 1)[0])

    assert "k end" in narrow("held")
    assert "k end" not in narrow("running")
    assert "space go on" in narrow("paused")
    for width in (40, 60, 80, 120):
        line = text_of(footer_keys(frame("running"), width, 1)[0])
        assert len(line) <= width
        assert line.endswith("? help  q quit")


def test_the_markdown_table_has_every_key():
    table = actions_markdown()
    for action in ACTIONS:
        assert f"| `{action.shown}` | {action.help} |" in table
    assert "Layers:\n\n| key | does |\n|---|---|\n| `↑↓` |" in table


@pytest.mark.parametrize("place", PLACES)
def test_a_footer_says_the_way_back_and_parts_what_acts_on_the_run_from_what_does_not(place):
    for width in (80, 120, 200):
        line = text_of(footer_keys(frame("running"), width, 1, place=place)[0])
        assert len(line) < width
        assert line.endswith("? help  q quit")
        assert place == "overview" or "esc back" in line
        before, bar, after = line.partition("│")
        assert bool(bar) == (place in STEERING)
        assert not bar or ("x hold" in before and "incidents" not in before and "? help" in after)


def test_the_footer_of_the_layers_offers_only_what_works_on_what_is_open():
    def offered(ask):
        shown = replace(frame(), wanted=Wanted(place="layers", ask=ask))
        return {text_of(line) for _, line in footer(shown, "layers")}

    assert {"↑↓ layer", "←→ step", "enter open", "t quantity", "d unfold", "p parameters"} <= offered(Ask())
    opened, table = offered(Ask(layer="blocks.0")), offered(Ask(tensors=True))
    assert {"↑↓ read", "t quantity", "w worst", "p parameters"} <= opened
    assert {"↑↓ read", "w worst", "/ filter", "p layers"} <= table
    assert not {"←→ step", "enter open", "d unfold"} & (opened | table)
    assert "t quantity" not in table


@pytest.mark.parametrize("name", ["hold", "checkpoint", "end"])
def test_a_question_says_when_its_command_takes_hold(name):
    def asks(state, step):
        return words(find(name).question(frame(state, step=step)))

    assert "at its next step boundary (now at step 260)" in asks("running", 260)
    assert "at once: it stands at step 260" in asks("paused", 260)
    assert "at its first step" in asks("running", 0)


def test_a_key_is_listed_where_it_works():
    parts = actions_markdown().split("\n\n")
    run = parts[parts.index(next(p for p in parts if p.startswith("Where one run"))) + 1]
    assert "| `k` | end the run" not in run   # elsewhere k goes up
    assert "| `k` | end the run" in parts[parts.index("Overview:") + 1]
