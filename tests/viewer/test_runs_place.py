"""The list and the comparison in the panel: keys do what the footer says, over real directories."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable

import synthetic
from staged import stage, written
from textual.pilot import Pilot

from tuimon.record.label import Label, read_label
from tuimon.record.rundir import RunDir, runs_root
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import ASCII, BRAILLE, GlyphSet
from tuimon.viewer.messages import OpenRun


def text_of(app: Tuimon) -> str:
    return "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())


class Panel:
    def __init__(self, app: Tuimon, pilot: Pilot[str]) -> None:
        self.app, self.pilot, self.opened = app, pilot, []

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, what: str | Callable[[str], object], seconds: float = 20.0) -> str:
        deadline = time.monotonic() + seconds
        holds = (lambda text: what in text) if isinstance(what, str) else what
        while not holds(text := text_of(self.app)):
            assert time.monotonic() < deadline, f"waited for {what!r}:\n{text}"
            await self.pilot.pause(0.05)
        return text


@contextlib.asynccontextmanager
async def panel(run: RunDir, size: tuple[int, int] = (120, 40), glyphs: GlyphSet = BRAILLE) -> AsyncIterator[Panel]:
    def opened(path):
        shown.opened.append(path)
        other = RunDir(path)
        return other.name, lambda ready: Feed(other, ready, period=0.1)

    app = Tuimon(run.name, lambda ready: Feed(run, ready, period=0.1), glyphs=glyphs, opener=opened)
    async with app.run_test(size=size) as pilot:
        shown = Panel(app, pilot)
        yield shown


def three() -> list[synthetic.Run]:
    base = synthetic.Run(name="base", seed=1).go(60)
    dead = synthetic.Run(name="dead", seed=2, alive=False).go(120)
    done = synthetic.Run(name="done", seed=3, alive=False).go(90).end()
    return [base, dead, done]


async def test_the_list_is_filtered_while_one_types_and_a_run_is_opened():
    base, dead, _ = three()
    async with panel(base.dir) as p:
        await p.press("b")
        await p.until(lambda t: all(word in t for word in ("1 live · 3 in all", "✓ finished", "✝ died", "● running", "loss of base")))
        await p.press("slash", *"dead")
        text = await p.until("1 of 3 match")
        assert "done" not in text.split("match")[1]
        await p.press("space", *"lr", "greater_than_sign")
        await p.until("lr> wants a number behind it")
        await p.press(*"1e-9", "enter")
        await p.until(lambda t: "wants a number" not in t and "/ state" not in t)
        await p.press("enter")
        await p.until(lambda t: " runs" not in t.splitlines()[1] and "✝ died" in t)
        assert p.opened == [dead.dir.path]


async def test_runs_are_named_and_deleted_only_after_a_yes_and_never_alive():
    base, dead, _ = three()
    async with panel(base.dir) as p:
        await p.press("b")
        await p.until(lambda t: "3 in all" in t and "▸  base" in t)
        await p.press("delete")
        await p.until("delete: it is alive (running): end it first")
        await p.press("slash", *"dead", "enter", "n", *"too hot", "enter")
        await p.until("note      too hot")
        assert read_label(dead.dir) == Label("", "too hot")
        await p.press("e", *(["backspace"] * 4), *"hotter", "enter")
        await p.until("called hotter")
        assert read_label(dead.dir) == Label("hotter", "too hot")
        await p.press("escape", "slash", *"hotter", "enter", "delete")
        text = await p.until("Delete this run?")
        assert re.search(r"hotter, \d+ kB", text)
        assert "its log of 120 steps" in text
        assert "and your note" in text
        await p.press("n")
        await p.until(lambda t: "Delete this run?" not in t)
        assert dead.dir.path.exists()
        await p.press("delete")
        await p.until("Delete this run?")
        await p.press("y")
        await p.until("2 in all")
        assert not dead.dir.path.exists()
        assert runs_root() == base.dir.path.parent
        assert base.dir.path.exists()


async def test_the_charts_of_an_opened_run_have_axes_of_their_own(monkeypatch):
    runs = written()

    def body(text: str) -> list[str]:
        return text.splitlines()[1:-1]

    async with stage(runs.healthy, (120, 40), monkeypatch) as panel:
        alone = (await panel.settle()).text
    async with stage(runs.exploding, (120, 40), monkeypatch) as panel:
        await panel.settle()
        await panel.press("b")
        await panel.settle()
        await panel.say(OpenRun(runs.healthy.path))
        assert body((await panel.settle()).text) == body(alone)


async def test_another_comparison_is_looked_at_as_the_last_one_was():
    base, *_ = three()
    async with panel(base.dir) as p:
        await p.press("b")
        await p.until("3 in all")
        await p.press("space", "space", "d")
        await p.until("compare 2 runs · by step")
        await p.press("t", "minus")
        await p.until(lambda t: "compare 2 runs · by time" in t and "avg" not in t)
        await p.press("escape")
        await p.until("3 in all")
        await p.press("space", "d")
        await p.until(lambda t: "compare 3 runs · by time" in t and "avg" not in t and "reading" not in t)
        await p.press("t", "plus")
        await p.until(lambda t: "compare 3 runs · by step" in t and "avg" in t)


async def test_marked_runs_are_laid_over_each_other():
    base, *_ = three()
    async with panel(base.dir, (80, 24), ASCII) as p:
        await p.press("b")
        await p.until("3 in all")
        await p.press("d")
        await p.until("mark two runs or more with space")
        await p.press("space", "space", "space")
        await p.until("3 marked")
        await p.press("d")
        text = await p.until(lambda t: "compare 3 runs" in t and re.search(r"c \w+ +\d+", t) and "60" in t)
        assert all(re.search(rf"{letter} {name}", text) for letter, name in zip("abc", ("base", "done", "dead"), strict=True))
        assert "grad norm" not in text
        await p.press("down", "down")
        await p.until(lambda t: re.search(r"> b ", t) and "b 3." in t)
        await p.press("3")
        await p.until("grad norm")
        await p.press("d")
        await p.until("what differs")
        await p.pilot.resize_terminal(38, 9)
        assert "what differs" not in await p.until("is too small")
        await p.pilot.resize_terminal(80, 24)
        await p.until("what differs")
        await p.press("escape")
        await p.until(lambda t: "what differs" not in t and "grad norm" in t)
        await p.press("escape", "escape")
        await p.until(lambda t: "compare 3 runs" not in t and "3 in all" in t)


async def test_runs_over_each_other_are_looked_at_closely_and_read_at_a_step():
    base, *_ = three()
    async with panel(base.dir) as p:
        await p.press("b")
        await p.until("3 in all")
        await p.press("space", "space", "space", "d")
        await p.until(lambda t: "compare 3 runs · by step" in t and "60" in t)
        await p.press("left", "end")
        text = await p.until(lambda t: re.search(r"compare 3 runs · at step \d+", t))
        assert re.search(r"run +loss +validation +grad norm +update ratio +learning rate", text)
        ended = next(line for line in text.splitlines() if " done " in line)
        assert ended.count("–") == 5   # it had fewer steps than where the crosshair is
        await p.press("home", "z", "z")
        await p.until(lambda t: "at step 1 " in t and "80" not in t.splitlines()[-3])
        await p.press("L", "0")
        await p.until(lambda t: "100" in t.splitlines()[-3])
        await p.press("escape")
        await p.until("compare 3 runs · by step")
        await p.press("escape")
        await p.until("3 in all")
