"""Several questions over one line: the list of the runs, and runs that were opened from it. Knows no disk.

Every message of theirs bears its number in "c", either way; the first agent's, who began the line, bear none.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Sequence

from tuimon.remote.far.listing import Listing, root_for
from tuimon.remote.far.wire import Packer

LIST = -1
"""The number of the list."""
MOST = 16
"""Runs that are open at once."""


class _Numbered:
    """Packs what one of them says."""

    def __init__(self, packer: Packer, number: int) -> None:
        self._packer, self._number = packer, number

    def pack(self, head: dict[str, Any], body: bytes = b"") -> bytes:
        """With its number."""
        return self._packer.pack({**head, "c": self._number}, body)


class Hub:
    """In the first agent's place, once more than its run is asked for."""

    instead = None

    def __init__(self, first: Any, make: Callable[[], Any], root: str, names: Sequence[str]) -> None:
        """`make`: another agent; `root`: where this user's runs are; `names`: the metrics by their codes."""
        self._agents: dict[int, Any] = {0: first}
        self._make, self._root, self._names = make, root, names
        self._listing: Listing | None = None

    def receive(self, head: dict[str, Any], body: bytes, now: float) -> None:
        """What the near end says, to whom it may concern."""
        kind, number = head["k"], head.get("c", 0)
        if not isinstance(number, int):
            return
        if number == LIST:
            if kind == "list" and self._listing is None:
                self._listing = Listing(root_for(head.get("root"), self._root), self._names,
                                        control=head.get("control") is True, code=self._agents[0].code)
            elif self._listing is not None:
                self._listing.receive(head, body, now)
            return
        if kind == "close" and number != 0:
            self._agents.pop(number, None)
        elif kind == "open" and number not in self._agents and len(self._agents) <= MOST:
            self._agents[number] = self._make()
        if number in self._agents:
            self._agents[number].receive(head, body, now)

    def poll(self, now: float) -> None:
        """Look at the disk."""
        for agent in self._agents.values():
            agent.poll(now)
        if self._listing is not None:
            self._listing.poll(now)

    def talk(self, packer: Packer, now: float) -> Iterator[bytes]:
        """What there is to say and room for: what is watched before the list."""
        for number, agent in list(self._agents.items()):
            yield from agent.talk(_Numbered(packer, number) if number else packer, now)
        listing = self._listing
        while listing is not None and listing.window.has_room:
            message = listing.next(now)
            if message is None:
                return
            data = packer.pack({**message[0], "c": LIST}, message[1])
            listing.sent(len(data), now)
            yield data
