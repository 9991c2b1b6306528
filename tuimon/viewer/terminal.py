"""The one place, with `compositor`, that touches Textual's private parts, each guarded, and the process's signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from textual.dom import NoScreen

from tuimon.viewer.listening import Ear
from tuimon.viewer.outlet import Outlet
from tuimon.viewer.pace import QUESTION, Pace
from tuimon.viewer.terse import terse

if TYPE_CHECKING:
    from textual._xterm_parser import XTermParser
    from textual.driver import Driver
    from textual.geometry import Region
    from textual.message import Message

    from tuimon.viewer.background import Background

BACKLOG: Final = 1
"""Writes that may wait in the driver's queue before new data waits as well."""
FULL: Final = 3
"""Writes in the queue beyond which nothing more is drawn: each may be a screen."""
ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
SETTLE: Final = 0.7
"""Seconds that leaving waits for the terminal's last answers, which would be typed into the shell."""
HURRY: Final = 0.5
"""Seconds that leaving waits for a terminal that takes nothing."""


def backlog(app: Any) -> int:
    """Writes that wait for the terminal; 0 where that cannot be told."""
    queue = getattr(getattr(getattr(app, "_driver", None), "_writer_thread", None), "_queue", None)
    try:
        return int(queue.qsize()) if queue is not None else 0
    except (AttributeError, NotImplementedError):
        return 0


def on_ending_signals(leave: Callable[[int], object]) -> None:
    """Have the signals that end a program leave by the front door: Textual 8.2 would not restore the terminal.

    `leave` is given the signal's number.
    """
    for number in ENDING:
        _hear(number, leave, int(number))


def _hear(number: int, handler: Callable[..., object], *args: object) -> None:
    """Have the running loop call `handler` between two of its callbacks; as before where that cannot be had."""
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        asyncio.get_running_loop().add_signal_handler(number, handler, *args)


def send(app: Any, data: str) -> None:
    """Bytes to the terminal that are no picture."""
    driver = getattr(app, "_driver", None)
    if driver is not None and not app.is_headless:
        driver.write(data)


def ask(app: Any) -> None:
    """Have the driver ask the terminal for an answer to what was drawn since it last asked."""
    asking = getattr(getattr(app, "_driver", None), "ask", None)
    if asking is not None:
        asking()


def hold(app: Any) -> bool:
    """Draw nothing until `release`; widgets remember what they have to draw. Whether that can be done."""
    begin = getattr(app, "_begin_batch", None)
    if begin is not None:
        begin()
    return begin is not None


def release(app: Any, *, whole: bool) -> None:
    """Draw again; `whole`: everything, as a layout was left out."""
    with contextlib.suppress(AttributeError, AssertionError):
        app._end_batch()  # noqa: SLF001 - guarded
    if app.screen_stack:
        if whole:
            app.screen.refresh(layout=True)
        app.screen.check_idle()


def shine_through(screen: Any) -> bool:
    """Have the screen above draw what has changed in this one; False where there is none above, or that is for Textual.

    Textual 8.2 marks the lower screen dirty as a whole at this, for ever: 70 kB a second behind an open dialog.
    """
    app = screen.app
    regions = getattr(getattr(screen, "_compositor", None), "_dirty_regions", None)
    widgets = getattr(screen, "_dirty_widgets", None)
    visible = getattr(app, "_background_screens", None)
    if regions is None or widgets is None or visible is None or app.is_inline or screen is app.screen:
        return False
    if regions and screen in visible:
        app.screen.refresh(*regions)
    regions.clear()
    widgets.clear()
    return True


def redraw(widget: Any, regions: Iterable[Region], *, is_bare: bool) -> bool:
    """Have parts of a widget drawn with the screen's next update; whether that can be done.

    Textual's `refresh` wakes the widget, which tells the screen: of a row that costs as much as to draw it.
    `is_bare`: its content is all that it draws, and nothing of it is kept by Textual.
    """
    mark, parts = getattr(widget, "_set_dirty", None), getattr(widget, "_repaint_regions", None)
    if mark is None or parts is None or not widget.is_mounted:
        return False
    try:
        screen = widget.screen
    except NoScreen:   # it has been taken away
        return False
    widgets = getattr(screen, "_dirty_widgets", None)
    if widgets is None:
        return False
    if is_bare:
        parts.update(regions)
    else:
        mark(*regions)
    widgets.add(widget)
    if not getattr(screen, "is_showing", False):
        screen.check_idle()
    return True


def draw(screen: Any) -> None:
    """Draw what is to be drawn now: Textual has a timer do it, which wakes this process twice more."""
    update = getattr(screen, "_on_timer_update", None)
    if update is not None:
        update()


def lay_out(app: Any) -> None:
    """Give the widgets their places also while nothing is drawn; else they learn their sizes in front of everybody."""
    if not app.screen_stack:   # it is ending
        return
    screen = app.screen
    with contextlib.suppress(AttributeError):
        if screen._layout_required:  # noqa: SLF001 - guarded
            screen._layout_required = False  # noqa: SLF001 - guarded
            screen._refresh_layout()  # noqa: SLF001 - guarded


def is_lost(fd: int = 0) -> bool:
    """Whether the terminal is gone: a viewer on a dead one would burn 39 % of a core for ever."""
    try:
        return not os.isatty(fd)
    except OSError:
        return True


def terse_driver(env: Mapping[str, str], background: Background | None = None,
                 found: Callable[[bool], object] | None = None) -> type[Driver] | None:
    """Textual's driver for terminals, sending fewer bytes; None, its own choice, where that is another one.

    Keys typed before the screen was there come first. An answer of the terminal about its background that is still
    under way is kept out of the keys, and `found` told, in the thread that reads.
    """
    if os.name != "posix" or env.get("TEXTUAL_DRIVER"):
        return None
    from textual._ansi_sequences import SYNC_END, SYNC_START
    from textual.drivers import linux_driver

    class TerseDriver(linux_driver.LinuxDriver):
        """Says a colour once, and an update with the marks around it in one go: each write wakes a thread."""

        _update = ""
        """What has come of an update that has not ended."""
        _ear: Ear | None = None

        def write(self, data: str) -> None:
            """Hand on what differs."""
            if data == SYNC_START or (self._update and data != SYNC_END):
                self._update += data
                return
            data, self._update = self._update + data, ""
            super().write(terse(data))

        def stop_application_mode(self) -> None:
            """Give the terminal back, our own screen empty: a tmux that was resized takes its last rows along."""
            self.write("\x1b[0m\x1b[2J\x1b[H")
            super().stop_application_mode()

        def disable_input(self) -> None:
            """Textual's own, which waits for the thread that reads."""
            if self._ear is not None:
                self._ear.wake()
            super().disable_input()

        def _listen(self) -> Ear:
            self._ear = Ear()
            return self._ear

        def run_input_thread(self) -> None:
            """Read through the sieve, and sleep while nothing comes."""
            names = vars(linux_driver)   # the loop finds its parser there, and what it waits with
            plain: dict[str, Any] = {name: names[name] for name in ("XTermParser", "selectors") if name in names}
            if "selectors" in plain:
                names["selectors"] = SimpleNamespace(SelectSelector=self._listen, EVENT_READ=selectors.EVENT_READ)
            if "XTermParser" in plain and background is not None:
                names["XTermParser"] = _sieving(plain["XTermParser"], background, found)
            try:
                super().run_input_thread()
            finally:
                names.update(plain)

    return TerseDriver


def _sieving(plain: type[XTermParser], background: Background,
             found: Callable[[bool], object] | None) -> type[XTermParser]:
    """Textual's parser of input, which knows no answer to a question about colours and would take it for keys."""
    sieve = background.sieve

    class SievingParser(plain):  # type: ignore[valid-type, misc]  # a class given by the caller
        """What was typed first; then what is typed, without answers."""

        _ahead = background.typed

        def feed(self, data: str) -> Iterable[Message]:
            """"" is the end of input."""
            was_known = sieve.dark is not None
            ahead, self._ahead = self._ahead, ""
            typed = ahead + (sieve.feed(data) if data else "")
            if found is not None and sieve.dark is not None and not was_known:
                found(sieve.dark)
            if typed:
                yield from super().feed(typed)
            if not data:
                yield from super().feed("")

        def tick(self) -> Iterable[Message]:
            """Now and then."""
            ahead, self._ahead = self._ahead + sieve.flush(), ""
            if ahead:
                yield from super().feed(ahead)
            yield from super().tick()

    return SievingParser


def paced_driver(plain: type[Driver], pace: Pace) -> type[Driver]:
    """A driver that has the terminal say when it has shown what was drawn."""
    from textual import events

    class PacedDriver(plain):  # type: ignore[valid-type, misc]  # a class given by the caller
        """Asks after what was drawn, and tells answers from keys."""

        _writer_thread: Any = None
        _unasked = False
        _leaving = False

        def start_application_mode(self) -> None:
            """Take the terminal, and ask before anything large is on the way."""
            pace.restart()
            super().start_application_mode()
            if self._writer_thread is not None:   # None: a background job that may not write stops itself
                self._leaving, self._unasked = False, True
                self.ask()

        def write(self, data: str) -> None:
            """Hand on."""
            self._unasked = True
            super().write(data)

        def ask(self) -> None:
            """Have the terminal say when it has shown all this."""
            if pace.is_on and self._unasked and not self._leaving:
                pace.asked(time.monotonic())
                super().write(QUESTION)
                self._unasked = False

        def process_message(self, message: Message) -> None:
            """Take answers, in the thread that reads; a modified F3, which looks like one, is a key."""
            if isinstance(message, events.CursorPosition):
                if message.y == 0 and 0 < message.x < 16:
                    message = events.Key(_f3(message.x), None)
                else:
                    pace.answered()
            super().process_message(message)

        def disable_input(self) -> None:
            """Wait for the last answers, a little."""
            if not self._leaving:
                self._leaving = True
                pace.settle(SETTLE)
            super().disable_input()

    return PacedDriver


def steady_driver(plain: type[Driver] | None, pace: Pace) -> type[Driver] | None:
    """A driver for terminals that are slow, stand still, are left for a while or are gone; None as `plain` is None."""
    if plain is None:
        return None

    class SteadyDriver(paced_driver(plain, pace)):  # type: ignore[misc]  # a class given by the caller
        """Never waits for the terminal, and takes it again after it was left, or lost."""

        _outlet: Outlet | None = None
        _is_away = True

        def start_application_mode(self) -> None:
            """Take the terminal."""
            if self._outlet is None and hasattr(self, "_file"):
                with contextlib.suppress(OSError, AttributeError, ValueError):
                    self._outlet = Outlet(self._file.fileno(), self._file.encoding or "utf-8")
                    self._file: Any = self._outlet
            super().start_application_mode()
            queue = getattr(self._writer_thread, "_queue", None)
            if queue is not None:
                queue.maxsize = 0  # full, it would block the loop and with it keys and signals; the gate keeps it short
                self._is_away = False
            self._hear_between_writes()

        def _hear_between_writes(self) -> None:
            """Leave, come back and be resized from the loop, and not amid anything else, as Textual 8.2 does.

            There the first two may wait for a lock of its own for ever, and of two sizes the older may be the last.
            """
            resized = signal.getsignal(signal.SIGWINCH)
            if callable(resized):
                _hear(signal.SIGWINCH, resized, int(signal.SIGWINCH), None)
            for number, name in ((signal.SIGTSTP, "_sigtstp_application"), (signal.SIGCONT, "_sigcont_application")):
                handler = getattr(self, name, None)
                if handler is not None:
                    _hear(number, handler)

        def disable_input(self) -> None:
            """Leave, whatever the terminal takes."""
            if self._outlet is not None and not self._leaving:
                if self._outlet.is_gone:
                    pace.restart()
                self._outlet.hurry(SETTLE + HURRY)
            super().disable_input()

        def suspend_application_mode(self) -> None:
            """Give the terminal back for a while."""
            self._is_away = True
            super().suspend_application_mode()

        def resume_application_mode(self) -> None:
            """Take it again, also where it was lost unseen: stopped by SIGSTOP, this process could not give it back.

            Not while leaving, nor one that is gone: with SIGHUP comes SIGCONT.
            """
            if self._writer_thread is None or is_lost(self.fileno) or (self._leaving and not self._is_away):
                return
            if not self._is_away:
                super().suspend_application_mode()
            if self._outlet is not None:
                self._outlet.wait()
            super().resume_application_mode()
            self.send_message(self.SignalResume())

        def _run_input_thread(self) -> None:
            """Read keys; a terminal that cannot be read is lost, which others find out."""
            with contextlib.suppress(OSError, ValueError):
                self.run_input_thread()

    return SteadyDriver


def _f3(modifiers: int) -> str:
    """The name of F3 with modifiers (bits: shift, alt, ctrl, meta), as Textual builds names."""
    held = sorted(name for bit, name in enumerate(("shift", "alt", "ctrl", "meta")) if modifiers >> bit & 1)
    return "+".join((*held, "f3"))
