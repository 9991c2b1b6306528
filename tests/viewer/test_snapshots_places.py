"""Every screen at three sizes in three themes, as it was last looked at and found good.

`snapshots/<screen>-<width>x<height>.txt` is the text, to be read in a diff; `snapshots/looks.json` has a digest of all cells and
their colours per theme. After a change that is meant, look at the screens and write them anew:

    TUIMON_SNAPSHOTS=write pytest -p no:randomly tests/viewer/test_snapshots_places.py

TUIMON_SNAPSHOTS=DIRECTORY writes there what is seen in every theme, as SVG, and as PNG where resvg-py is installed; so does
a test that fails, into a directory that it names.
"""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from staged import Cells, Runs, Stage, stage, written

from tuimon.viewer.messages import GoTo, OpenRun, ScrubTo
from tuimon.viewer.places.compare.model import Ask as CompareAsk
from tuimon.viewer.places.compare.model import Source
from tuimon.viewer.places.gallery.model import Ask as GalleryAsk

SIZES = [(80, 24), (120, 40), (200, 60)]
THEMES = ("dark", "light", "safe-dark")
KEPT = Path(__file__).with_name("snapshots")
LOOKS = KEPT / "looks.json"
TASK = os.environ.get("TUIMON_SNAPSHOTS", "")

Step = Callable[[Stage, Runs], Awaitable[object]]
PAIR = ("rescued", "healthy", "collapsing")

WALK: dict[str, Step] = {
    "overview-exploding": lambda s, r: s.settle(),
    "overview-past": lambda s, r: s.say(ScrubTo(150)),
    "layers": lambda s, r: s.say(ScrubTo(None), GoTo("layers")),
    "layers-one": lambda s, r: s.press("down", "enter"),
    "layers-parameters": lambda s, r: s.press("escape", "p"),
    "loss": lambda s, r: s.say(GoTo("loss")),
    "incidents": lambda s, r: s.say(GoTo("incidents")),
    "console": lambda s, r: s.say(GoTo("console")),
    "system": lambda s, r: s.say(GoTo("system")),
    "runs": lambda s, r: s.say(GoTo("runs")),
    "compare": lambda s, r: s.say(GoTo("compare", CompareAsk(tuple(Source(n, getattr(r, n).path) for n in PAIR)))),
    "gallery": lambda s, r: s.say(GoTo("gallery", GalleryAsk(tuple(getattr(r, n).path for n in (*PAIR, "exploding"))))),
    "guide": lambda s, r: s.say(GoTo("guide")),
    "settings": lambda s, r: s.say(GoTo("settings")),
    "overview-healthy": lambda s, r: s.say(OpenRun(r.healthy.path)),
    "overview-rescued": lambda s, r: s.say(OpenRun(r.rescued.path)),
    "overview-waiting": lambda s, r: s.say(OpenRun(r.waiting.path)),
}
"""Screen -> how one comes there from the one before."""
DIALOGS: dict[str, tuple[str, ...]] = {"help": ("question_mark",), "palette": ("ctrl+p", "l", "o"), "rescue": ("r",)}
"""Asked over the run that explodes."""


async def walked(size: tuple[int, int], monkeypatch, keep: Callable[[str, Stage], None]) -> dict[str, dict[str, Cells]]:
    """Every screen in every theme; `keep` is called while each is in sight."""
    found: dict[str, dict[str, Cells]] = {}
    runs = written()

    async def look(screen: str, s: Stage, theme: str) -> None:
        found.setdefault(screen, {})[theme] = await s.dress(theme) if screen not in DIALOGS else await s.settle()
        keep(f"{screen}-{size[0]}x{size[1]}-{theme}", s)

    async with stage(runs.exploding, size, monkeypatch) as s:
        for theme in THEMES:
            await s.dress(theme)
            for screen, keys in DIALOGS.items():
                await s.press(*keys)
                await look(screen, s, theme)
                await s.press("escape")
        for screen, step in WALK.items():
            await s.dress(THEMES[0])
            await step(s, runs)
            for theme in THEMES:
                await look(screen, s, theme)
    return found


def saved(folder: Path) -> Callable[[str, Stage], None]:
    """Writes the screen in sight as a picture."""
    def save(name: str, s: Stage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        svg = s.app.export_screenshot(title="tuimon")
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return save


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
async def test_every_screen_looks_as_it_was_found_good(size, monkeypatch):
    at = f"{size[0]}x{size[1]}"
    pictures: dict[str, str] = {}
    drawn = await walked(size, monkeypatch,
                         saved(Path(TASK)) if os.sep in TASK else lambda name, s: pictures.update({name: s.app.export_screenshot(title="tuimon")}))
