"""What a person looks at: every key keeps window, moment and crosshair where there are steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.looking import POINTS
from tuimon.viewer.wanted import NOW, SPEEDS, Wanted, Window

newest = st.integers(1, 5_000_000)
WHOLE = (0.0, 400.0)
keys = st.lists(st.sampled_from(["left", "right", "in", "out", "pan-", "pan+", "whole", "follow", "[", "]", "play", "back"]), max_size=40)


def pressed(wanted: Wanted, key: str, whole: float, at: int) -> Wanted:
    span = wanted.window.ends(whole, at)
    return {
        "left": lambda: wanted.pointed(-10, span, at), "right": lambda: wanted.pointed(10, span, at),
        "in": lambda: wanted.zoomed(True, span, whole), "out": lambda: wanted.zoomed(False, span, whole),
        "pan-": lambda: wanted.panned(-1, span, at), "pan+": lambda: wanted.panned(1, span, at),
        "whole": wanted.whole, "follow": wanted.followed, "[": lambda: wanted.scrubbed(-1, span, at),
        "]": lambda: wanted.scrubbed(1, span, at), "play": lambda: wanted.played(span, at, 0.05), "back": lambda: wanted.back() or wanted,
    }[key]()


@given(newest, keys)
def test_whatever_is_pressed_moment_crosshair_and_window_stay_where_there_are_steps(at, presses):
    whole, wanted = max(10.0, at * 1.25), NOW
    for key in presses:
        wanted = pressed(wanted, key, whole, at)
        first, last = wanted.window.ends(whole, at)
        assert 0 <= first < last < math.inf
        assert last - first <= max(whole, 400)
        assert wanted.cursor is None or 1 <= wanted.cursor <= at
        assert wanted.at is None or 1 <= wanted.at < max(at, 2)
        assert (wanted.speed is None) or wanted.speed in SPEEDS


@given(newest, keys)
def test_escape_leads_back_to_the_present_and_every_step(at, presses):
    wanted = NOW
    for key in presses:
        wanted = pressed(wanted, key, max(10.0, at * 1.25), at)
    for _ in range(3):
        wanted = wanted.back() or wanted
    assert (wanted.cursor, wanted.at, wanted.window.is_whole) == (None, None, True)
    assert wanted.back() is None


def test_home_and_end_take_the_crosshair_to_the_first_step_and_the_newest_from_anywhere():
    near = replace(NOW, window=Window(40_000, 40_020))
    home = near.pointed(POINTS[4], (40_000, 40_020), 80_000)
    assert (home.cursor, home.window.ends(0, 0)[0]) == (1, 1)
    assert home.pointed(POINTS[5], (1, 21), 80_000).cursor == 80_000


@given(st.integers(1000, 100_000), st.integers(2, 999))
def test_zooming_keeps_the_step_under_the_crosshair_in_sight(at, share):
    wanted = replace(NOW, cursor=max(1, at * share // 1000))
    for _ in range(6):
        wanted = wanted.zoomed(True, wanted.window.ends(float(at), at), float(at))
        first, last = wanted.window.ends(float(at), at)
        assert first <= wanted.cursor <= last


def test_a_followed_window_stands_still_for_an_eighth_of_itself():
    ends = {Window(follow=200).ends(10_000.0, at) for at in range(1001, 1026)}
    assert ends == {(825.0, 1025.0)}


def test_what_is_followed_is_followed_on_however_close():
    closer = NOW.followed().zoomed(True, (825.0, 1025.0), 2_000.0)
    assert closer.window == Window(follow=100)
    pointed = replace(NOW.followed(), cursor=900).zoomed(True, (825.0, 1025.0), 2_000.0)
    assert pointed.window.follow is None
    assert NOW.followed().zoomed(False, (0.0, 200.0), 300.0).window.is_whole


def test_the_crosshair_begins_at_the_newest_step_and_takes_the_window_with_it():
    wanted = NOW.pointed(-1, (0.0, 1000.0), 800)
    assert wanted.cursor == 800
    assert wanted.pointed(-1, (0.0, 1000.0), 800).cursor == 790
    near = replace(wanted, window=Window(780.0, 820.0), cursor=781)
    moved = near.pointed(-10, (780.0, 820.0), 800)
    assert moved.cursor == 771
    assert moved.window.ends(1000.0, 800) == (771.0, 811.0)


def test_where_every_step_is_in_sight_nothing_can_be_pulled_out_of_it():
    assert NOW.panned(1, (0.0, 1000.0), 800) == NOW.panned(-1, (0.0, 1000.0), 800) == NOW


def test_jumps_stop_at_what_happened_and_end_in_the_present():
    def jumped(wanted: Wanted, by: int) -> Wanted:
        return wanted.jumped(by, (20, 300), (0.0, 500.0), 400)

    here = jumped(NOW, -1)
    assert here.at == 300
    assert jumped(here, -1).at == 20
    assert jumped(jumped(here, -1), -1).at == 1
    assert jumped(here, 1).at is None


def test_a_replay_ends_in_the_present():
    span = (0.0, 150.0)
    wanted = NOW.played(span, 100, None)
    assert (wanted.at, wanted.speed) == (1, 10)
    assert wanted.faster(1).speed == 20
    assert wanted.moved_to(100, span, 100) == NOW


@pytest.mark.parametrize(("pace", "newest", "speed"), [(0.05, 260, 1), (0.5, 2_001, 50), (1.0, 40_000, 1000)])
def test_a_replay_begins_at_a_speed_at_which_it_takes_about_as_long_as_one_looks(pace, newest, speed):
    assert NOW.played((0.0, float(newest)), newest, pace).speed == speed


def test_a_moment_outside_the_window_takes_the_window_with_it():
    near = replace(NOW, window=Window(700.0, 800.0), at=705)
    moved = near.scrubbed(-10, (700.0, 800.0), 1000)
    assert moved.at == 695
    assert moved.window.ends(1000.0, 1000) == (645.0, 745.0)
    assert near.scrubbed(1, (700.0, 800.0), 1000).window == near.window


@pytest.mark.parametrize("go", [
    lambda wanted: wanted.scrubbed(-1, WHOLE, 400), lambda wanted: wanted.jumped(-1, (196,), WHOLE, 400),
    lambda wanted: wanted.played(WHOLE, 400, 0.1), lambda wanted: wanted.visited(196, WHOLE, 400)])
def test_a_visit_of_the_past_takes_no_crosshair_along(go):
    gone = go(replace(NOW, cursor=380))
    assert gone.cursor is None
    assert gone.back() == replace(NOW)   # one key back


def test_a_crosshair_set_in_the_past_outlives_the_steps_of_a_replay():
    playing = replace(NOW.played(WHOLE, 400, 0.1), cursor=50)
    assert playing.moved_to(20, WHOLE, 400).cursor == 50


@pytest.mark.parametrize("newest", [0, 1])
def test_keys_of_a_run_that_is_not_read_yet_do_not_lead_to_its_first_step(newest):
    span = (0.0, float(newest))
    for wanted in (NOW.scrubbed(-1, span, newest), NOW.jumped(-1, (), span, newest), NOW.played(span, newest, None)):
        assert (wanted.at, wanted.speed) == (None, None)
    assert NOW.pointed(-1.0, (0.0, 0.0), 0).cursor is None
