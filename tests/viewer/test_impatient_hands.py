"""Keys faster than screens: nothing raises, one dialog is one question, and what is in front is what is seen."""

from __future__ import annotations

import contextlib
import os
import random
import time

import pytest
import synthetic
from textual import events
from textual.keys import _character_to_key

from tuimon.record.rundir import RunDir
from tuimon.viewer.actions import ACTIONS
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.screens.over import Over

KEYS = sorted({key for action in ACTIONS for key in action.keys} - {"q", "ctrl+c", "s", "ctrl+s"})
"""All but those that leave, and those that save pictures."""
SIZES = [(80, 24), (120, 40), (60, 15), (38, 9), (200, 30)]


class Hands:
    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    @property
    def text(self) -> str:
        return "\n".join("".join(s.text for s in strip) for strip in self.app.screen._compositor.render_strips())

    def hit(self, *keys: str) -> None:
        """Press keys without waiting for what they do."""
        for key in keys:
            event = events.Key(_character_to_key(key) if len(key) == 1 else key, key if len(key) == 1 else None)
            event.set_sender(self.app)
            self.app._driver.send_message(event)

    async def until(self, what, seconds=20.0):
        deadline = time.monotonic() + seconds
        holds = (lambda: what in self.text) if isinstance(what, str) else what
        while not holds():
            assert time.monotonic() < deadline, f"waited for {what!r}:\n{self.app.screen_stack}\n{self.text}"
            await self.pilot.pause(0.01)

    def is_sound(self) -> bool:
        """Something is seen, and the place that is in front is the one that keys go to."""
        places = [screen for screen in self.app.screen_stack[1:] if not isinstance(screen, Over)]
        return bool(self.text.strip() and places[-1] is self.app.in_front() and len(places) <= 2)


@contextlib.asynccontextmanager
async def hands(run, **options):
    def opened(path):
        return path.name, lambda ready: Feed(RunDir(path), ready, period=0.1)

    app = Tuimon(run.dir.name, lambda ready: Feed(run.dir, ready, period=0.1), opener=opened,
                 **{"glyphs": BRAILLE, **options})
    async with app.run_test(size=(120, 40)) as pilot:
        yield Hands(app, pilot)


async def test_an_answer_that_is_given_twice_leaves_one_dialog_and_a_key_that_is_hit_twice_asks_once():
    run = synthetic.healthy()
    async with hands(run) as h:
        await h.until("● Healthy")
        h.hit("x", "x")
        await h.until("Hold this run?")
        h.hit("n", "n", "escape")
        await h.until(lambda: "Hold this run?" not in h.text)
        await h.pilot.pause()
        assert h.is_sound()
        h.hit("o")
        await h.until(lambda: h.app.in_front().PLACE == "console" and h.is_sound())
        h.hit("x")
        await h.until("Hold this run?")
        h.hit("y", "y")
        await h.until(lambda: "Hold this run?" not in h.text)
        found = []
        await h.until(lambda: found.extend(run.commands()) or found)
        await h.pilot.pause(0.05)
        assert [command.verb for command in [*found, *run.commands()]] == ["hold"]
        assert h.app.in_front().PLACE == "console"


async def test_keys_that_are_hit_while_a_place_is_being_built_find_it_whole():
    async with hands(synthetic.healthy(60), place="runs") as h:
        h.hit("a", "question_mark", "escape", "l", "o", "b", "escape", "m", "l")
        await h.until(lambda: h.app.in_front().PLACE == "layers" and h.is_sound())
        h.hit("b", "o")
        await h.until(lambda: h.app.in_front().PLACE == "console" and h.is_sound())


async def test_another_run_is_seen_as_if_it_were_the_first():
    first, second = synthetic.healthy(60, seed=1), synthetic.Run(name="other", seed=2).go(60)
    second.dir.console.write_text("a line of the other run\n")
    first.dir.console.write_text("a line of the first run\n" * 9)
    async with hands(first) as h:
        await h.until("● Healthy")
        h.hit("l")
        await h.until("blocks.3")
        h.hit("slash")
        await h.until(lambda: h.app.focused is not None)
        h.hit(*"blocks.2", "enter")
        await h.until(lambda: "1 of 6 · /blocks.2 " in h.text and h.app.focused is None)
        h.hit("o")
        await h.until("a line of the first run")
        h.hit("w", "number_sign")
        await h.until(lambda: h.app.in_front().look.numbers)
        h.hit("slash")
        await h.until(lambda: h.app.focused is not None)
        h.hit(*"first", "enter")
        await h.until(lambda: "of 9 lines" in h.text and h.app.focused is None)
        h.hit("b")
        await h.until(lambda: "healthy " in h.text and "other" in h.text)
        if "▸  other" not in h.text:   # the choice begins at the run that is watched
            h.hit("up")
        await h.until("▸  other")
        h.hit("enter")
        await h.until(lambda: h.app.in_front().PLACE == "overview" and "other" in h.text.splitlines()[0])
        h.hit("l")
        await h.until(lambda: "blocks.3" in h.text and "blocks.0" in h.text)
        h.hit("o")
        await h.until("a line of the other run")
        assert "/first" not in h.text
        assert not h.app.in_front().look.wrap and h.app.in_front().look.numbers   # a habit, of whatever run


@pytest.mark.parametrize("seed", range(int(os.environ.get("TUIMON_MONKEYS", "1"))))
async def test_keys_at_random_over_all_places_and_sizes_break_nothing(seed):
    chance = random.Random(seed)
    live = synthetic.exploding()
    live.dir.console.write_text("".join(f"step {i} \x1b[31mred\x1b[0m {'x' * (i % 200)}\n" for i in range(300)))
    nan = synthetic.Run(name="one\x1b[31m[red]\u202e" + "x" * 300, alive=False)
    nan.values(loss=float("nan"), grad_norm=float("inf"), lr=-1.0, update_ratio=1e308)
    synthetic.Run(name="nothing", info=False, alive=False)
    async with hands(live, glyphs=chance.choice([ASCII, BRAILLE]), place=chance.choice(["overview", "runs"])) as h:
        for _ in range(30):
            h.hit(*(chance.choice(KEYS) for _ in range(chance.choice((1, 1, 2, 4)))))
            if chance.random() < 0.15:
                await h.pilot.resize_terminal(*chance.choice(SIZES))
            await h.pilot.pause()
            await h.until(h.is_sound)
        assert h.app.is_running


async def test_a_key_that_was_hit_before_a_question_could_be_read_is_no_answer_to_it():
    run = synthetic.healthy()
    async with hands(run) as h:
        await h.until("● Healthy")
        h.hit("x", "y")
        await h.until("Hold this run?")
        await h.pilot.pause(0.1)
        assert "Hold this run?" in h.text and not run.commands()
        h.hit("y")
        await h.until(lambda: "Hold this run?" not in h.text)
        await h.until(run.commands)


async def test_letters_that_are_hit_with_slash_and_enter_go_where_they_were_meant():
    run = synthetic.healthy(60)
    run.dir.console.write_text("a line\n" * 9)
    async with hands(run) as h:
        await h.until("● Healthy")
        h.hit("o")
        await h.until("a line")
        h.hit("slash", *"line", "enter", "w", "number_sign")
        await h.until(lambda: "/line" in h.text and "9 lines" in h.text)
        await h.until(lambda: not h.app.in_front().look.wrap and h.app.in_front().look.numbers)
        assert h.app.in_front().PLACE == "console" and h.app.in_front().look.pattern == "line"
        h.hit("slash", *"x", "escape", "w")
        await h.until(lambda: h.app.in_front().look.wrap)
        assert h.app.in_front().look.pattern == "line"


async def test_letters_that_are_hit_with_the_key_of_the_palette_are_typed_there():
    async with hands(synthetic.healthy(60)) as h:
        await h.until("● Healthy")
        h.hit("ctrl+p", *"layers", "enter", "w")
        await h.until(lambda: h.app.in_front().PLACE == "layers" and h.is_sound())
