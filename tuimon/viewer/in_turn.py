"""The part of the app that takes one key at a time: each goes to what the one before it has brought to the front.

Textual hands keys on as they come: what is typed right after a key that opens or closes a line to type in would go
where the focus was before. Touches the app's messages.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from textual import events
from textual.app import App
from textual.message import Message

from tuimon.viewer.screens.over import Over

PATIENCE: Final = 0.25
"""Seconds after which a key counts as done: a screen that closes may take with it what tells so."""


class InTurn(App[str]):
    """Holds keys back while one is under way."""

    class Done(Message):
        """Follows a key through the same queues: where it arrives, the key has done what it does."""

        def __init__(self, serial: int) -> None:
            super().__init__()
            self.serial = serial

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._keys: deque[events.Key] = deque()
        self._serial = 0
        self._under_way = False

    async def on_event(self, event: events.Event) -> None:
        """Textual's own, which sends a key to what has the focus."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._keys.append(event)
        if not self._under_way:
            await self._next_key()

    async def _next_key(self) -> None:
        """Send the oldest; the one after it waits."""
        self._under_way = bool(self._keys)
        if not self._keys:
            return
        if not self.screen.is_mounted:   # what it will have the focus on is not there yet
            self.set_timer(0.01, self._next_key)
            return
        event, target = self._keys.popleft(), self.focused or self.screen
        self._serial = serial = self._serial + 1
        if not isinstance(self.screen, Over) or self.screen.takes(event):
            await super().on_event(event)
        if event.is_forwarded and target.post_message(self.Done(serial).set_sender(self)):
            self.set_timer(PATIENCE, lambda: self._key_done(serial))
        else:
            self._key_done(serial)

    def on_in_turn_done(self, message: Done) -> None:
        """A key has gone through."""
        message.stop()
        self._key_done(message.serial)

    def _key_done(self, serial: int) -> None:
        if serial == self._serial:
            self._serial += 1
            self.call_later(self._next_key)   # behind what it has asked for, such as the focus
