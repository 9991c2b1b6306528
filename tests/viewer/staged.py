"""A panel that stands still: fixed runs, a fixed clock, and a source that answers at once instead of a feed's thread.

Whatever the machine, the day and the load: the same cells. What is seen is taken from the composited screen, with the
colours that every cell came out with, before any driver encodes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import synthetic
from rich.color import Color
from rich.segment import Segment
from textual.message import Message
from textual.pilot import Pilot

from tuimon.record.far import REFUSED
from tuimon.record.hosts import host_place, is_nowhere, nowhere
from tuimon.record.rundir import RunDir, runs_root
from tuimon.remote.listed import Listed
from tuimon.viewer.app import Tuimon
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.machine.model import Gpu, Gpus, Host, Limits, Process, Sample, Target, Tree
from tuimon.viewer.machine.ring import Traces
from tuimon.viewer.machine.sampler import Look
from tuimon.viewer.messages import Prefers
from tuimon.viewer.palettes import PALETTES
from tuimon.viewer.places.guide.miniatures import SECONDS
from tuimon.viewer.places.guide.screen import GuideScreen
from tuimon.viewer.places.system.detail import SystemDetail
from tuimon.viewer.reading import Reading
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Wanted
from tuimon.viewer.widgets.picture import PictureView

BEGAN = 1_800_000_000.0
"""Wall clock at which every run began."""
NOW = BEGAN + 3_600.0
MONO = 1_000.0
GB = 2**30
CONSOLE = """\
loading 1.2 M tokens of Shakespeare
GPT with 4 layers, 64 dims, 4 heads: 0.2 M parameters, AdamW at 3.0e-4
\x1b[33mwarning:\x1b[0m validation every 50 steps
"""


# ---------------------------------------------------------------------- what there is to see


@dataclass(frozen=True, slots=True)
class Runs:
    """What lies under the root: a newest run that explodes, and what went before."""

    exploding: RunDir
    healthy: RunDir
    rescued: RunDir
    collapsing: RunDir
    waiting: RunDir
    ranked: RunDir
    abroad: RunDir
    """None at all: a list of the runs of this machine and two others is looked at from there."""


def written() -> Runs:
    """All of them."""
    root = runs_root()
    root.mkdir(parents=True, exist_ok=True)
    main = synthetic.exploding(root=root, began=NOW - 13.0, seed=4, weighed=True)
    main.event("incident", rule="exploding-gradients", severity="critical", change="opened", onset_step=209,
               headline="Exploding gradients", category="gradients")
    lines = (f"step {step:>4}  loss {2.0 + 8.8 * 0.97 ** step:.4f}  lr 3.0e-4  {40_000 + step % 7:,} tokens/s\n"
             for step in range(10, 261, 10))
    main.dir.console.write_text(CONSOLE + "".join(lines), encoding="utf-8")
    return Runs(
        main.dir, synthetic.healthy(root=root, began=NOW - 12.0, seed=1).dir,
        synthetic.Run(root, name="rescued", began=NOW - 16.0, seed=4).go(198).explode().go(62).rescue().go(60).dir,
        synthetic.collapsing(root=root, began=BEGAN, seed=2).end().dir,
        synthetic.Run(root, name="waiting", began=NOW, info=False).dir,
        synthetic.ranked(root=root, began=NOW - 21.0, seed=3, silent=6).dir, abroad(root.with_name(f"{root.name}-place")))


def abroad(place: Path) -> RunDir:
    """Two machines that are reached, one whose link is down and one that never was."""
    place.mkdir(parents=True)
    told = {"state": "running", "started": NOW - 7_200.0, "step": 12_870, "total": 20_000, "loss": 3.4, "best_val": 3.42, "lr": 3e-4, "verdict": "healthy",
            "losses": [9.0, 6.0, 4.5, 3.9, 3.6, 3.5, 3.4], "bytes": 1_200_000, "model": "GPT 12L 124M", "optimizer": "AdamW", "device": "cuda", "host": "node1"}
    ill = {**told, "verdict": "critical", "headline": "Exploding gradients", "since": 1212, "loss": "nan"}
    for i, (name, runs) in enumerate({"node1": {"gpt2-medium": told, "lr-3e-3": ill}, "ada@node2": {"seed-4": {**told, "state": "died", "started": NOW - 90_000.0}},
                                      "gone": {}, "node3": {}}.items()):
        one = Listed(host_place(place, i), name, None, control=False)
        if runs:
            one.heard(NOW - 300.0, NOW - 300.0)
            one.take({"k": "listed", "root": "/scratch/runs"}, b"")
            one.take({"k": "runs", "gone": [], "left": 0}, json.dumps({key: {**body, "run_name": key} for key, body in runs.items()}).encode())
        elif name == "gone":
            one.say(state="reconnecting", why="ssh: connect to host gone port 22: No route to host")
        else:
            one.say(state=REFUSED, why="ada@node3: Permission denied (publickey,password).")
    return nowhere(place, "node1, node2")


PROCESSES = (Process(4_242, "training", "python", 2.31, 2 * GB, 84, 120, 1_240.0, 1.2e6, 0.0, "running"),
             *(Process(4_250 + i, "data worker", "pt_data_worker", 0.2 + i / 100, GB // 2, 3, 20, 100.0, 2e5, 0.0, "sleeping")
               for i in range(8)))
SAMPLE = Sample(
    MONO, "here", "node7", 4_242, Tree(PROCESSES, 3.1, 3 * GB, 6 * GB, 108, 280, 1_240.0, 2.8e6, 0.0),
    Host((0.5, 0.0, 1.0, 0.25), 20_000.0, 1_000.0, (3.2, 2.94, 2.1), 64 * GB, 12 * GB, 2 * GB, 0, 500 * GB, 120 * GB, 4),
    Limits(8 * GB, 3 * GB, 4.0),
    Gpus("ok", (Gpu(0, "NVIDIA H100 80GB HBM3", 0.98, 80 * GB, 61 * GB, 612.0, 700.0, 71.0, 1_755.0, 1_980.0,
                    ("power limit",), ((4_242, 60 * GB),)),)))


class Seen:
    """Five minutes of a machine that works evenly."""

    def see(self, target: Target, mono: float) -> Look:
        """The same at every look."""
        at = mono - np.arange(300)[::-1]
        wave = np.array([np.sin(i / 30) for i in range(300)])
        held = np.full(300, 3.0 * GB)
        return Look(SAMPLE, Traces(at, {
            "cores": 3 + wave, "cpu": 0.8 + wave / 5, "resident": held, "memory": 4 * held, "read": 1e6 * (1 + wave),
            "written": 0 * held, "received": 2e4 + 0 * held, "sent": 1e3 + 0 * held, "gpu 0": 0.9 + wave / 12}), 1)

    def close(self) -> None:
        """Nothing is held."""


class Still:
    """Answers every wish at once, until nothing more is to be read."""

    def __init__(self, run: RunDir, deliver: Callable[[], object]) -> None:
        self._reading, self._deliver = Reading(run, hosts=run.path.parent if is_nowhere(run) else None), deliver
        self._reading._details._known["system"] = SystemDetail(Seen)
        self._wanted, self._newest, self._begun = Wanted(), None, False

    def start(self) -> None:
        self._begun = True
        self._answer()

    def close(self) -> None:
        self._reading.close()

    def take(self) -> Frame | None:
        frame, self._newest = self._newest, None
        return frame

    def want(self, wanted: Wanted) -> None:
        self._wanted = wanted
        if self._begun:
            self._answer()

    def pace(self, period: float) -> None:
        pass

    def ask(self, verb: str, args: object, base: str) -> None:
        pass

    @property
    def is_taken(self) -> bool:
        return self._newest is None

    def _answer(self) -> None:
        quiet = 0
        while quiet < 2 or self._reading.is_behind:   # lists are read by budget: once more may bring more
            frame = self._reading.poll(NOW, MONO, self._wanted)
            quiet = quiet + 1 if frame is None else 0
            self._newest = frame or self._newest
        self._deliver()


# ---------------------------------------------------------------------- what is seen


@dataclass(frozen=True, slots=True)
class Cells:
    """The screen, composited."""

    rows: tuple[tuple[tuple[str, str], ...], ...]
    """Per row its runs of cells: text and look."""

    @property
    def text(self) -> str:
        """Bare, without the blanks at the ends of lines."""
        return "\n".join("".join(text for text, _ in row).rstrip() for row in self.rows) + "\n"

    @property
    def digest(self) -> str:
        """Of every cell and its look."""
        return _digest(self.rows)


def _shade(colour: Color | None) -> str:
    if colour is None or colour.is_default:
        return "-"
    return "#{:02x}{:02x}{:02x}".format(*colour.triplet) if colour.triplet else str(colour.number)


def _look(segment: Segment) -> str:
    style = segment.style
    if style is None:
        return ""
    flags = "".join(letter for letter, on in zip("bdru", (style.bold, style.dim, style.reverse, style.underline), strict=True) if on)
    ink = _shade(style.color) if segment.text.strip() else "-"   # nobody sees the ink of a blank
    return f"{ink} {_shade(style.bgcolor)} {flags}"


def cells(app: Tuimon) -> Cells:
    """What stands on the screen, dialogs included."""
    rows = []
    for strip in app.screen._compositor.render_strips():
        row: list[tuple[str, str]] = []
        for segment in strip:
            look = _look(segment)
            if row and row[-1][1] == look:
                row[-1] = (row[-1][0] + segment.text, look)
            else:
                row.append((segment.text, look))
        rows.append(tuple(row))
    return Cells(tuple(rows))


def worn(app: Tuimon, theme: str) -> str:
    """Digest of every picture on the screen in another theme: text, place, resolved colours. Nothing is drawn anew."""
    ink = Ink(PALETTES[theme], "truecolor")
    found = [
        (tuple(view.region), [(run.text, _look(Segment(run.text, ink.style(run.role, run.ground)))) for row in view.picture.rows for run in row])
        for screen in app.screen_stack for view in screen.query(PictureView) if view.region.area]
    return _digest(found)


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


class Stage:
    """The panel, and what a person does with it."""

    def __init__(self, app: Tuimon, pilot: Pilot[str]) -> None:
        self.app, self.pilot = app, pilot

    async def settle(self) -> Cells:
        """Until it stands still."""
        seen: Cells | None = None
        for _ in range(100):
            await self.pilot.pause()
            found = cells(self.app)
            if found == seen and self.app._source.is_taken:
                return found
            seen = found
        raise AssertionError("the screen does not come to rest")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def say(self, *messages: Message) -> None:
        for message in messages:
            self.app.post_message(message)
            await self.settle()

    async def dress(self, theme: str) -> Cells:
        """In that theme; dark is what is worn by itself."""
        chosen = None if theme == "dark" else theme
        if (chosen or "auto") != self.app.settled.settings.theme:
            self.app.post_message(Prefers("theme", chosen))
        return await self.settle()


@contextlib.asynccontextmanager
async def stage(run: RunDir, size: tuple[int, int], monkeypatch) -> AsyncIterator[Stage]:
    """The panel over one run, others can be opened from it; truecolor, braille, curves of the guide already drawn."""
    monkeypatch.setattr(GuideScreen, "clock", staticmethod(lambda passed=[0.0]: passed.pop() if passed else 2 * SECONDS))

    def opened(path: Path):
        return path.name, lambda ready: Still(RunDir(path), ready)

    app = Tuimon(run.name, lambda ready: Still(run, ready), glyphs=BRAILLE, opener=opened)
    app.dress(app.settled, replace(app.around, depth="truecolor", remote=False, dark=True), None)
    async with app.run_test(size=size) as pilot:
        app._wear()
        yield Stage(app, pilot)
