"""Orders of people who did not see each other's: which one was given on a picture of the run that is gone. Pure.

A revision is the id of the last order that changed how the run trains, or whether it moves. A command says which one
its sender had seen (`base_rev`); what somebody else has done since, and it crosses, speaks against it. What brakes or
saves is never refused for that: hold, pause, stop, checkpoint. The run's own guard keeps to the same rule with all of
its orders, for it can give them again: where a person has just acted it stands back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tuimon.control.commands import GUARD, Command, Who
from tuimon.control.states import Verb

TRAINING: Final[frozenset[Verb]] = frozenset({"rescue", "rollback", "set-lr-scale", "set-clip", "undo-overrides"})
MOVING: Final[frozenset[Verb]] = frozenset({"pause", "hold", "resume"})
REVISING: Final = TRAINING | MOVING
"""Orders that make a new revision, once they were applied."""
_CROSSED: Final[dict[Verb, frozenset[Verb]]] = {
    **dict.fromkeys(TRAINING, TRAINING),
    "rescue": TRAINING | MOVING, "rollback": TRAINING | MOVING,   # how far back depends on when it moves, too
    "resume": TRAINING | (MOVING - {"resume"}),
}
"""What speaks against an order whose sender has not seen it."""
STANDS_BACK: Final = "the guard stands back"
"""How the reason begins for which an order of the guard is not done, where that is no failure."""
KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class _Applied:
    command: Command
    step: int
    at: float


class Revisions:
    """What was ordered of one attempt and done, in turn."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, from whenever."""
        self._clock = clock
        self._applied: deque[_Applied] = deque(maxlen=KEPT)

    def applied(self, command: Command, step: int) -> None:
        """It was done."""
        if command.verb in REVISING:
            self._applied.append(_Applied(command, step, self._clock()))

    def against(self, command: Command) -> str:
        """Why it is not done, in one line: who did what when, unknown to who asks; "" where nothing speaks against."""
        is_guard = command.who.origin == GUARD
        crossed = REVISING if is_guard else _CROSSED.get(command.verb)
        if command.base_rev is None or crossed is None:
            return ""
        for done in reversed(self._applied):
            if done.command.id == command.base_rev:
                return ""
            if done.command.verb in crossed and not _is_same(done.command.who, command.who):
                ago = max(0.0, self._clock() - done.at)
                what = f"the {done.command.verb} by {_named(done.command.who)} at step {done.step:,}, {ago:.0f} s ago"
                return f"{STANDS_BACK} after {what}" if is_guard else f"asked without knowing of {what}"
        return ""


def _is_same(one: Who, other: Who) -> bool:
    """Whether one process asked both: a person knows what they ordered a moment ago."""
    return one.pid > 0 and (one.pid, one.host, one.uid) == (other.pid, other.host, other.uid)


def _named(who: Who) -> str:
    if who.origin == GUARD:
        return "the guard"
    where = ", ".join(part for part in (who.origin, who.tty or who.ssh) if part)
    return f"{who.user} ({where})" if where else who.user
