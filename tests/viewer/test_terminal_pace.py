"""Frames at the pace of the terminal's answers, and a way out that never waits for ever."""

from __future__ import annotations

import os
import pty

import pytest
from textual import events

from tuimon.viewer.gate import Gate
from tuimon.viewer.outlet import Outlet
from tuimon.viewer.pace import FIRST, LATER, QUESTION, WINDOW, Pace, is_paced
from tuimon.viewer.terminal import steady_driver


@pytest.mark.parametrize(("env", "asked", "paced"), [
    ({}, None, False), ({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, None, True),
    ({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22", "TUIMON_PACE": "0"}, None, False), ({"TUIMON_PACE": "1"}, None, True),
    ({"TUIMON_PACE": "1"}, False, False), ({}, True, True), ({"TUIMON_PACE": "maybe"}, None, False),
])
def test_pacing_is_for_ssh_and_for_whoever_asks(env, asked, paced):
    assert is_paced(env, asked) is paced


def test_a_terminal_that_never_answers_is_not_waited_for_until_it_does():
    pace = Pace(wanted=True)
    pace.asked(0.0)
    pace.look(FIRST)
    assert pace.is_on
    pace.look(FIRST + 0.1)
    assert (pace.is_on, pace.under_way) == (False, 0)
    pace.answered()
    assert pace.is_on


def test_a_slow_answer_of_a_terminal_that_has_answered_before_is_waited_for_and_one_that_is_lost_is_not():
    pace = Pace(wanted=True)
    pace.asked(0.0)
    pace.answered()
    pace.asked(1.0)
    pace.look(1.0 + LATER)
    assert pace.under_way == 1
    pace.look(1.1 + LATER)
    assert (pace.is_on, pace.under_way) == (True, 0)


class App:
    """What a gate touches of an app: timers, a driver that asks, and the switch that holds everything."""

    def __init__(self, pace: Pace) -> None:
        self.pace, self.now, self.timers, self.held, self.whole = pace, 0.0, [], 0, []
        self._driver, self.screen_stack, self.screen = self, [self], self

    def ask(self) -> None:
        if self.pace.is_on:
            self.pace.asked(self.now)

    def set_timer(self, delay, callback) -> None:
        self.timers.append((self.now + delay, callback))

    def _begin_batch(self) -> None:
        self.held += 1

    def _end_batch(self) -> None:
        self.held -= 1

    def refresh(self, *, layout: bool) -> None:
        self.whole.append(layout)

    def check_idle(self) -> None:
        """Textual draws when it is idle."""

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due, self.timers = self.timers, []
        for _, callback in due:
            callback()


def gated():
    pace, ready = Pace(wanted=True), []
    app = App(pace)
    return app, Gate(app, pace, lambda: ready.append(app.now), clock=lambda: app.now), ready


def test_new_data_waits_for_one_answer_and_a_key_only_for_the_second_last():
    app, gate, ready = gated()
    assert gate.lets_pass()
    gate.drawn()
    assert not gate.lets_pass()
    assert app.held == 0   # a key may still draw
    gate.drawn()
    assert (app.pace.under_way, app.held) == (WINDOW, 1)
    app.pace.answered()
    gate.look()
    assert (app.held, app.whole, ready) == (0, [], [])
    app.pace.answered()
    gate.look()
    assert ready == [0.0]
    assert gate.lets_pass()


def test_what_is_held_is_let_go_by_time_alone_where_no_answer_and_no_data_come():
    app, gate, _ = gated()
    gate.drawn()
    gate.drawn()
    while app.held and app.now < 10:
        app.wait(0.25)
    assert FIRST < app.now < FIRST + 0.6


def test_a_layout_that_was_left_out_while_all_was_held_is_drawn_as_a_whole():
    app, gate, _ = gated()
    gate.drawn()
    gate.drawn()
    gate.drawn()   # Textual draws layouts whatever is held, and they go nowhere
    assert app.pace.under_way == WINDOW
    app.pace.answered()
    gate.look()
    assert app.whole == [True]


def test_a_terminal_without_answers_gets_its_frames_two_seconds_late_and_then_as_they_come():
    app, gate, ready = gated()
    gate.drawn()
    assert not gate.lets_pass()
    while not ready:
        app.wait(0.25)
    assert FIRST < app.now < FIRST + 0.6
    gate.drawn()
    assert gate.lets_pass()


class Plain:
    """What a driver of Textual's has, as far as the steady one touches it."""

    fileno = -1

    def __init__(self) -> None:
        self.written, self.messages = [], []
        self._writer_thread = type("Writer", (), {"_queue": type("Queue", (), {"maxsize": 30})()})()

    def start_application_mode(self) -> None:
        self.write("\x1b[?1049h")

    def write(self, data) -> None:
        self.written.append(data)

    def process_message(self, message) -> None:
        self.messages.append(message)

    def disable_input(self) -> None:
        """Nothing to do."""


def test_a_question_follows_what_was_drawn_and_the_answer_is_told_from_a_key():
    pace = Pace(wanted=True)
    driver = steady_driver(Plain, pace)()
    driver.start_application_mode()
    assert driver.written == ["\x1b[?1049h", QUESTION]   # before anything large
    driver.ask()
    assert pace.under_way == 1   # nothing was drawn since
    for x in (1, 4, 5):
        driver.process_message(events.CursorPosition(x, 0))
    assert [m.key for m in driver.messages] == ["shift+f3", "ctrl+f3", "ctrl+shift+f3"]
    assert pace.under_way == 1
    driver.process_message(events.CursorPosition(0, 0))
    assert pace.under_way == 0
    driver.write("more")
    driver.disable_input()
    driver.ask()
    assert pace.under_way == 0   # an answer would reach the shell


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    yield master, slave
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_terminal_that_takes_nothing_is_given_up_once_time_is_up_and_one_that_is_gone_at_once(terminal):
    master, slave = terminal
    now = [0.0]

    def clock() -> float:
        now[0] += 0.05
        return now[0]

    outlet = Outlet(slave, clock=clock)
    outlet.write("ä text")
    assert os.read(master, 100) == "ä text".encode()
    outlet.hurry(1.0)
    outlet.write("x" * 1_000_000)
    assert 1.0 < now[0] < 3.0
    assert not outlet.is_gone
    os.close(master)
    outlet.write("y")
    assert outlet.is_gone
    outlet.close()
