"""The part of the app that knows where one is: builds places, brings them to the front, takes what they ask for."""

from __future__ import annotations

from dataclasses import replace

from tuimon.viewer.actions import CHARTED, STEERING
from tuimon.viewer.charts.picture import NOTHING
from tuimon.viewer.dressing import Dressed
from tuimon.viewer.looking import Looking
from tuimon.viewer.messages import Asked, GoTo
from tuimon.viewer.places import PLACES, loaded
from tuimon.viewer.screens.over import Over
from tuimon.viewer.screens.overview import Overview
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.turning import Turning
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView


class Placed(Looking, Dressed):
    """An app of places, one of them in front. The overview is there from the start, the others from the first visit."""

    _overview: Overview
    _front: Overview | PlaceScreen
    _places: dict[Place, PlaceScreen]
    _asks: dict[Place, object]
    """What each place asks of the feed."""
    _habits: dict[Place, object]
    _home: Place
    """Where it began: from the overview esc leads back there."""
    _turning: Turning

    def move_in(self, frame: Frame, home: Place, ask: object) -> None:
        """Before the first paint, and once it is dressed."""
        self._turning = Turning(self, self._is_drawn, self._is_told)
        self._frame = frame
        self._front = self._overview = Overview(frame, self._ink, self._glyphs)
        self._overview.suit(self.settled, self.around)
        self._places, self._habits, self._asks, self._home = {}, {}, {home: ask}, home

    def wearers(self) -> list[Overview | PlaceScreen]:
        """Every screen that lives."""
        return [self._overview, *self._places.values()]

    def in_front(self) -> Overview | PlaceScreen:
        """The one that is looked at."""
        return self._front

    def pointed(self) -> int | None:
        """Where the place in front has a cursor of its own."""
        return self._front.pointed

    async def action_go(self, place: Place) -> None:
        """To another place."""
        await self._go(place)

    async def on_go_to(self, message: GoTo) -> None:
        """To another place, with something to show there."""
        if message.ask is not None:
            self._asks[message.place] = message.ask
        await self._go(message.place, message.ask)

    def on_asked(self, message: Asked) -> None:
        """A place wants something else."""
        self._asks[message.place] = message.ask
        if message.place == self._wanted.place:
            self._want(replace(self._wanted, ask=message.ask))

    async def _go(self, place: Place, ask: object = None) -> None:
        """Keys are taken while a screen is built: what another key relies on is done before that is awaited.

        `ask`: what to begin with there.
        """
        if place == self._front.PLACE:
            return
        while isinstance(self.screen, Over):
            self.screen.dismiss(None)   # it was about where one was
        self._turning.begin()
        try:
            if self._front is not self._overview:
                self.pop_screen()
            self._front = screen = self._screen_of(place)
            if ask is not None and isinstance(screen, PlaceScreen):
                screen.begin_with(ask, self._frame)
            self._want(self._wanted.visits(place, self._asks.get(place)))
            if screen is not self._overview:
                await self.push_screen(screen)
            screen.show_frame(self._frame)
        finally:
            self._turning.built()

    def _is_drawn(self) -> bool:
        """Whether the place in front has a picture everywhere."""
        drawn = [view.picture is not NOTHING for view in self._front.query(PictureView) if view.is_on_screen]
        return bool(drawn) and all(drawn)

    def _is_told(self) -> bool:
        """Whether it has got what it is there to show."""
        return self._front is self._overview or self._frame.wanted.place == self._front.PLACE

    def _screen_of(self, place: Place) -> Overview | PlaceScreen:
        if place == "overview":
            return self._overview
        screen = self._places.get(place)
        if screen is None:
            screen = self._places[place] = loaded(PLACES[place].screen)(self._frame, self._ink, self._glyphs)
            screen.suit(self.settled, self.around)
            screen.resume(self._habits.get(place))
            self.install_screen(screen, name=place)
        return screen

    async def action_back(self) -> None:
        """One layer out: of the place, then of what is looked at, then of the place itself."""
        if self._front.back():
            return
        nearer = self._wanted.back()
        if nearer is not None and self._front.PLACE in CHARTED:
            self._want(nearer)
        else:
            await self._go("overview" if self._front is not self._overview else self._home)

    def _forget(self) -> None:
        """What was chosen or searched in one run means nothing in another: its places begin anew, but for habits."""
        self._overview.forget()
        for place in STEERING:
            screen = self._places.get(place)
            if screen is not None and screen is not self._front:
                self._habits[place] = self._places.pop(place).habits()
                self.uninstall_screen(screen)
                screen.remove()
