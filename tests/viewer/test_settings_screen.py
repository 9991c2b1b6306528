"""The settings in the panel: what is chosen is worn at once, everywhere, and is there again next time."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import synthetic
from textual.pilot import Pilot

from tuimon.config.file import Keeper, load
from tuimon.record.rundir import RunDir
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.messages import OpenRun, Prefers
from tuimon.viewer.palettes import PALETTES
from tuimon.viewer.settings import Settled, settle


class Colourful(Tuimon):
    """As on a terminal with true colour; the one of the tests has none."""

    def dress(self, settled, around, keeper):
        super().dress(settled, replace(around, depth="truecolor"), keeper)


class Panel:
    def __init__(self, app: Tuimon, pilot: Pilot[str]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def text(self) -> str:
        return "\n".join("".join(s.text for s in strip) for strip in self.app.screen._compositor.render_strips())

    @property
    def grounds(self) -> set[str]:
        """The colours behind the cells of the screen."""
        return {s.style.bgcolor.name for strip in self.app.screen._compositor.render_strips() for s in strip
                if s.style and s.style.bgcolor}

    async def until(self, holds: Callable[[str], object]) -> str:
        deadline = time.monotonic() + 10
        while not holds(self.text):
            assert time.monotonic() < deadline, self.text
            await self.pilot.pause(0.01)
        return self.text


async def test_another_run_comes_at_the_pace_that_holds_now_and_not_at_that_of_the_start():
    run, other, paces = synthetic.healthy(12), synthetic.healthy(24), []

    class Paced(Feed):
        def pace(self, period):
            paces.append(period)

    app = Tuimon("run", lambda ready: Paced(run.dir, ready), glyphs=BRAILLE, settled=settle({"fps": 8.0}, {}, {}),
                 opener=lambda path: (path.name, lambda ready: Paced(RunDir(path), ready, period=0.125)))
    async with app.run_test() as pilot:
        found = Panel(app, pilot)
        await found.until(lambda text: "12/600" in text)
        app.post_message(Prefers("fps", None))
        app.post_message(OpenRun(other.dir.path))
        await found.until(lambda text: "24/600" in text)
    assert paces == [0.25, 0.25]


@contextlib.asynccontextmanager
async def panel(path, size=(120, 40), settled: Settled | None = None) -> AsyncIterator[Panel]:
    run = synthetic.healthy(12)
    app = Colourful(run.dir.name, lambda ready: Feed(run.dir, ready, period=0.1), glyphs=BRAILLE, settled=settled,
                 keeper=Keeper(None if path is None else str(path)))
    async with app.run_test(size=size) as pilot:
        found = Panel(app, pilot)
        await found.until(lambda text: "12/600" in text)
        yield found


async def test_a_theme_is_worn_at_once_everywhere_and_kept(tmp_path):
    path = tmp_path / "tuimon" / "config.toml"
    async with panel(path, settled=settle({}, {"TUIMON_THEME": "dracula"}, {})) as p:
        assert p.grounds >= {PALETTES["dracula"].background}
        await p.pilot.press("comma")
        await p.until(lambda text: "< dracula >" in text and "TUIMON_THEME" in text)
        await p.pilot.press("right")
        await p.until(lambda text: "< mocha >" in text and "Catppuccin" in text)
        await p.until(lambda _: PALETTES["mocha"].background in p.grounds)
        await p.until(lambda _: load(str(path))[0] == {"theme": "mocha"})
        await p.pilot.press("escape")
        await p.until(lambda text: "╭─ loss" in text)
        assert PALETTES["mocha"].background in p.grounds
        assert PALETTES["dracula"].background not in p.grounds
        await p.pilot.press("comma", "delete")
        await p.until(lambda text: "auto: dark" in text)
        await p.until(lambda _: load(str(path))[0] == {})
        p.app.tell_background(False)   # the terminal answers late
        await p.until(lambda text: "auto: light" in text and PALETTES["light"].background in p.grounds)
        p.app.post_message(Prefers("theme", "ansi"))
        await p.until(lambda text: "ansi-light" in text and p.grounds == {"default"})


async def test_the_settings_fit_every_terminal_and_glyphs_change_on_every_screen(tmp_path):
    async with panel(tmp_path / "config.toml", (200, 60)) as p:
        await p.pilot.press("comma")
        for size in ((200, 60), (40, 10), (80, 24), (120, 40)):
            await p.pilot.resize_terminal(*size)
            await fits(p, size)
        await p.pilot.press("down", "left", "enter", "enter", "enter")
        text = await p.until(lambda text: "ascii" in text and "╭" not in text)
        assert text.isascii(), [c for c in text if not c.isascii()]
        await p.pilot.press("escape")
        assert (await p.until(lambda text: "+- loss" in text)).isascii()


async def fits(p: Panel, size: tuple[int, int]) -> None:
    text = await p.until(lambda text: len(text.splitlines()) == size[1] and "settings" in text and "theme" in text)
    assert size[0] < 80 or "esc back" in text
    assert ("themes" in text) == (size[0] >= 100)
    if size[1] >= 24:
        text = await p.until(lambda text: "sample" in text)
        for words in ("frames a second", "alerts", "● healthy", "auto: dark"):
            assert words in text


async def test_what_is_wrong_is_said_in_the_footer_and_what_cannot_be_kept_too():
    async with panel(None, settled=settle({}, {}, {"fps": "fast"})) as p:
        await p.until(lambda text: "config.toml: fps = 'fast' is not auto or a number" in text)
        await p.pilot.press("comma", "down", "down", "right")
        await p.until(lambda text: "not kept: neither HOME nor XDG_CONFIG_HOME says where" in text)
        assert p.app.settled.settings.fps == 1
        assert re.search(r"ETA \d+:\d\d", p.text)
        await p.pilot.press("end", *["down"] * 5, "right")
        await p.until(lambda text: re.search(r"ETA \d+ s", text))


async def test_how_the_charts_were_left_is_how_the_next_panel_begins(tmp_path):
    path = tmp_path / "config.toml"
    async with panel(path) as p:
        await p.until(lambda text: "╭─ learning rate" in text and "╭─ loss" in text)
        await p.pilot.press("4", "1", "1", "tab", "y", "plus", "n")
        await p.until(lambda text: "smooth" in text and "╭─ learning rate" not in text)
        await p.until(lambda _: load(str(path))[0].get("zones") == "notebook" and "smoothing" in load(str(path))[0].get("layout", {}))
    kept, problems = load(str(path))
    assert kept["layout"]["toggled"] == ["full:lr"]
    async with panel(path, settled=settle({}, {}, kept, problems)) as p:
        text = await p.until(lambda text: "smooth" in text)
        assert "╭─ learning rate" not in text
        assert p.app.settled.settings.zones == "notebook"
