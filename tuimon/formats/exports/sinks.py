"""What every format of an export offers: begun with a survey, given blocks in order, ended. Pure types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Protocol

from tuimon.formats.exports.blocks import Block, Origin, Survey
from tuimon.record.events import Event


class Sink(Protocol):
    """One export that is being written. OSError as it comes."""

    def write(self, block: Block, events: Sequence[Event]) -> None:
        """Rows, and the events that belong between or right behind them."""

    def end(self, events: Sequence[Event]) -> None:
        """The events that are left; then nothing more comes."""


class Opener(Protocol):
    """Begins an export into a stream that need not seek."""

    def __call__(self, stream: BinaryIO, survey: Survey, origin: Origin, /) -> Sink:
        """Write the beginning."""
