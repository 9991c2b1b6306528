"""Every screen at three sizes in three themes, as it was last looked at and found good.

`snapshots/<screen>-<width>x<height>.txt` is the text, to be read in a diff; `snapshots/looks.json` has a digest of all cells and
their colours per theme. After a change that is meant, look at the screens and write them anew:

    TUIMON_SNAPSHOTS=write pytest -p no:randomly tests/viewer/test_snapshots_places.py

TUIMON_SNAPSHOTS=DIRECTORY writes there what is seen in every theme, as SVG, and as PNG where resvg-py is installed; so does
a test that fails, into a directory that it names.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from staged import Cells, Runs, Stage, stage, worn, written

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
    "layers-weight": lambda s, r: s.press("escape", "t", "t"),
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
    "overview-ranked": lambda s, r: s.say(OpenRun(r.ranked.path)),
    "ranks": lambda s, r: s.say(GoTo("ranks")),
    "overview-waiting": lambda s, r: s.say(OpenRun(r.waiting.path)),
    "runs-hosts": lambda s, r: s.say(OpenRun(r.abroad.path, "runs")),
}
"""Screen -> how one comes there from the one before."""
DIALOGS: dict[str, tuple[str, ...]] = {"help": ("question_mark",), "palette": ("ctrl+p", "l", "o"), "rescue": ("r",)}
"""Asked over the run that explodes."""


async def walked(size: tuple[int, int], monkeypatch, seen: Callable[[str, Cells, Stage], Awaitable[None]]) -> None:
    """To every screen, in the first theme, while `seen` is told of each."""
    runs = written()
    async with stage(runs.exploding, size, monkeypatch) as s:
        for screen, keys in DIALOGS.items():
            await s.press(*keys)
            await seen(screen, await s.settle(), s)
            await s.press("escape")
        for screen, step in WALK.items():
            await step(s, runs)
            await seen(screen, await s.settle(), s)


class Album:
    """What was found good at one size, and what is different now."""

    def __init__(self, size: tuple[int, int], folder: Path) -> None:
        self.at, self.folder = f"{size[0]}x{size[1]}", folder
        self.looks = json.loads(LOOKS.read_text(encoding="utf-8")) if LOOKS.exists() else {}
        self.new: dict[str, dict[str, str]] = {}
        self.different: list[str] = []

    async def see(self, screen: str, cells: Cells, s: Stage) -> None:
        """Compare with what is kept, or keep it."""
        first, *others = THEMES
        looks = self.new[screen] = {first: cells.digest, **{theme: worn(s.app, theme) for theme in others}}
        if TASK == "write":
            (KEPT / f"{screen}-{self.at}.txt").write_text(cells.text, encoding="utf-8")
        elif os.sep in TASK:
            for theme in THEMES:
                await s.dress(theme)
                self._show(f"{screen}-{self.at}-{theme}", s)
            await s.dress(first)
        else:
            self._compare(screen, cells, looks, s)

    def _compare(self, screen: str, cells: Cells, looks: dict[str, str], s: Stage) -> None:
        kept = KEPT / f"{screen}-{self.at}.txt"
        before = kept.read_text(encoding="utf-8") if kept.exists() else ""
        known = self.looks.get(self.at, {}).get(screen, {})
        others = [theme for theme in THEMES if known.get(theme) != looks[theme]]
        if before != cells.text:
            self.different += [f"{screen} at {self.at}:", *difflib.unified_diff(
                before.splitlines(), cells.text.splitlines(), "kept", "now", n=0, lineterm="")]
        elif others:
            self.different.append(f"{screen} at {self.at} has other colours in {', '.join(others)}")
        if before != cells.text or others:
            self._show(f"{screen}-{self.at}-{THEMES[0]}", s)

    def _show(self, name: str, s: Stage) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        svg = s.app.export_screenshot(title="tuimon")
        (self.folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        with contextlib.suppress(ImportError):
            (self.folder / f"{name}.png").write_bytes(png(svg))

    def close(self) -> None:
        """Write the digests, where that was asked for."""
        if TASK == "write":
            text = json.dumps({**self.looks, self.at: self.new}, indent=1, sort_keys=True)
            LOOKS.write_text(text + "\n", encoding="utf-8")


def png(svg: str) -> bytes:
    """The picture in cells of one width, by a font that is here."""
    import resvg_py

    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=1400, font_dirs=["/usr/share/fonts"]))


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
async def test_every_screen_looks_as_it_was_found_good(size, monkeypatch):
    folder = Path(TASK) if os.sep in TASK else Path(tempfile.gettempdir()) / "tuimon-snapshots"
    album = Album(size, folder)
    await walked(size, monkeypatch, album.see)
    album.close()
    words = "\n".join(album.different)
    assert not album.different, f"{words}\nas it is now, in pictures: {folder}; if that is meant: see this file's docstring"
    kept = {path.name for path in KEPT.glob(f"*-{album.at}.txt")}
    assert kept == {f"{screen}-{album.at}.txt" for screen in (*WALK, *DIALOGS)}
