"""The loss analysis: the curve large, with what was read off it, and both readings in words.

Shows frames; knows how far one person has read, and which loss they wait for.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical

from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.places.loss import draw
from tuimon.viewer.places.loss.model import Ask, LossView
from tuimon.viewer.plots import marks
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.prompt import Prompt

Layout = Literal["beside", "two", "one"]
"""Where the words stand: at the right of the chart; in two boxes below it; in one box below it."""


def layout_of(width: int, height: int) -> Layout:
    """By size only: nothing moves while it is read."""
    if width >= 150 and height >= 30:
        return "beside"
    return "two" if width >= 100 and height >= 32 else "one"


class LossScreen(PlaceScreen):
    """Chart, legend, words."""

    PLACE: ClassVar[Place] = "loss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("loss")
    CSS = """
    LossScreen #analysis { layout: vertical; width: 1fr; height: 1fr; }
    LossScreen #drawn { width: 1fr; height: 1fr; }
    LossScreen #legend { height: 1; }
    LossScreen #said { layout: horizontal; width: 1fr; height: 1fr; }
    LossScreen.-beside #analysis { layout: horizontal; }
    LossScreen.-beside #said { layout: vertical; width: 64; }
    LossScreen.-one #facts { display: none; }
    """

    _ask = Ask()
    _line = 0
    _log: bool | None = None
    """The axis that was chosen by hand."""

    def compose_body(self) -> ComposeResult:
        """The chart over its legend; the words."""
        ink, glyphs = self.ink, self.glyphs
        with Container(id="analysis"):
            with Vertical(id="drawn"):
                yield ChartPanel(ink, glyphs, id="curve")
                yield PictureView(ink, glyphs, id="legend")
            with Container(id="said"):
                yield PictureView(ink, glyphs, id="verdicts")
                yield PictureView(ink, glyphs, id="facts")
        yield Prompt()

    def divide(self, width: int, height: int) -> None:
        """Half for the chart, or all the height beside the words."""
        layout = layout_of(width, height)
        for name in ("beside", "two", "one"):
            self.set_class(layout == name, f"-{name}")
        self.query_one("#drawn").styles.height = "1fr" if layout == "beside" else max(6, (height - 2) * 11 // 20)

    @property
    def view(self) -> LossView:
        """What is known of the loss."""
        found = self.frame.detail
        return found if isinstance(found, LossView) else LossView(awaited="reading the loss")

    def show(self) -> None:
        """Draw what was read."""
        view, glyphs, line = self.view, self.glyphs, self._line
        log = view.log if self._log is None else self._log
        readout = dict(self.frame.readout).get("loss")
        self.query_one(ChartPanel).plot(
            draw.curve_spec(view, marks(self.frame), log=log, cursor=self.frame.wanted.cursor, readout=readout),
            draw.x_of(view))
        self._picture("legend").draw_with(lambda w, h: draw.draw_legend(view, w, h, glyphs))
        one = self.has_class("-one")

        def verdicts(width: int, height: int) -> Picture:
            both = draw.boxes(view, draw.inside(width, height)[0])
            return draw.draw_box(draw.joined(both) if one else both[0], line if one else 0, width, height, glyphs)

        def facts(width: int, height: int) -> Picture:
            return draw.draw_box(draw.boxes(view, draw.inside(width, height)[0])[1], line, width, height, glyphs)

        self._picture("verdicts").draw_with(verdicts)
        self._picture("facts").draw_with(facts)

    def _picture(self, name: str) -> PictureView:
        return self.query_one(f"#{name}", PictureView)

    def action_read_on(self, which: int) -> None:
        """A line further or back, or a page."""
        size = self._picture("verdicts" if self.has_class("-one") else "facts").size
        columns, rows = draw.inside(size.width, size.height)
        both = draw.boxes(self.view, columns)
        count = len((draw.joined(both) if self.has_class("-one") else both[1]).lines)
        by = (-1 if which % 2 == 0 else 1) * (max(1, rows - 1) if which >= 4 else 1)
        self._line = max(0, min(self._line + by, count - rows))
        self.show()

    def action_log_axis(self) -> None:
        """The other axis."""
        self._log = not (self.view.log if self._log is None else self._log)
        self.show()

    def action_target(self) -> None:
        """Ask for a loss."""
        known = "" if self._ask.target is None else f"{self._ask.target:g}"
        self.query_one(Prompt).open("target", "when is the loss at", known)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Wait for that loss; for none where nothing was entered."""
        text = event.text.strip()
        try:
            target = float(text) if text else None
        except ValueError:
            target = math.nan
        if target is not None and not math.isfinite(target):
            self.flash(f"{text} is no loss; a number is wanted, as 2.5")
            return
        self._ask = Ask(target)
        self.ask(self._ask)

    def back(self) -> bool:
        """Without the target."""
        if self._ask.target is None:
            return False
        self._ask = Ask()
        self.ask(self._ask)
        return True
