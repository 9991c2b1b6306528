"""Run states and what each command does in each of them: one literal table. Pure.

    starting ─► running ◄─► paused          any live state ─► stopping ─► stopped
                   ▲  ▲                     running ─► finished | crashed | died (died is derived, never written)
                   └──┴─► held (emergency stop)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

State = Literal[
    "starting", "running", "paused", "held", "stopping", "finished", "stopped", "crashed", "died"
]
Verb = Literal[
    "pause", "resume", "hold", "stop", "checkpoint", "rollback", "set-lr-scale", "set-clip", "rescue", "undo-overrides"
]

STATES: Final[tuple[State, ...]] = (
    "starting", "running", "paused", "held", "stopping", "finished", "stopped", "crashed", "died",
)
LIVE: Final[frozenset[State]] = frozenset({"starting", "running", "paused", "held", "stopping"})
WAITING: Final[frozenset[State]] = frozenset({"paused", "held"})
"""States in which the training thread stands still at a step boundary."""
VERBS: Final[tuple[Verb, ...]] = (
    "pause", "resume", "hold", "stop", "checkpoint", "rollback", "set-lr-scale", "set-clip", "rescue", "undo-overrides",
)


@dataclass(frozen=True, slots=True)
class Apply:
    """Do it, and be in this state afterwards."""

    then: State


@dataclass(frozen=True, slots=True)
class Defer:
    """Not yet: keep it until the first step boundary."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never: say why."""

    why: str


Outcome = Apply | Defer | Refuse

_ENDING = Refuse("the run is already stopping")
_ENDED = Refuse("the run has ended")


def _row(**by_verb: Outcome) -> dict[Verb, Outcome]:
    return {verb: by_verb[verb.replace("-", "_")] for verb in VERBS}


def _live(stay: State) -> dict[Verb, Outcome]:
    """What a run that can still be steered does; `stay` is where commands that only adjust it leave it."""
    return _row(
        pause=Apply("held" if stay == "held" else "paused"), resume=Apply("running"), hold=Apply("held"),
        stop=Apply("stopping"), checkpoint=Apply(stay), rollback=Apply(stay), set_lr_scale=Apply(stay),
        set_clip=Apply(stay), rescue=Apply("running"), undo_overrides=Apply(stay),
    )


TRANSITIONS: Final[dict[State, dict[Verb, Outcome]]] = {
    "starting": dict.fromkeys(VERBS, Defer()),
    "running": _live("running"),
    "paused": _live("paused"),
    "held": _live("held"),
    "stopping": {**dict.fromkeys(VERBS, _ENDING), "stop": Apply("stopping")},
    "finished": dict.fromkeys(VERBS, _ENDED),
    "stopped": dict.fromkeys(VERBS, _ENDED),
    "crashed": dict.fromkeys(VERBS, _ENDED),
    "died": dict.fromkeys(VERBS, _ENDED),
}


def outcome(state: State, verb: Verb) -> Outcome:
    """What `verb` does in `state`."""
    return TRANSITIONS[state][verb]
