"""One line to type in, at the bottom of a screen: a filter, a search, a name. Hidden until it is opened."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from tuimon.viewer.text import clean
from tuimon.viewer.widgets.typed import LONGEST, Typed


class Line(Typed):
    """Tells at once that enter was pressed: a message would come behind the next key."""

    async def action_submit(self) -> None:
        """Enter."""
        prompt = self.parent
        assert isinstance(prompt, Prompt)
        prompt.submit(self.value)


class Prompt(Horizontal):
    """Says what is typed as it is typed, and how it ended. The cursor does not blink: it would cost 3 kB a second."""

    DEFAULT_CSS = """
    Prompt { height: 1; width: 1fr; dock: bottom; display: none; background: $surface; }
    Prompt.-open { display: block; }
    Prompt > Static { width: auto; height: 1; padding: 0 1; color: $primary; }
    Prompt > Input { width: 1fr; height: 1; border: none; padding: 0; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", show=False)]

    class Changed(Message):
        """Another text."""

        def __init__(self, purpose: str, text: str) -> None:
            super().__init__()
            self.purpose, self.text = purpose, text

    class Submitted(Changed):
        """Enter was pressed."""

    class Closed(Message):
        """It was left without an answer."""

        def __init__(self, purpose: str) -> None:
            super().__init__()
            self.purpose = purpose

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._purpose = ""

    def compose(self) -> ComposeResult:
        """The word, and the line."""
        yield Static("", markup=False)
        line = Line(compact=True, select_on_focus=False)
        line.cursor_blink = False
        yield line

    def open(self, purpose: str, word: str, text: str = "") -> None:
        """Ask for a text; `purpose` comes back with it, `word` stands before it."""
        self._purpose = purpose
        self.query_one(Static).update(clean(word))
        line = self.query_one(Input)
        with line.prevent(Input.Changed):
            line.value = text
            line.cursor_position = len(text)
        self.add_class("-open")
        self.screen.set_focus(line)   # at once, so that the next key is typed there

    @property
    def is_open(self) -> bool:
        """Whether keys go here."""
        return self.has_class("-open")

    def action_close(self) -> None:
        """Leave it."""
        self._hide()
        self.post_message(self.Closed(self._purpose))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hand on what is typed."""
        event.stop()
        self.post_message(self.Changed(self._purpose, clean(event.value, LONGEST)))

    def submit(self, text: str) -> None:
        """Hand on what was entered."""
        self._hide()
        self.post_message(self.Submitted(self._purpose, clean(text, LONGEST)))

    def _hide(self) -> None:
        self.remove_class("-open")
        self.screen.set_focus(None)
