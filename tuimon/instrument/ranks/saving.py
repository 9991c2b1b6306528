"""Checkpoints of one rank of several: on an order that all have agreed on, each captures and writes its part.

Without one, rank 0 alone saves what all hold alike, as a run of one rank does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from tuimon.control.commands import Command
from tuimon.errors import CheckpointError
from tuimon.instrument.host import one_line
from tuimon.instrument.portable import portable
from tuimon.instrument.protocols import CheckpointInfo, Checkpoints, Discovery
from tuimon.instrument.ranks.layouts import Layout
from tuimon.instrument.ranks.together import Part, Together
from tuimon.instrument.saving import Saving, Taken

MINE: Final = "rank 0 saves what all ranks hold alike"
"""Why a rank other than 0 writes no checkpoint of its own."""


class Elsewhere:
    """The checkpoints of a run, on a rank other than 0: rank 0 keeps them."""

    def save(self, *_: Any, **__: Any) -> CheckpointInfo:
        """Not here."""
        raise CheckpointError(MINE)

    def promote(self, id: str) -> None:  # noqa: A002  # the word users see
        """Rank 0 does."""

    def doubt(self, id: str) -> None:  # noqa: A002  # the word users see
        """Rank 0 does."""

    def gone_back_to(self, id: str) -> None:  # noqa: A002  # the word users see
        """Rank 0 does."""


class RankSaving(Saving):
    """One rank's."""

    def __init__(
        self, *args: Any, together: Together | None, layouts: Callable[[], Mapping[str, Layout]],
        is_whole: Callable[[], bool],
    ) -> None:
        """layouts: of the state as it is now. is_whole: whether this rank holds all there is."""
        super().__init__(*args)
        self._together, self._layouts, self._is_whole = together, layouts, is_whole
        self._agreed: set[str] = set()
        """Commands that all ranks follow at the same boundary."""
        self._seen: dict[str, Mapping[str, Layout]] = {}
        self._looked: set[str] = set()
        """Commands for which a look is over."""

    def why_not(self, command: Command) -> str:
        """Why this rank has no part in it; "" where it has. What it needs to know is looked for meanwhile."""
        discovery = self._discovery
        if self._store is None or self._together is None:
            return "checkpoints are switched off for this run"
        if self._capture is None:
            return "nothing can be captured"
        if discovery is not None and discovery.is_due:
            self._errands.send(partial(self._look_for, discovery, command.id))
        return ""

    def _look_for(self, discovery: Discovery, command: str) -> None:
        discovery.look()
        self._looked.add(command)

    def agree(self, command: Command) -> None:
        """All ranks do it now."""
        self._agreed.add(command.id)

    def is_agreed(self, command: Command) -> bool:
        """Whether they do."""
        return command.id in self._agreed

    def save(self, command: Command, step: int, *, looked: bool = False) -> str:
        """As ever; where all ranks do it, one that cannot says so to the others."""
        if not self.is_agreed(command):
            return super().save(command, step, looked=looked)
        try:
            self._seen[command.id] = self._layouts()
            why = super().save(command, step, looked=looked or command.id in self._looked)
        except Exception as error:
            why = one_line(error)
        self._looked.discard(command.id)
        if why and self._together is not None:
            self._errands.send(partial(self._together.excuse, command.id, why))
        return why

    def _stored(self, store: Checkpoints, taken: Taken, command: Command) -> CheckpointInfo:
        layouts, together = self._seen.pop(command.id, None), self._together
        self._agreed.discard(command.id)
        if layouts is None or together is None:
            return super()._stored(store, taken, command)
        tensors = taken.captured.tensors  # type: ignore[attr-defined]  # of the part of tuimon that knows torch
        part = Part(command.id, tensors, layouts)
        if together.world.rank:
            left_out: list[str] = []
            part.own = {"random": portable(taken.captured.plain["random"], "random", left_out),  # type: ignore[attr-defined]
                        "loader": portable(taken.loader, "loader", left_out)}
            return together.join(part)
        try:
            found = self._save_to(store, taken, beside=together.host(part, spare=self._is_whole()))
        except Exception as error:
            together.finish(command.id, why=f"rank 0: {one_line(error)}")
            raise
        together.finish(command.id, id=found.id)
        return found

    def release(self) -> None:
        """After the end: keep no way to the model."""
        super().release()
        self._layouts = dict
