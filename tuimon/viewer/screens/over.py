"""What lies over a place for a moment, dialogs, help, palette; and what lies below, which goes on meanwhile."""

from __future__ import annotations

from typing import TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

from tuimon.record.rundir import RunDir
from tuimon.viewer import terminal
from tuimon.viewer.compositor import compositor
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.views import Frame

Result = TypeVar("Result")


class Over(ModalScreen[Result]):
    """Leaves once: keys that are still on their way to it must not take the screen below as well."""

    def __init__(self, glyphs: GlyphSet) -> None:
        super().__init__(classes="-ascii" if glyphs.name == "ascii" else None)
        self._compositor = compositor()

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leave with a result; nothing where something else is in front by now."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def takes(self, key: events.Key) -> bool:
        """Whether a key is for it."""
        del key
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No key before there is something to show what it does."""
        return self.is_mounted and super().check_action(action, parameters)


class Below(Screen[None]):
    """A place. Under a dialog it is drawn where something changes, and not, as Textual would, all of it each time."""

    is_showing = False
    """Whether a frame is being shown: what it changes is drawn at its end."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = compositor()

    @property
    def login(self) -> RunDir | None:
        """By which link a person would log in from here; None: that of the run."""
        return None

    def show_frame(self, frame: Frame) -> None:
        """Show this moment."""
        raise NotImplementedError

    def show_at_once(self, frame: Frame) -> None:
        """Show this moment, and draw what is new in it before anything else is done."""
        self.is_showing = True
        try:
            self.show_frame(frame)
        finally:
            self.is_showing = False
        terminal.draw(self)

    def _compositor_refresh(self) -> None:
        """Textual's own."""
        if not terminal.shine_through(self):
            super()._compositor_refresh()
