"""The layers: depth x time over the whole screen, an opened layer, and the table of all parameters.

Shows frames; knows where one person's cursor is, and what is open.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType

from tuimon.viewer.arrange import paint
from tuimon.viewer.layers import WORDS
from tuimon.viewer.lines import say
from tuimon.viewer.places.layers import draw, look, table
from tuimon.viewer.places.layers.look import Look
from tuimon.viewer.places.layers.model import Ask, LayersView, Tensors
from tuimon.viewer.places.layers.page import history_spec
from tuimon.viewer.places.layers.quantities import turned
from tuimon.viewer.plots import marks
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.text import squeeze
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.prompt import Prompt

_BY = (-1, 1)


class LayersScreen(PlaceScreen):
    """The map, or what has been opened from it."""

    PLACE: ClassVar[Place] = "layers"
    BINDINGS: ClassVar[list[BindingType]] = bindings("layers")
    CSS = """
    #menu { height: 1; }
    #foot { height: 2; }
    #history, #tensors { display: none; }
    LayersScreen.-page #map, LayersScreen.-page #foot, LayersScreen.-table #map, LayersScreen.-table #foot,
    LayersScreen.-table #menu { display: none; }
    LayersScreen.-page #history, LayersScreen.-page #tensors, LayersScreen.-table #tensors { display: block; }
    """

    _ask = Ask()
    _look = Look()
    _read = table.Reading()
    _before = ""
    """The filter that was there when another one began to be typed."""

    def compose_body(self) -> ComposeResult:
        """Menu, map, readout and legend; in their place chart and table of what is open."""
        ink, glyphs = self.ink, self.glyphs
        for name in ("menu", "map", "foot"):
            yield PictureView(ink, glyphs, id=name)
        yield ChartPanel(ink, glyphs, id="history")
        yield PictureView(ink, glyphs, id="tensors")
        yield Prompt()

    def divide(self, width: int, height: int) -> None:
        """An opened layer's chart takes less than half."""
        del width
        self.query_one("#history").styles.height = max(4, (height - 3) * 9 // 20)

    @property
    def view(self) -> LayersView | None:
        """What is known of the layers; None before the first answer."""
        return self.frame.detail if isinstance(self.frame.detail, LayersView) else None

    def show(self) -> None:
        """The map, or what is open as soon as it is there."""
        view = self.view
        tensors = None if view is None else self._open(view)
        page = view is not None and tensors is not None and not self._ask.tensors
        self.set_class(page, "-page")
        self.set_class(tensors is not None and not page, "-table")
        if view is None:
            self._picture("map").draw_with(lambda w, h: paint([say(" reading the layers", "dim")], w, h, self.glyphs))
            return
        self._picture("menu").draw_with(lambda w, h: draw.draw_head(view, w, h, self.glyphs))
        if tensors is not None:
            self._show_open(view, tensors)
            return
        at, lines = self._at(), marks(self.frame)
        seen = view, view.grid, at   # the arrays stand behind their grid
        self._picture("map").draw_with(lambda w, h: draw.draw_map(view, at, lines, w, h, self.glyphs), *seen, lines)
        size = self._picture("map").size
        rows = draw.map_rows(size.width, size.height)
        self._picture("foot").draw_with(lambda w, h: draw.draw_foot(view, at, rows, w, h, self.glyphs), *seen, rows)

    def _show_open(self, view: LayersView, tensors: Tensors) -> None:
        read, title = self._read, "all parameters"
        if view.page is not None and not self._ask.tensors:
            title = f"parameters of {squeeze(view.page.layer, WORDS)}"
            spec = history_spec(view, view.page, marks(self.frame))
            self.query_one(ChartPanel).plot(spec, draw.x_of(view))
        self._picture("tensors").draw_with(
            lambda w, h: table.draw_table(tensors, read, title, w, h, self.glyphs), tensors, read, title)

    def _open(self, view: LayersView) -> Tensors | None:
        """The tensors that are on the screen."""
        if self._ask.tensors:
            return view.tensors
        page = view.page
        return page.tensors if page is not None and page.layer == self._ask.layer else None

    def _picture(self, name: str) -> PictureView:
        return self.query_one(f"#{name}", PictureView)

    @property
    def pointed(self) -> int | None:
        """The step under the cursor."""
        return self._look.at

    def _at(self) -> Look:
        """The cursor, at the panel's crosshair where it has not been moved here."""
        at = self._look.at if self._look.at is not None else self.frame.wanted.cursor
        return replace(self._look, at=at)

    def _asking(self, ask: Ask) -> None:
        self._ask, self._read = ask, table.Reading(worst=ask.layer is not None)
        self.ask(ask)
        self.show()

    def back(self) -> bool:
        """Close what is open, then what was chosen."""
        if self._ask.tensors or self._ask.layer is not None:
            self._asking(Ask(self._ask.quantity))
        elif self._look.filter:
            self._look = self._look.filtered("")
        elif self._look != Look():
            self._look = Look()
        else:
            return False
        self.show()
        return True

    # ------------------------------------------------------------------ keys

    def action_layer(self, which: int) -> None:
        """The layer above or below; a page on in a table."""
        view = self.view
        if view is None:
            return
        tensors, down = self._open(view), _BY[which % 2]
        if tensors is not None:
            size = self._picture("tensors").size
            rows = table.rows_for(size.width, size.height)
            by = down * (max(1, rows - 1) if which >= 4 else 1)
            self._read = self._read.read(by, len(table.ordered(tensors, self._read)), rows)
        else:
            height = self._rows()
            self._look = look.moved(view, self._look, down * (max(1, height - 1) if which >= 4 else 1), height)
        self.show()

    def _rows(self) -> int:
        size = self._picture("map").size
        return draw.map_rows(size.width, size.height)

    def action_moment(self, which: int) -> None:
        """The step to the left or right; the first, the newest."""
        view = self.view
        if view is None or self._open(view) is not None:
            return
        size = self._picture("map").size
        width = draw.map_width(view, self._look, size.width, size.height, self.glyphs)
        by = _BY[which % 2] * (1 if which < 2 else 10 if which < 4 else 1 << 20)
        self._look = look.timed(view, self._at(), by, draw.x_of(view), width)
        self.show()

    def action_quantity(self, which: int) -> None:
        """The next or the last of what the run has."""
        view = self.view
        if view is not None:
            self._look = replace(self._look, worst=None)
            self._asking(replace(self._ask, quantity=turned(self._ask.quantity, _BY[1 - which])))

    def action_worst(self) -> None:
        """Worst first, or in the order of the model."""
        view = self.view
        if view is not None and self._open(view) is not None:
            self._read = replace(self._read, worst=not self._read.worst, top=0)
        elif view is not None:
            self._look = self._look.sorted(view)
        self.show()

    def action_unfold(self) -> None:
        """One row per layer, or all of them in one picture."""
        self._look = self._look.unfolded()
        self.show()

    def action_open_layer(self) -> None:
        """What is under the cursor: a layer; of a row of several each by itself."""
        view = self.view
        if view is None or self._open(view) is not None:
            return
        now = look.shown(view, self._look, self._rows())
        if now.row is None:
            self.flash("choose a layer first: ↑↓")
            return
        members = now.members(now.row)
        chosen = view.layers[look.worst_of(view, members, self._at().at)]
        if len(members) > 1:
            self._look = self._look.unfolded(chosen)
            self.show()
        else:
            self._asking(replace(self._ask, layer=chosen))

    def action_parameters(self) -> None:
        """The table of all tensors, and back."""
        self._asking(Ask(self._ask.quantity, tensors=not self._ask.tensors))

    def action_filter(self) -> None:
        """Only what is called so."""
        view = self.view
        is_open = view is not None and self._open(view) is not None
        self._before = self._read.filter if is_open else self._look.filter
        self.query_one(Prompt).open("filter", "filter", self._before)

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Filter while it is typed."""
        self._filter(event.text)

    def on_prompt_closed(self) -> None:
        """As it was before."""
        self._filter(self._before)

    def _filter(self, words: str) -> None:
        view = self.view
        if view is not None and self._open(view) is not None:
            self._read = replace(self._read, filter=words, top=0)
        else:
            self._look = self._look.filtered(words)
        self.show()

    def on_click(self, event: events.Click) -> None:
        """The layer and the step that were clicked on."""
        view = self.view
        if view is None or event.widget is not self._picture("map"):
            return
        size = self._picture("map").size
        self._look = draw.clicked(view, self._look, (event.x, event.y), (size.width, size.height), self.glyphs)
        self.show()
