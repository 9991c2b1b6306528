"""What to do about a critical incident when nobody is looking. Decides, never acts: its commands go like all others.

    warn      nothing
    hold      stand still at the next step boundary
    rescue    restore, cut, clip, go on; after MOST rescues, where nothing can be restored, or where that does not
              treat what is wrong: hold, or stop where nobody may command the run
    stop      end the run

An order says what it has seen done: where a person acts before it is done, it stands back (see `control.revision`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from tuimon.control.commands import Command, Who
from tuimon.control.revision import REVISING, STANDS_BACK
from tuimon.control.spool import new_id
from tuimon.control.states import Verb
from tuimon.diagnosis.model import Diagnosis
from tuimon.instrument.guard import HORIZON, Key, keys

Policy = Literal["warn", "hold", "rescue", "stop"]
MOST: Final = 3
"""Rescues before a person has to look: each makes the learning rate ten times smaller."""


class Autopilot:
    """One per run. Told what happens, asked what to do; remembers what it ordered."""

    def __init__(
        self, policy: Policy, who: Who, *, horizon: int = HORIZON, attempt: int | None = None,
        can_hold: bool = True, ids: Callable[[], str] = new_id,
    ) -> None:
        self._last_resort: Verb = "hold" if can_hold else "stop"
        self.policy, self._who, self._horizon, self._attempt, self._ids = policy, who, horizon, attempt, ids
        self._state = "starting"
        self._pending: Command | None = None
        self._answers: frozenset[Key] = frozenset()
        """What the pending order would answer."""
        self._revision = ""
        self._answered: set[Key] = set()
        self._patient_until = 0
        self._rescues = 0
        self._gave_up = False

    def notice(self, kind: str, step: int, fields: Mapping[str, Any]) -> None:
        """Follow the run: its state, what became of an order, and every rescue, whoever asked for it."""
        if kind == "state":
            self._state = str(fields["state"])
        elif kind == "rescue" and fields["tick"] == "warmup":
            self._patient_until = step + int(fields["steps"]) + self._horizon
        elif kind == "command":
            if fields["outcome"] == "applied" and fields["verb"] in REVISING:
                self._revision = str(fields["id"])
            if self._pending is not None and fields["id"] == self._pending.id:
                self._hear(self._pending.verb, str(fields["outcome"]), str(fields["why"]), step)

    def _hear(self, verb: Verb, outcome: str, why: str, step: int) -> None:
        """What became of the pending order. One that stood back has answered nothing: what a person did may."""
        if outcome not in {"applied", "refused"}:
            return
        self._pending = None
        if outcome == "refused" and why.startswith(STANDS_BACK):
            self._patient_until = max(self._patient_until, step + self._horizon)
        elif verb != "rescue":
            self._answered |= self._answers
        elif outcome == "applied":
            self._rescues += 1
        else:
            self._gave_up = True

    def decide(self, diagnosis: Diagnosis, now: float) -> Command | None:
        """What to order now, if anything. Only a running run is commanded: who paused or held it decides what follows.

        After a rescue nothing is ordered until the re-warm-up and a horizon are over; an incident that is still open
        then, or a new one, is answered again. A hold or a stop answers an incident once.
        """
        if self.policy == "warn" or self._state != "running" or self._pending is not None:
            return None
        if diagnosis.steps < self._patient_until:
            return None
        critical = {k: i for k, i in keys(diagnosis).items() if i.state == "open" and i.severity == "critical"}
        fresh = critical.keys() - self._answered
        if not fresh:
            return None
        verb = self._verb(treatable=any(critical[k].rescue_helps for k in fresh))
        self._answers = frozenset(critical)
        self._pending = Command(self._ids(), verb, {}, self._attempt, now, who=self._who, base_rev=self._revision)
        return self._pending

    def _verb(self, *, treatable: bool) -> Verb:
        if self.policy == "rescue":
            return "rescue" if treatable and not self._gave_up and self._rescues < MOST else self._last_resort
        return "stop" if self.policy == "stop" else self._last_resort
