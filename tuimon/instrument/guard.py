"""The guard: the diagnosis engine on the rows as they are written, what changed, and which snapshots earned health.

Pure but for what it remembers: no clock, no disk, no thread. The writer thread feeds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np

from tuimon.diagnosis.model import SEVERITIES, Diagnosis, Incident
from tuimon.instrument.mailbox import Earned, Voided
from tuimon.instrument.protocols import Judge
from tuimon.instrument.queueing import Item
from tuimon.record.chunk import Chunk, Mark, SparseRows, TensorRows
from tuimon.record.segments import ProbeRow, Row, TensorRow, WeightRow

HORIZON: Final = 40
"""Clean steps that earn a snapshot its health: more than the slowest detector of a dangerous fault needs."""

KNOWN: Final = 64
"""Snapshots remembered, newest first: far more than are kept."""

Change = Literal["opened", "worsened", "resolved"]
Key = tuple[str, int, int]


def chunk_of(items: Sequence[Item], tensors: int, probes: int = 0) -> Chunk:
    """Rows, vectors and marks as one stretch, as a reader of the log would get them."""
    rows = [i for i in items if isinstance(i, Row)]
    vectors = [i for i in items if isinstance(i, TensorRow)]
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    where = {name: i for i, name in enumerate(names)}
    values = np.full((len(names), len(rows)), np.nan)
    present = np.zeros((len(names), len(rows)), np.bool_)
    for j, row in enumerate(rows):
        for name, value in row.values.items():
            values[where[name], j] = value
            present[where[name], j] = True
    return Chunk(
        np.array([r.step for r in rows], np.int64), np.array([r.time for r in rows], np.float64),
        {n: values[i] for n, i in where.items()}, {n: present[i] for n, i in where.items()},
        _tensor_rows(vectors, tensors), tuple(i for i in items if isinstance(i, Mark)),
        _sparse_rows([i for i in items if isinstance(i, ProbeRow)], probes),
        _sparse_rows([i for i in items if isinstance(i, WeightRow)], tensors),
    )


def _tensor_rows(vectors: Sequence[TensorRow], tensors: int) -> TensorRows:
    if not vectors:
        return TensorRows.empty(tensors)
    unmeasured = np.full(tensors, np.nan, np.float32)
    return TensorRows(
        np.array([v.step for v in vectors], np.int64), np.stack([v.grad for v in vectors]),
        np.stack([unmeasured if v.update is None else v.update for v in vectors]),
        np.stack([v.seen for v in vectors]),
    )


def _sparse_rows(sampled: Sequence[ProbeRow] | Sequence[WeightRow], width: int) -> SparseRows:
    if not sampled:
        return SparseRows.empty(width)
    return SparseRows(
        np.array([s.step for s in sampled], np.int64), np.stack([s.values for s in sampled]),
        np.stack([s.seen for s in sampled]),
    )


def keys(diagnosis: Diagnosis) -> dict[Key, Incident]:
    """Incidents by what stays the same about them: rule, step of detection, and a number among equals."""
    found: dict[Key, Incident] = {}
    count: Counter[tuple[str, int]] = Counter()
    for incident in sorted(diagnosis.incidents, key=lambda i: (i.rule, i.detected_step, i.layer or "")):
        name = (incident.rule, incident.detected_step)
        found[(incident.rule, incident.detected_step, count[name])] = incident
        count[name] += 1
    return found


def changes(before: Mapping[Key, Incident], after: Mapping[Key, Incident]) -> list[tuple[Change, Incident]]:
    """What is new, worse or over; one that came and went in between is both opened and resolved."""
    found: list[tuple[Change, Incident]] = []
    for key, incident in after.items():
        old = before.get(key)
        if old is incident:
            continue
        if old is None:
            found.append(("opened", incident))
        elif SEVERITIES.index(incident.severity) > SEVERITIES.index(old.severity):
            found.append(("worsened", incident))
        if incident.state == "resolved" and (old is None or old.state == "open"):
            found.append(("resolved", incident))
    return found


TRUSTED: Final = ("bad-init",)
"""Rules whose runs recover by themselves: the later weights of such a run are the better ones."""


def is_alarming(incident: Incident) -> bool:
    """Whether it speaks against trusting the weights of its time; those of a slow step are as good as any."""
    return incident.severity != "info" and incident.category != "throughput" and incident.rule not in TRUSTED


class Health:
    """Which snapshots earned their health, and which lost it."""

    def __init__(self, horizon: int = HORIZON, first: int = 0) -> None:
        self.horizon, self._first = horizon, first
        self._candidates: list[int] = []
        self._known: set[int] = set()
        self._blamed: dict[Key, int] = {}

    def captured(self, step: int) -> None:
        """A snapshot was taken; it has yet to earn its health."""
        self._candidates.append(step)
        self._known.add(step)
        if len(self._known) > 2 * KNOWN:
            self._known = set(sorted(self._known)[-KNOWN:])

    def knows(self, step: int) -> bool:
        """Whether the state of that step is followed, or was."""
        return step in self._known

    def gone_after(self, step: int) -> None:
        """Later snapshots exist no more (a rollback, or voided)."""
        self._candidates = [s for s in self._candidates if s <= step]
        self._known = {s for s in self._known if s <= step}

    def review(self, diagnosis: Diagnosis) -> list[Earned | Voided]:
        """News since the last review. An incident voids what was captured since its onset, however late it is seen."""
        news: list[Earned | Voided] = []
        incidents = {k: i for k, i in keys(diagnosis).items() if is_alarming(i)}
        for key, incident in incidents.items():
            if incident.onset_step < self._blamed.get(key, incident.onset_step + 1):
                self._blamed[key] = incident.onset_step
                if any(_overlaps(incident, step, step) for step in self._known):
                    until = max(self._first, incident.onset_step - 1)  # the initial state is nobody's fault
                    self.gone_after(until)
                    news.append(Voided(until))
        waiting = []
        for step in self._candidates:
            end = step + self.horizon
            if diagnosis.steps < end:
                waiting.append(step)
            elif not any(_overlaps(i, step, end) for i in incidents.values()):
                news.append(Earned(step))
        self._candidates = waiting
        return news


def _overlaps(incident: Incident, first: int, last: int) -> bool:
    over = incident.resolved_step
    return incident.onset_step <= last and (incident.state == "open" or over is None or over >= first)


class Guard:
    """Feeds a judge and says what changed."""

    def __init__(
        self, judge: Judge, tensors: int, horizon: int = HORIZON, first: int = 0, probes: int = 0,
        told: Callable[[Sequence[Item]], Sequence[Item]] | None = None,
    ) -> None:
        """`told`: what of the items, which are one rank's, holds of the run."""
        self._judge, self._tensors, self._probes, self._told = judge, tensors, probes, told
        self.health = Health(horizon, first)
        self.diagnosis = Diagnosis.nothing()
        self._incidents: dict[Key, Incident] = {}

    def feed(self, items: Sequence[Item]) -> tuple[list[tuple[Change, Incident]], list[Earned | Voided]]:
        """Judge what was measured; incidents that changed, and news about snapshots."""
        told = items if self._told is None else self._told(items)
        self._judge.feed(chunk_of(told, self._tensors, self._probes))
        self.diagnosis = self._judge.diagnosis
        incidents = keys(self.diagnosis)
        changed = changes(self._incidents, incidents)
        self._incidents = incidents
        return changed, self.health.review(self.diagnosis)

    def notice(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Follow what the training thread did with its snapshots."""
        if kind == "snapshot":
            self.health.captured(int(fields["snapshot_step"]))
        elif kind == "checkpoint" and fields["outcome"] == "saved" and not self.health.knows(fields["snapshot_step"]):
            self.health.captured(int(fields["snapshot_step"]))  # where no snapshots fit, this is all there is
        elif kind == "snapshot-void":
            self.health.gone_after(int(fields["after_step"]))
