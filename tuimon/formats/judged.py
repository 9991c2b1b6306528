"""What `tuimon diagnose` does with what a person names: find it, read it, judge it. Touches the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tuimon.diagnosis.judging import judge
from tuimon.diagnosis.model import SEVERITIES, Diagnosis, diagnosis_json
from tuimon.errors import LogError, RunNotFound, TuimonError
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.read import read_source
from tuimon.formats.reading import Reading
from tuimon.formats.sources import Source, sources
from tuimon.record.chunk import Chunk
from tuimon.record.runs import find_run
from tuimon.record.status import UNMEASURED

PIECE: Final = 1 << 15
"""Rows that are judged between two words about it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A run as it was read, and the verdict on it."""

    reading: Reading
    diagnosis: Diagnosis

    @property
    def is_measured(self) -> bool:
        """Whether it holds anything."""
        return any(map(len, self.reading.chunks))

    @property
    def verdict(self) -> str:
        """In a word; of what holds nothing there is none."""
        return self.diagnosis.verdict if self.is_measured else UNMEASURED

    @property
    def badness(self) -> tuple[int, int]:
        """The greater the worse: severity of the verdict, then how many incidents are open."""
        verdict = self.diagnosis.verdict
        return SEVERITIES.index(verdict) if verdict != "healthy" else -1, len(self.diagnosis.open_incidents)

    def json(self) -> dict[str, Any]:
        """The object of design.md section 7, and how the log was understood.

        Besides: kind, logged_every (steps from row to row, null where unknown), columns {metric: name there}, notes,
        labels.
        """
        reading = self.reading
        return {
            **diagnosis_json(self.diagnosis, source=reading.name, state=reading.state, is_measured=self.is_measured),
            "kind": reading.kind, "logged_every": reading.cadence, "columns": dict(reading.columns),
            "notes": list(reading.notes),
            "labels": [{"metric": metric, "text": text} for metric, text in reading.labels],
        }


def find(named: Sequence[str]) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The runs that are meant, each once, and a line for each name that means none.

    Files and directories where there are such, else names of our runs; without any, our latest live run. RunNotFound,
    UsageError or LogError where none is found.
    """
    if not named:
        return (Source(str(find_run(None).path), "run"),), ()
    found: dict[Source, None] = {}
    missing: list[str] = []
    for name in named:
        try:
            found.update(dict.fromkeys(_meant(name)))
        except TuimonError as error:
            if len(named) == 1:
                raise
            missing.append(str(error))
    return tuple(found), tuple(missing)


def _meant(name: str) -> tuple[Source, ...]:
    if not os.path.lexists(name):
        is_file = os.sep in name or name.lower().endswith((".csv", ".tsv", ".json", ".jsonl", ".gz", ".wandb", ".tlog"))
        return sources(name) if is_file else (Source(str(find_run(name).path), "run"),)
    try:
        return sources(name)
    except LogError:
        if os.sep in name or not os.path.isdir(name):
            raise
        try:
            return (Source(str(find_run(name).path), "run"),)  # a folder that happens to be called as a run of ours
        except RunNotFound:
            pass
        raise


def judged(
    source: Source, rules: Literal["tuimon", "notebook"] = "tuimon", watch: Watch = unwatched,
) -> Judged:
    """Read and judge. LogError where it cannot be read."""
    reading = read_source(source, watch)
    return Judged(reading, judge(_watched(reading.chunks, watch), reading.context, rules))


def _watched(chunks: Sequence[Chunk], watch: Watch) -> Iterator[Chunk]:
    """The chunks in pieces of which somebody is told; judging does not mind where it is cut."""
    total, done = sum(map(len, chunks)), 0
    for chunk in chunks:
        whole = len(chunk) <= PIECE or watch is unwatched or not (chunk.steps[1:] > chunk.steps[:-1]).all()
        for piece in (chunk,) if whole else chunk.pieces([*range(PIECE, len(chunk), PIECE)]):
            watch("judging", done / max(total, 1))
            yield piece
            done += len(piece)
