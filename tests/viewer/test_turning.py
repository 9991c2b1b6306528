"""On the way from place to place nothing is shown that is no picture: the old one stands until the new one is drawn."""

from __future__ import annotations

import sys

import synthetic
from pty_terminal import Terminal

from tuimon.record.rundir import runs_root
from tuimon.viewer.turning import LATEST, PATIENCE, Turning

PLACES = {"l": "worst", "a": "what both say", "i": "evidence", "o": "console", "m": "step time", "v": "grad norm · log"}


def test_no_key_that_leads_somewhere_shows_a_blank_screen_on_the_way():
    run = synthetic.exploding(alive=False)
    argv = [sys.executable, "-m", "tuimon", "watch", run.dir.name]
    with Terminal(argv, 120, 40, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for(lambda text: "grad norm · log" in text and "worst" in text)
        seen: list[str] = []
        for key, words in (*PLACES.items(), *PLACES.items()):
            terminal.press(key)
            terminal.wait_for(lambda text, words=words: seen.append(text) or words in text)
        bare = [text for text in seen if not text.splitlines()[0].strip()]   # a frame comes in pieces, from the top
        assert not bare, bare[0]
        terminal.press("q")
        assert terminal.wait_for_exit() == 0


class Screenless:
    """An app as far as the turning of a page goes: what is held, and the timer that looks."""

    def __init__(self) -> None:
        self.batches, self.stopped, self.refreshed = 0, 0, 0
        self.screen, self.screen_stack = self, [self]

    def _begin_batch(self) -> None:
        self.batches += 1

    def _end_batch(self) -> None:
        self.batches -= 1

    def set_interval(self, seconds, look):
        del seconds, look
        return self

    def stop(self) -> None:
        self.stopped += 1

    def refresh(self, *, layout: bool) -> None:
        assert layout
        self.refreshed += 1

    def check_idle(self) -> None:
        """Nothing to do."""


def test_a_place_is_shown_when_it_is_drawn_and_at_the_latest_when_patience_ends():
    app, now, drawn, told = Screenless(), [10.0], [False], [True]
    turning = Turning(app, lambda: drawn[0], lambda: told[0], lambda: now[0])
    turning.begin()
    turning.begin()   # another key before it was there
    turning.built()
    now[0] += PATIENCE + 0.01   # the other place is still being built
    turning.look()
    assert (app.batches, app.refreshed) == (1, 0)
    turning.built()
    turning.look()
    assert (app.batches, app.refreshed) == (1, 0)
    drawn[0] = True
    turning.look()
    assert (app.batches, app.refreshed, app.stopped) == (0, 1, 1)
    for drawn[0], told[0], patience in ((True, False, PATIENCE), (False, True, LATEST), (False, False, LATEST)):
        turning.begin()
        turning.built()
        now[0] += patience - 0.01
        turning.look()
        assert app.batches == 1
        now[0] += 0.02
        turning.look()
        assert app.batches == 0


def test_the_screen_is_empty_when_the_terminal_is_given_back():
    run = synthetic.healthy(alive=False)
    argv = [sys.executable, "-m", "tuimon", "watch", run.dir.name]
    with Terminal(argv, 80, 24, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for("quit")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        after = bytes(terminal.raw).rpartition(b"\x1b[2J")[2]   # a tmux that was resized takes rows along into the shell
        assert b"\x1b[?1049l" in after
        assert "─".encode() not in after
