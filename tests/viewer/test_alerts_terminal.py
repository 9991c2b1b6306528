"""A terminal in the background tells of what has begun, once, in words that can do nothing to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.alerts import Alerts, sequence, way_of
from tuimon.viewer.first import empty_frame
from tuimon.viewer.settings import settle
from tuimon.viewer.wanted import Wanted

CALM = replace(empty_frame("run", ""), revision=5, tone="ok", is_judged=True, is_live=True, state="running")
ALARM = replace(CALM, revision=6, tone="critical")


def test_what_begins_is_told_once_and_the_end_of_the_run_once():
    alerts = Alerts()
    assert alerts.news(CALM, ALARM) is not None
    assert alerts.news(ALARM, replace(ALARM, revision=7)) is None
    assert alerts.news(CALM, ALARM) is None, "it flickers"
    over = replace(CALM, is_live=False, state="crashed")
    assert alerts.news(replace(CALM, wanted=Wanted(at=3)), over) is None, "somebody looks back"
    assert alerts.news(CALM, over) == "crashed at step 0"
    assert alerts.news(CALM, over) is None


@pytest.mark.parametrize(("setting", "looked_at", "way"), [
    ("auto", None, None), ("auto", True, None), ("auto", False, "osc9"), ("bell", None, "bell"), ("osc99", False, "osc99"), ("osc99", True, None), ("off", False, None)])
def test_a_terminal_that_is_looked_at_is_left_alone_and_one_that_never_says_only_where_it_was_asked_for(setting, looked_at, way):
    alerts = Alerts()
    alerts.is_looked_at = looked_at
    assert alerts.way(setting, "osc9") == way


@pytest.mark.parametrize(("env", "way"), [
    ({}, "bell"), ({"TERM_PROGRAM": "WezTerm"}, "osc9"), ({"LC_TERMINAL": "iTerm2"}, "osc9"), ({"TERM": "xterm-kitty"}, "osc99"), ({"TERM": "foot-extra"}, "osc777"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "tmux"}, "bell")])
def test_auto_is_what_the_terminal_is_known_to_understand(env, way):
    assert way_of(env) == way


def test_a_notification_passes_through_tmux_and_screen():
    assert sequence("osc9", "tuimon a", "b", {}) == "\x1b]9;tuimon a: b\x1b\\"
    assert sequence("osc777", "a;b", "c;d", {}) == "\x1b]777;notify;a,b;c;d\x1b\\"
    assert sequence("osc9", "a", "b", {"TMUX": "x"}) == "\x1bPtmux;\x1b\x1b]9;a: b\x1b\x1b\\\x1b\\"
    assert sequence("bell", "a", "b", {"TMUX": "x"}) == "\a"


@given(st.text(), st.text(), st.sampled_from(["osc9", "osc777", "osc99"]))
def test_no_name_ends_the_sequence_that_carries_it(title, text, way):
    said = sequence(way, title, text, {})
    assert said.count("\x1b") == sequence(way, "a", "b", {}).count("\x1b")
    assert "\a" not in said
    assert all(c.isprintable() or c == "\x1b" for c in said)


def test_it_stands_in_the_table_of_notifications_in_the_file():
    assert settle({}, {}, {"notify": {"terminal": "osc9", "to": ["x"]}}).settings.alerts == "osc9"
    assert settle({}, {}, {"notify": {"terminal": "loud"}}).problems == (
        "config.toml: notify.terminal = 'loud' is not one of auto, off, bell, osc9, osc777, osc99; auto is used",)
    assert settle({}, {}, {"notify": 3}).settings.alerts == "auto"
