"""notify.jsonl: what was sent, and what could not be, as lines like those of events.jsonl. Touches the disk.

    {"seq": 4, "time": 1763821952.1, "attempt": 1, "step": 203, "kind": "sent", "to": "webhook hooks.slack.com",
     "headline": "Exploding gradients (critical)", "keys": ["1:incident:exploding-gradients:203"], "tries": 1,
     "why": ""}

Written by the helper of a run, of which there is one at a time; read by it at its start, so that nothing is told twice,
and by whoever shows a run. No target stands here, only what it is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuimon.notify.delivery import Report
from tuimon.record.events import EventReader, EventWriter, last_events
from tuimon.record.locks import hold, is_held
from tuimon.record.rundir import RunDir

TAIL: Final = 1 << 16
_LOCK: Final = "notify.lock"


def lock(run: RunDir) -> int | None:
    """A descriptor that is held by one helper of a run at a time; None where another has it. OSError as it comes."""
    return hold(run.path / _LOCK)


def is_followed(run: RunDir) -> bool | None:
    """Whether a helper of the run lives; None where that cannot be told."""
    return is_held(run.path / _LOCK)


class Ledger:
    """The file, as the helper has it. A disk that takes no lines costs lines, never a message."""

    def __init__(self, run: RunDir, attempt: int, wall: Callable[[], float] = time.time) -> None:
        self._run, self._attempt, self._wall = run, attempt, wall
        self._writer: EventWriter | None = None
        self.told: set[str] = set()
        """Keys of messages that have arrived somewhere or were given up."""
        reader = EventReader(run.notices)
        while events := reader.poll():
            for event in events:
                keys = event.fields.get("keys")
                if event.kind in ("sent", "failed") and isinstance(keys, list):
                    self.told.update(key for key in keys if isinstance(key, str))

    def report(self, report: Report) -> None:
        """A line about a message."""
        kind = "trying" if not report.is_final else "failed" if report.why else "sent"
        self.write(kind, report.message.step, {
            "to": report.target.label, "headline": report.message.headline, "keys": list(report.message.about),
            "tries": report.tries, "why": report.why})

    def write(self, kind: str, step: int, fields: Mapping[str, Any]) -> None:
        """A line."""
        try:
            if self._writer is None:
                self._writer = EventWriter(self._run.notices, self._attempt)
            self._writer.append(kind, step, self._wall(), fields)
        except OSError:
            return


@dataclass(frozen=True, slots=True)
class Notices:
    """What the end of the file says of one attempt."""

    targets: tuple[str, ...] = ()
    """What they are called; empty: nobody is told."""
    sent: int = 0
    trouble: str = ""
    """What did not arrive last, and why; "" where that did which came last."""


def notices(run: RunDir, attempt: int) -> Notices:
    """How it stands with telling somebody about an attempt of a run. Reads the disk; never raises."""
    found = Notices()
    for event in last_events(run.notices, TAIL)[0]:
        if event.attempt != attempt:
            continue
        if event.kind == "watching":
            names = event.fields.get("to")
            found = Notices(tuple(n for n in names if isinstance(n, str)) if isinstance(names, list) else ())
        elif event.kind == "sent":
            found = Notices(found.targets, found.sent + 1)
        elif event.kind in ("trying", "failed"):
            found = Notices(found.targets, found.sent, f"{event.text('to')}: {event.text('why')}")
    return found
