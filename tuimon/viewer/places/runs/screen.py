"""The runs on the screen: choosing, marking, filtering, naming, deleting, opening. Draws what `draw` draws."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from tuimon.record.rundir import RunDir
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.messages import GoTo, OpenRun
from tuimon.viewer.places.runs import draw
from tuimon.viewer.places.runs.model import NO_RUNS, Ask, Look, Order, Row, RunsView, listed, paths
from tuimon.viewer.places.runs.words import ask_delete, barred, on, refusal
from tuimon.viewer.screens.confirm import Confirm
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.prompt import Prompt

MOVES = (-1, 1, -1, 1, 0, 0, -1_000_000, 1_000_000)
"""Of the keys that choose, in their order; 0: by a page, up and down."""
WORDS = {"filter": "/", "rename": "name", "note": "note"}


class RunsScreen(PlaceScreen):
    """The list, and below it the chosen run."""

    PLACE: ClassVar[Place] = "runs"
    WHEEL: ClassVar[int] = 3
    BINDINGS: ClassVar[list[BindingType]] = bindings("runs")
    CSS = """
    #runs-list { height: 1fr; width: 1fr; }
    #runs-about { height: 2; width: 1fr; }
    #runs-words { width: 1fr; height: 1fr; }
    #runs-curve { width: 40; height: 1fr; display: none; }
    """

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._look, self._before = Look(), Look()
        self._orders: tuple[Order, ...] = ()
        self._serial = self._heard = 0
        self._rows: tuple[Row, ...] = ()
        self._listed_for: tuple[object, ...] = ()
        self._framed = self._has_chosen = False

    def compose_body(self) -> ComposeResult:
        """List, chosen run, line to type in."""
        yield PictureView(self.ink, self.glyphs, id="runs-list")
        with Horizontal(id="runs-about"):
            yield PictureView(self.ink, self.glyphs, id="runs-words")
            yield ChartPanel(self.ink, self.glyphs, id="runs-curve")
        yield Prompt()

    def divide(self, width: int, height: int) -> None:
        """By size only: nothing moves while one looks."""
        self._framed = width >= 100 and height >= 28
        self.query_one("#runs-about").styles.height = 12 if self._framed else 2 if height >= 16 else 0
        curve = self.query_one("#runs-curve")
        curve.display = self._framed and width >= 110
        curve.styles.width = min(80, width * 2 // 5)

    @property
    def _view(self) -> RunsView:
        detail = self.frame.detail
        return detail if isinstance(detail, RunsView) else NO_RUNS

    def _count(self) -> int:
        size = self.query_one("#runs-list").size
        return draw.inside(size.width, size.height, framed=self._framed, hosts=bool(self._view.hosts))[1]

    def show(self) -> None:
        """Draw the list, and what is known of the chosen run."""
        view, framed, glyphs = self._view, self._framed, self.glyphs
        self._listen(view)
        wanted = (view, self._look.query, self._look.sort)
        if wanted != self._listed_for:
            self._rows, self._listed_for = listed(view, self._look), wanted
        rows = self._rows
        if not self._has_chosen:
            self._look = replace(self._look, key=view.here, row=0)   # where one comes from, or the first
        self._look = look = self._look.at(rows, self._count())
        chosen = look.chosen(rows)
        self.query_one("#runs-list", PictureView).draw_with(
            lambda w, h: draw.draw_table(view, rows, look, w, h, glyphs, framed=framed), view, rows, look, framed)
        words = self.query_one("#runs-words", PictureView)
        if framed:
            words.draw_with(lambda w, h: draw.draw_details(chosen, view, look, w, h, glyphs), chosen, view, look)
            self.query_one("#runs-curve", ChartPanel).plot(*draw.curve_spec(chosen))
        else:
            words.draw_with(lambda w, h: draw.draw_brief(chosen, view, look, w, h, glyphs), chosen, view, look)

    def _listen(self, view: RunsView) -> None:
        """What has become of orders, once."""
        for outcome in view.outcomes:
            if outcome.serial > self._heard:
                self._heard = outcome.serial
                self._orders = tuple(order for order in self._orders if order.serial > outcome.serial)
                self.flash(outcome.words, 5.0)

    def _turn(self, look: Look) -> None:
        self._look, self._has_chosen = look, True
        self.show()

    def _order(self, order: Order) -> None:
        self._orders = (*self._orders, order)
        self.ask(Ask(self._orders))

    @property
    def _chosen(self) -> Row | None:
        return self._look.chosen(self._rows)

    # ------------------------------------------------------------------ keys

    def action_runs_pick(self, which: int) -> None:
        """Choose another run."""
        count = self._count()
        by = MOVES[which] or (max(1, count - 1) if which % 2 else -max(1, count - 1))
        self._turn(self._look.moved(self._rows, by, count))

    def action_open_run(self) -> None:
        """Open the chosen run in this panel."""
        if (row := self._chosen) is not None:
            self.post_message(OpenRun(row.entry.path))

    def action_runs_mark(self) -> None:
        """Mark the chosen run, and go on to the next."""
        if (row := self._chosen) is not None:
            self._turn(self._look.turned(row.key).moved(self._rows, 1, self._count()))

    def action_runs_compare(self) -> None:
        """Lay the marked runs over each other."""
        from tuimon.viewer.places.compare.model import MOST, Source
        from tuimon.viewer.places.compare.model import Ask as Comparing

        found = paths(self._view, self._look)
        if not 2 <= len(found) <= MOST:
            self.flash("mark two runs or more with space: d lays them over each other" if len(found) < 2 else
                       f"{len(found)} runs are marked: {MOST} at most can be told apart")
            return
        names = {row.entry.path: f"{row.name}{on(row)}" for row in self._view.rows}
        self.post_message(GoTo("compare", Comparing(tuple(Source(names[path], path) for path in found))))

    def action_runs_filter(self) -> None:
        """Show only some of them."""
        self._before = self._look
        self.query_one(Prompt).open("filter", WORDS["filter"], self._look.filter)

    def action_runs_rename(self) -> None:
        """Call the chosen run something else."""
        self._type("rename")

    def action_runs_note(self) -> None:
        """Note something about the chosen run."""
        self._type("note")

    def _type(self, purpose: str) -> None:
        row = self._chosen
        if row is None:
            return
        if why := barred(self._view.host_of(row)):
            self.flash(f"{WORDS[purpose]}: {why}")
            return
        self._before = self._look   # what is typed is about this run, whatever is chosen meanwhile
        self.query_one(Prompt).open(purpose, WORDS[purpose], row.name if purpose == "rename" else row.note)

    def action_runs_delete(self) -> None:
        """Delete the chosen run, if the answer is yes."""
        row = self._chosen
        if row is None or not self.is_active:   # the key was hit twice
            return
        why = refusal(row, self._view.host_of(row))
        if why:
            self.flash(f"delete: {why}")
            return
        self.app.push_screen(Confirm.of(ask_delete(row, self._view), self.ink, self.glyphs),
                             lambda answer: self._delete(row.key) if answer == "yes" else None)

    def _delete(self, key: str) -> None:
        self._serial += 1
        self._order(Order(self._serial, "delete", key))

    def action_runs_sort(self) -> None:
        """By something else."""
        self._turn(self._look.sorted_next())

    @property
    def login(self) -> RunDir | None:
        """That of the chosen run's machine, where it is asked for, or else the first that is."""
        hosts = [host for host in self._view.hosts if host.state == "refused"]
        mine = [] if (row := self._chosen) is None else [host for host in hosts if host.name == row.entry.machine]
        return next((RunDir(host.place) for host in (*mine, *hosts)), None)

    def back(self) -> bool:
        """First the filter goes, then the marks."""
        if self._look.filter:
            self._turn(self._look.filtered(""))
        elif self._look.marked:
            self._turn(self._look.unmarked())
        else:
            return False
        return True

    # ------------------------------------------------------------------ typing and pointing

    def on_prompt_changed(self, message: Prompt.Changed) -> None:
        """A filter shows what it does while it is typed."""
        if message.purpose == "filter":
            self._turn(self._look.filtered(message.text))

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """It stands: keep the filter, or write name and note beside the run."""
        if message.purpose == "filter":
            look = self._look.filtered(message.text)
            self._turn(look if not look.problem else look.filtered(self._before.filter))
            return
        row = self._before.chosen(self._view.rows)
        if row is not None:
            label = row.entry.label
            name = message.text if message.purpose == "rename" else label.name
            note = message.text if message.purpose == "note" else label.note
            self._serial += 1
            self._order(Order(self._serial, "label", row.key, "" if name == row.entry.run_name else name, note))

    def on_prompt_closed(self, message: Prompt.Closed) -> None:
        """As it was before."""
        if message.purpose == "filter":
            self._turn(self._look.filtered(self._before.filter))

    def on_click(self, event: events.Click) -> None:
        """A click chooses; on what is chosen it opens."""
        if event.widget is not self.query_one("#runs-list"):
            return
        above = 3 if self._view.hosts else 2
        at = self._look.top + event.y - above
        if event.y >= above and 0 <= at < len(self._rows):
            if self._rows[at].key == self._look.key:
                self.action_open_run()
            else:
                self._turn(self._look.moved(self._rows, at - self._look.row, self._count()))
