"""From what a run writes down to what its person is told: a fold over its events. Pure.

An incident is told once when it is bad enough, once more should a warning grow critical, and once when it is over; what
ends with the run is told by the end of the run. What tuimon did by itself is told; what a person asked for is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tuimon.control.commands import GUARD
from tuimon.control.revision import STANDS_BACK
from tuimon.notify.message import RANK, Message, line
from tuimon.notify.wishes import Wishes
from tuimon.record.events import Event
from tuimon.record.lost import lost_words

_PAST: Final = {"hold": "Held by tuimon", "stop": "Stopped by tuimon", "rescue": "Rescued by tuimon"}
_SCALE: Final = {"crashed": "critical", "died": "critical"}
_NAMED: Final = 4
"""Ranks of which it is told what else is known."""
DIED: Final = "its process is gone, and nothing says why: killed, or out of memory?"


@dataclass(slots=True)
class Telling:
    """One attempt of one run. `after` is given its events in order."""

    wishes: Wishes
    attempt: int
    run: str = ""
    name: str = ""
    host: str = ""
    watch: str = ""
    is_over: bool = False
    """Whether the attempt has ended, or another has begun."""
    step: int = 0
    _told: dict[str, str] = field(default_factory=dict)
    """Open incidents that were told -> as how bad."""
    _leading: str = ""
    _lost: dict[int, str] = field(default_factory=dict)
    """Ranks that were told to be lost -> how."""

    def after(self, event: Event) -> list[Message]:
        """What is to be told of one more event."""
        if event.attempt != self.attempt:
            self.is_over = self.is_over or event.attempt > self.attempt
            return []
        self.step = max(self.step, event.step)
        if event.kind == "incident":
            return self._incident(event)
        if event.kind == "command":
            return self._act(event)
        if event.kind == "end":
            self.is_over = True
            return self._end(event.text("state"), line(event.text("error")), event.step, event.time)
        return []

    def died(self, step: int, now: float) -> list[Message]:
        """The process is gone, and no event said so. step: the last measured one, which events need not know of."""
        self.is_over = True
        return self._end("died", DIED, max(step, self.step), now)

    def ranks(self, lost: Mapping[int, tuple[str, str]], now: float) -> list[Message]:
        """Which ranks are not there by now: how, and what else is known of each. All that come back are told as one."""
        fresh = {rank: how for rank, how in lost.items() if self._lost.get(rank) != how[0]}
        back = bool(self._lost) and not lost and not self.is_over
        self._lost = {rank: state for rank, (state, _) in lost.items()}
        if back:
            return [self._told_as("over:ranks", "over", "ok", "Over: all ranks are there again", "", self.step, now)]
        if not fresh:
            return []
        words = lost_words([(rank, state) for rank, (state, _) in fresh.items()])
        text = " · ".join(line(f"rank {rank}: {why}") for rank, (_, why) in list(fresh.items())[:_NAMED] if why)
        key = "ranks:" + ",".join(f"{rank}{state}" for rank, (state, _) in fresh.items())
        return [self._told_as(key, "rank", "critical", f"{words[:1].upper()}{words[1:]}", text, self.step, now)]

    def _incident(self, event: Event) -> list[Message]:
        key = f"{event.text('rule')}:{event.whole('detected_step')}"
        severity, headline = event.text("severity"), line(event.text("headline"), 120)
        if event.text("change") == "resolved":
            if self._told.pop(key, None) is None:
                return []
            over = event.whole("resolved_step")
            text = "" if over is None else f"since step {over:,}"
            return [self._message(f"over:{key}", "over", "ok", f"Over: {headline}", text, event)]
        before = self._told.get(key)
        if RANK.get(severity, 0) < RANK[self.wishes.severity] or (
                before is not None and RANK.get(before, 0) >= RANK.get(severity, 0)):
            return []
        self._told[key], self._leading = severity, headline
        kind = "incident" if before is None else "worse"
        since, layer, why = event.whole("onset_step"), line(event.text("layer"), 80), line(event.text("why"), 400)
        begun = f"since step {since:,}" if since is not None and "since step" not in why else ""
        text = " · ".join(part for part in (begun, f"worst in {layer}" if layer else "", why) if part)
        return [self._message(f"{kind}:{key}", kind, severity, f"{headline} ({severity})", text, event)]

    def _act(self, event: Event) -> list[Message]:
        who, verb, outcome = event.fields.get("who"), event.text("verb"), event.text("outcome")
        if not isinstance(who, dict) or who.get("origin") != GUARD or verb not in _PAST:
            return []
        if outcome not in ("applied", "refused"):
            return []
        why = line(event.text("why"))
        if why.startswith(STANDS_BACK):
            return []
        headline, text = _PAST[verb], f"because of: {self._leading}" if self._leading else ""
        if outcome == "refused":
            headline = f"tuimon could not {verb} the run"
        waits = "it waits for somebody" if verb == "hold" and outcome == "applied" else ""
        text = " · ".join(part for part in (text, why, waits) if part)
        severity = "warning" if outcome == "applied" else "critical"
        return [self._message(f"act:{event.text('id')}", "act", severity, headline, text, event)]

    def _end(self, state: str, why: str, step: int, time: float) -> list[Message]:
        wanted = "crashed" if state == "died" else state
        if wanted not in self.wishes.ends:
            return []
        headline = f"{state.capitalize()} at step {step:,}" if step else f"{state.capitalize()} before its first step"
        return [self._told_as("end", "end", _SCALE.get(state, "info"), headline, why, step, time)]

    def _message(self, key: str, kind: str, severity: str, headline: str, text: str, event: Event) -> Message:
        return self._told_as(key, kind, severity, headline, text, event.step, event.time)

    def _told_as(self, key: str, kind: str, severity: str, headline: str, text: str, step: int, time: float) -> Message:
        return Message(f"{self.attempt}:{key}", kind, severity, headline, text, step, time, self.run, self.name,
                       self.host, self.watch)
