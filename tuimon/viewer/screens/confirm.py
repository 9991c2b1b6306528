"""A dialog that says what will happen and takes one key for an answer. The harmless answer has the focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from tuimon.viewer.arrange import ROLES
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, text_of
from tuimon.viewer.questions import Question
from tuimon.viewer.screens.over import Over
from tuimon.viewer.text import clean
from tuimon.viewer.theme import Ink

_LEAVE: Final = ("escape", "q", "ctrl+c")


class Answer(NamedTuple):
    """One way out of a dialog."""

    key: str
    words: str
    result: str | None
    """What the dialog returns; None: nothing is done."""


def styled(line: Line, ink: Ink, glyphs: GlyphSet) -> Text:
    """A line as Rich text: never markup, and nothing that is not seen."""
    text = Text(no_wrap=False)
    for span in line:
        words = glyphs.say(span.text)
        text.append(clean(words, len(words)), ink.style(ROLES[span.tone]))
    return text


def laid(line: Line, ink: Ink, glyphs: GlyphSet) -> RenderableType:
    """The same; of a numbered line what is wrapped stands below its words, not below its number."""
    if len(line) < 2 or not line[0].text.strip().isdigit():
        return styled(line, ink, glyphs)
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_row(styled(line[:1], ink, glyphs), styled(line[1:], ink, glyphs))
    return grid


class Choice(Static, can_focus=True):
    """An answer that can be focused, clicked, or taken with enter."""

    class Taken(Message):
        """It was chosen."""

        def __init__(self, answer: Answer) -> None:
            super().__init__()
            self.answer = answer

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "take", show=False)]

    def __init__(self, answer: Answer, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(styled((Span(f" {answer.key} ", "key"), Span(f" {answer.words} ")), ink, glyphs),
                         id=f"answer-{answer.key}", markup=False)
        self.answer = answer

    def action_take(self) -> None:
        """Answer with this."""
        self.post_message(self.Taken(self.answer))

    def on_click(self, event: events.Click) -> None:
        """Answer with this."""
        event.stop()
        self.action_take()


class Confirm(Over["str | None"]):
    """Returns the result of the answer taken; None when it was left alone."""

    CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { max-width: 95%; min-width: 44; height: auto; max-height: 100%;
        border: round $primary; padding: 1 2; background: $surface; overflow-y: auto; }
    Confirm.-ascii > Vertical { border: ascii $primary; }
    Confirm Static { width: auto; max-width: 100%; }
    #heading { margin-bottom: 1; }
    Confirm Horizontal { height: 1; width: 100%; align-horizontal: right; margin-top: 1; }
    Confirm Horizontal Choice { margin-left: 2; width: auto; }
    Confirm Choice:focus { background: $primary 30%; text-style: bold; }
    Confirm Choice:focus:ansi { background: transparent; text-style: bold reverse; }
    Confirm.-short { align: center bottom; }
    Confirm.-short > Vertical { padding: 0 2; }
    Confirm.-low > Vertical { padding: 0 1; height: 100%; min-width: 0; }
    Confirm.-low #heading { margin-bottom: 0; }
    Confirm.-low Horizontal { dock: bottom; margin-top: 0; }
    Confirm.-low Horizontal Choice { margin-left: 0; }
    """
    AUTO_FOCUS = "Choice"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-short"), (32, "-tall")]  # noqa: RUF012  # textual declares it in a way mypy rejects
    """A short screen has the verdict in its first six rows: dialogs leave them free where they can. Where words have to
    scroll, the answers stay."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(_LEAVE), "leave_alone", show=False),
        Binding("right,down", "app.focus_next", show=False), Binding("left,up", "app.focus_previous", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Line], answers: Sequence[Answer], ink: Ink,
                 glyphs: GlyphSet) -> None:
        super().__init__(glyphs)
        self._heading, self._lines, self._answers, self._ink, self._glyphs = title, lines, answers, ink, glyphs
        self._seen: float | None = None

    @classmethod
    def of(cls, question: Question, ink: Ink, glyphs: GlyphSet) -> Confirm:
        """A question with a no and a yes; the no is first and focused."""
        answers = (Answer("n", question.no, None), Answer("y", question.yes, "yes"))
        return cls(question.title, question.lines, answers, ink, glyphs)

    def compose(self) -> ComposeResult:
        """The words, then the answers."""
        with Vertical() as box:
            box.styles.width = self._width()
            yield Static(styled((Span(self._heading, "strong"),), self._ink, self._glyphs), markup=False, id="heading")
            yield Static(Group(*(laid(line, self._ink, self._glyphs) for line in self._lines)), markup=False)
            with Horizontal():
                for answer in self._answers:
                    yield Choice(answer, self._ink, self._glyphs)

    def _width(self) -> int:
        """Columns that nothing wraps in, border and padding included."""
        lines = [self._heading, *(text_of(line) for line in self._lines)]
        answers = sum(cell_len(answer.key) + cell_len(answer.words) + 6 for answer in self._answers)
        return 6 + max(answers, *map(cell_len, lines))

    def on_mount(self) -> None:
        """From now on it takes answers."""
        self._seen = Message().time   # of the clock that keys have

    def takes(self, key: events.Key) -> bool:
        """What was hit before the question could be read is no answer to it; it may still be left alone."""
        return key.key in _LEAVE or (self._seen is not None and key.time >= self._seen)

    def on_key(self, event: events.Key) -> None:
        """The letter of an answer takes it."""
        for answer in self._answers:
            if event.key == answer.key:
                event.stop()
                self.dismiss(answer.result)
                return

    def on_choice_taken(self, message: Choice.Taken) -> None:
        """An answer was clicked or entered."""
        self.dismiss(message.answer.result)

    def action_leave_alone(self) -> None:
        """Do nothing."""
        self.dismiss(None)
