"""What every place has: a header, its keys at the bottom, and a word where the terminal is too small.

Shows frames; holds how one person looks at the place, never state of the run.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult

from tuimon.viewer import arrange
from tuimon.viewer.glyphs import BRAILLE, GlyphSet
from tuimon.viewer.looks import Around
from tuimon.viewer.messages import Asked
from tuimon.viewer.screens.keys import pressed
from tuimon.viewer.screens.layout import LEAST
from tuimon.viewer.screens.over import Below
from tuimon.viewer.settings import Settled
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.footer import Footer
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.words import Words


class PlaceScreen(Below):
    """The frame of a place. A place gives `compose_body`, `divide` and `show`, and binds `bindings(PLACE)`."""

    PLACE: ClassVar[Place]
    DEFAULT_CSS = """
    PlaceScreen { overflow: hidden; }
    PlaceScreen > Words { height: 1; width: 1fr; }
    PlaceScreen > #small { display: none; height: 1fr; }
    PlaceScreen.-tiny > * { display: none; }
    PlaceScreen.-tiny > #small { display: block; }
    """
    WHEEL: ClassVar[int] = 1
    """How often a turn of the wheel presses ↑ or ↓."""
    AUTO_FOCUS = ""
    """Nothing: None would be the app's own, which is the first line to type in."""
    settled = Settled()
    """What this person prefers."""
    around = Around("truecolor", BRAILLE)
    """What the terminal is like."""

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__()
        self.frame, self.ink, self.glyphs = frame, ink, glyphs

    def compose(self) -> ComposeResult:
        """Header, body, keys."""
        yield Words(arrange.header, self.frame, self.ink, self.glyphs, id="header")
        yield from self.compose_body()
        yield Footer(self.PLACE, self.frame, self.ink, self.glyphs)
        yield Words(arrange.too_small, self.frame, self.ink, self.glyphs, id="small")

    def compose_body(self) -> ComposeResult:
        """What stands between header and keys."""
        raise NotImplementedError

    def divide(self, width: int, height: int) -> None:
        """Give the parts of the body their rows, for a terminal of that size."""

    def show(self) -> None:
        """Draw `self.frame`; its detail is None, or another place's, until this one's producer has answered."""
        raise NotImplementedError

    def on_resize(self, event: events.Resize) -> None:
        """Divide the new size."""
        width, height = event.size
        tiny = width < LEAST[0] or height < LEAST[1]
        self.set_class(tiny, "-tiny")
        if not tiny:
            self.divide(width, height)
            self.show()

    def show_frame(self, frame: Frame) -> None:
        """Show this moment."""
        self.frame = frame
        if not self.is_mounted:
            return
        for words in self.query(Words):
            words.tell(frame)
        if not self.has_class("-tiny"):
            self.show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No key before there is something to show what it does: keys are sent here as soon as this is in front."""
        return self.is_mounted and super().check_action(action, parameters)

    async def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel does what the arrows do."""
        event.stop()
        await self._turn_wheel("down")

    async def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The other way."""
        event.stop()
        await self._turn_wheel("up")

    async def _turn_wheel(self, key: str) -> None:
        action = pressed(key, self.PLACE)
        if action is not None:
            for _ in range(self.WHEEL):
                await self.run_action(action)

    def suit(self, settled: Settled, around: Around) -> None:
        """Take note of what is preferred; `wear` follows where that looks different."""
        self.settled, self.around = settled, around

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Another theme or glyph set."""
        self.ink, self.glyphs = ink, glyphs
        for view in self.query(PictureView):
            view.wear(ink, glyphs)
        self.show_frame(self.frame)

    @property
    def pointed(self) -> int | None:
        """The step under a cursor of its own."""
        return None

    def flash(self, text: str, seconds: float = 3.0) -> None:
        """Say something in the footer's place for a moment."""
        self.query_one(Footer).flash(text, seconds)

    def ask(self, ask: object) -> None:
        """Tell the feed what this place wants to show; a frame with it comes."""
        self.post_message(Asked(self.PLACE, ask))

    def habits(self) -> object:
        """How this person looks at the place, whatever run it shows; None where it is all about the run."""
        return None

    def resume(self, habits: object) -> None:
        """Begin as another run's screen of this place was left."""

    def begin_with(self, ask: object, frame: Frame) -> None:
        """Somebody comes here for the sake of something; most places show it once the feed has found it."""

    def back(self) -> bool:
        """One layer out within this place; False where there is none left."""
        return False
