"""What `tuimon autopsy` does with what a person names: find it, read what was found in it. Touches the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuimon.diagnosis.autopsy.fallback import from_log
from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.autopsy.words import advice, sentence, subject, usual
from tuimon.errors import UsageError
from tuimon.formats.judged import find
from tuimon.formats.read import read_source
from tuimon.formats.reading import Reading
from tuimon.record.events import EventReader
from tuimon.record.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Examined:
    """A run, and every autopsy of it."""

    reading: Reading
    where: str
    """The run's directory; "" for a file."""
    found: tuple[Autopsy, ...]
    """In the order in which they were made; that of the log alone where the run made none. Empty: it is finite."""

    @property
    def steps(self) -> int:
        """The last step in the log."""
        return max((int(chunk.steps[-1]) for chunk in self.reading.chunks if len(chunk)), default=0)

    def json(self) -> dict[str, Any]:
        """For programs; non-finite numbers are words (design, section 7)."""
        return {
            "schema": 1, "source": self.reading.name, "steps": self.steps, "state": self.reading.state,
            "is_finite": not self.found,
            "autopsies": [{**a.fields(), "subject": subject(a), "headline": sentence(a), "why": usual(a).meaning,
                           "next": list(advice(a))} for a in self.found],
        }


def examined(named: str | None) -> Examined:
    """RunNotFound, UsageError or LogError where it cannot be found or read."""
    sources, _ = find([named] if named else [])
    if len(sources) > 1:
        raise UsageError(f"{named} holds {len(sources)} runs: name one of them, as {sources[0].path}")
    source = sources[0]
    reading = read_source(source)
    where = os.path.normpath(source.path) if source.kind == "run" else ""
    found = tuple(_told(RunDir(Path(where)))) if where else ()
    if not found:
        alone = from_log(reading.chunks, reading.context.tensor_names or tuple(reading.context.layers))
        found = (alone,) if alone is not None else ()
    return Examined(reading, where, found)


def _told(run: RunDir) -> Iterator[Autopsy]:
    """Those that the run made itself."""
    reader = EventReader(run.events)
    while events := reader.poll():
        for event in events:
            if event.kind == "autopsy" and (found := Autopsy.parse(event.fields)) is not None:
                yield found
