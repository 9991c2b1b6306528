"""One run's log as the viewer follows it: what was measured, what is judged of it, and both in the cache.

Touches the disk; knows no thread. Charts come first: a long log is read in portions with a frame between, and judged
when it has been read (see `judging`). A run of more than LONG rows is remembered, and opened there the next time.
"""

from __future__ import annotations

import math
import os
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tuimon import diagnosis
from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.stored import recalled, stored
from tuimon.record.cache import Cache
from tuimon.record.chunk import Chunk
from tuimon.record.history import History
from tuimon.record.probes import ProbeEntry
from tuimon.record.ranks import RanksReader
from tuimon.record.reader import Beat, Place
from tuimon.record.recall import Recall, read_anew
from tuimon.record.tensors import TensorTable
from tuimon.viewer.judging import Judge, Judging
from tuimon.viewer.views import Rules

POLLS: Final = 8
"""Reads of the log in one poll (8 MB each), so that a long run shows its progress while it is read."""
AT_ONCE: Final = 1_000
"""Rows in one poll that are judged before anything is drawn; of more, the charts come first."""
AT_ONCE_TENSORS: Final = 4 << 20
"""The same for gradient norms of tensors: a run of thousands of tensors is long after a few hundred steps."""
LONG: Final = 200_000
"""Rows of all ranks of a run that is worth remembering; remembered again when so many more have come ..."""
AGAIN: Final = 300.0
"""... and so many seconds have passed: storing ten million steps takes 0.2 s."""


class Followed:
    """A log, its history and its judge."""

    def __init__(self, metrics: Path, table: TensorTable | None, probes: Sequence[ProbeEntry], judge: Judge, *,
                 rules: Rules, cache: Cache, patience: float = 0.0,
                 clock: Callable[[], float] = time.perf_counter) -> None:
        self._recall, self._note = Recall(cache, metrics), f"{rules}-{_fingerprint()}"
        found = self._recall.load(table, probes)
        self._read = found if found is not None else read_anew(metrics, table, probes)
        self.history: History = self._read.history
        self.recalled = found is not None
        """Whether an earlier viewer has read some of it."""
        self._judging = Judging(metrics, judge, known=self._known() if self.recalled else None, patience=patience,
                                clock=clock)
        self.is_reading = False
        """Whether there is more to read at once."""
        self.is_outgrown = False
        """Whether several ranks write into what was opened as the log of one."""
        self._kept_rows, self._kept_at = self._rows if self.recalled else 0, -math.inf
        self._judged: Place | None = None
        """As far as the judgement that is remembered goes."""

    def poll(self, mono: float) -> tuple[int, bool]:
        """Read and judge what is new: rows and marks that came, and whether the judge knows more."""
        log, start = self._read.log, self._read.log.place
        kept: list[Chunk] | None = []
        rows = tensors = 0
        for _ in range(POLLS):
            chunks = log.poll()
            self.is_outgrown = self.is_outgrown or (self.several is None and any(
                mark.whole("world", 1) > 1 for chunk in chunks for mark in chunk.marks if mark.kind == "attempt"))
            for chunk in chunks:
                rows += len(chunk) + len(chunk.marks)
                tensors += chunk.tensors.grad.size
                self.history.extend(chunk)
                if kept is not None:
                    kept.append(chunk)
            if rows > AT_ONCE or tensors > AT_ONCE_TENSORS:
                kept = None
            if not chunks or log.is_through:
                break
        self.is_reading = bool(chunks) and not log.is_through
        if self.is_reading:
            return rows, False   # the charts first
        if kept is None:
            self._judging.wait(log.place, self.history.last_step)
            return rows, False
        is_wiser = self._judging.take(start, log.place, self.history.last_step, kept, mono)
        self._remember(mono)
        return rows, is_wiser

    @property
    def several(self) -> RanksReader | None:
        """What reads the logs of all ranks; None where there is but one."""
        return self._read.log if isinstance(self._read.log, RanksReader) else None

    @property
    def _rows(self) -> int:
        """Rows of all ranks' logs, about."""
        return self.history.rows * (1 if self.several is None else len(self.several.places))

    @property
    def is_behind(self) -> bool:
        """Whether there is more to read or to judge at once."""
        return self.is_reading or self._judging.is_behind

    @property
    def diagnosis(self) -> Diagnosis:
        """What is known of the run's health."""
        return self._judging.diagnosis

    @property
    def judged(self) -> Diagnosis:
        """The same as of the step where the judge stands, however far behind that is."""
        return self._judging.judged

    @property
    def judging(self) -> str:
        """How far reading and the judge have come, in words, while they lag, or where the judge has failed."""
        return "still being read" if self.is_reading else self._judging.words

    @property
    def fault(self) -> str:
        """Why the judge was switched off, or nothing."""
        return self._judging.fault

    @property
    def damaged(self) -> int:
        """Places in which the log is damaged."""
        return self._read.log.damaged

    @property
    def is_replaced(self) -> bool:
        """Whether another run took its directory."""
        return self._read.log.is_replaced

    @property
    def beat(self) -> Beat | None:
        """The last sign of life in the log."""
        return self._read.log.beat

    def _known(self) -> tuple[Place, Diagnosis] | None:
        note = self._recall.load_note(self._note)
        if note is None:
            return None
        try:
            return note[0], recalled(note[1])
        except (ValueError, KeyError, TypeError):
            return None

    def _remember(self, mono: float) -> None:
        """Store what was read, and what was judged once the judge is through, now and then."""
        rows = self._rows
        if rows < LONG or mono - self._kept_at < AGAIN or self._judging.is_waiting:
            return
        place = self._read.log.place
        is_read, is_judged = rows - self._kept_rows >= LONG, not self._judging.is_behind and not self._judging.fault
        if is_read:
            self._kept_rows = rows   # also where it failed: a full disk is not asked again and again
            self._recall.save(self._read)
        if is_judged and (is_read or self._judged is None):
            self._recall.save_note(self._note, self._read.log, stored(self.diagnosis))
            self._judged, self._kept_at = place, mono


def _fingerprint() -> str:
    """Of the rules that judge: what others judged is not taken for theirs."""
    told: list[tuple[str, int, int]] = []
    for folder, _, names in sorted(os.walk(os.path.dirname(diagnosis.__file__))):
        found = [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
        told += [(path, status.st_size, status.st_mtime_ns) for path in found if (status := os.stat(path))]
    return f"{zlib.crc32(repr(told).encode()):08x}"
