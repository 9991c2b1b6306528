"""What brings what about: several rules see one event, and a person should be told of it once. Pure values.

A consequence is named under its cause where the cause was going on when it began, give or take a few steps: the
detectors' onsets are estimates. Judging is not changed by this, only telling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tuimon.diagnosis.model import Incident, RunContext

ANY: Final = RunContext()
"""A run of which nothing is known."""
_UPSET: Final = ("exploding-gradients", "gradient-instability", "early-divergence", "divergence", "loss-spike",
                 "loss-drift", "non-finite", "loss-scale-collapse", "oscillation")
"""What a run that is driven too hard shows."""
_INSIDE: Final = ("attention-collapse", "dead-units", "logit-drift")
"""What such a run shows inside the model."""
_STILL: Final = ("learning-rate-too-low", "no-learning", "plateau", "not-updating")
"""What a run shows that is not driven at all."""

_BRINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "lr-schedule-fault": ("learning-rate-too-high", *_UPSET, *_INSIDE, *_STILL),
    "bad-init": (*_INSIDE, "early-divergence", "gradient-instability", "clip-saturated", "oscillation"),
    "vanishing-gradients": _STILL,
    "detached-layer": ("no-learning", "plateau"),
    "low-precision-stagnation": _STILL,
    "not-updating": ("learning-rate-too-low", "no-learning", "plateau"),
    "learning-rate-too-low": ("no-learning", "plateau"),
    "clip-saturated": ("learning-rate-too-low", "no-learning", "plateau"),
    "learning-rate-too-high": (*_UPSET, *_INSIDE, "no-learning", "plateau"),
    "exploding-gradients": (*_UPSET, *_INSIDE, "learning-rate-too-high", "no-learning", "plateau"),
    "attention-collapse": (*_UPSET, "dead-units", "no-learning", "plateau"),
    "dead-units": ("no-learning", "plateau"),
    "logit-drift": (*_UPSET, "learning-rate-too-high", "no-learning", "plateau"),
    "gradient-instability": ("loss-spike", "loss-drift"),
    "early-divergence": ("divergence", "loss-spike", "gradient-instability", "non-finite", "no-learning"),
    "divergence": ("loss-spike", "loss-drift", "non-finite", "no-learning", "plateau"),
    "non-finite": ("loss-spike", "loss-drift", "gradient-instability", "no-learning", "plateau"),
    "loss-spike": ("loss-drift",),
    "oscillation": ("outlier-batch", "loss-drift"),
    "sudden-drop": ("loss-spike", "outlier-batch", "gradient-instability", "exploding-gradients"),
    "loss-scale-collapse": (*_STILL, "non-finite"),
    "data-starved": ("throughput-drop",),
    "straggler": ("throughput-drop",),
}
CAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    cause: tuple(slug for slug in slugs if slug != cause) for cause, slugs in _BRINGS.items()
}
"""Slug -> the slugs that it may bring about."""
NEAR: Final = 8
"""Steps by which the onset of a consequence may be estimated before that of its cause."""
CLEAR: Final = NEAR // 2
"""Steps between two onsets up to which nobody knows which was first."""


def causes_first(told: Sequence[Incident], context: RunContext = ANY) -> list[Incident]:
    """The same incidents, each behind those equally severe that brought it about; else as they come."""
    left, found = [*told], []
    while left:
        equals = [i for i in left if i.severity == left[0].severity]
        able = [i for i in equals if _is_able(i, context)]
        first = next((i for i in equals if not any(_began(c, i) for c in able if c is not i)), equals[0])
        left.remove(first)
        found.append(first)
    return found


def _began(cause: Incident, other: Incident) -> bool:
    """Whether it is known that the one brought the other about, and not the other way round."""
    return explains(cause, other) and (
        not explains(other, cause) or _leads(cause, other, told_first=False))


def with_causes(told: Sequence[Incident], context: RunContext = ANY) -> tuple[Incident, ...]:
    """The same incidents, in the same order, each with the slug of the one that brought it about, if any.

    The order is that in which they are told. Where two may cause each other, the one that began well before the other
    is the cause, or the one told first. Clipping makes for small steps only where these follow the gradient.
    """
    able = [(at, incident) for at, incident in enumerate(told) if _is_able(incident, context)]
    found: list[Incident] = []
    for i, incident in enumerate(told):
        candidates = [(at, c) for at, c in able if at != i and explains(c, incident)]
        first = next((
            c for at, c in candidates if not explains(incident, c) or _leads(c, incident, told_first=at < i)), None)
        found.append(replace(incident, cause=first.rule if first else None))
    return tuple(found)


def _is_able(incident: Incident, context: RunContext) -> bool:
    return incident.rule in CAUSES and (context.follows_gradients or incident.rule != "clip-saturated")


def _leads(cause: Incident, other: Incident, *, told_first: bool) -> bool:
    """Of two that may have brought each other about, whether it is this one."""
    apart = other.onset_step - cause.onset_step
    return told_first if abs(apart) <= CLEAR else apart > 0


def explains(cause: Incident, other: Incident) -> bool:
    """Whether the one may have brought the other about: it can, began no later, and was going on when that began."""
    return (
        other.rule in CAUSES.get(cause.rule, ())
        and cause.onset_step <= other.onset_step + NEAR
        and (cause.resolved_step is None or cause.resolved_step >= other.onset_step)
    )


def as_events(incidents: Sequence[Incident]) -> tuple[tuple[Incident, int], ...]:
    """Every incident with its depth: each cause followed by its signs, in the order in which they are told.

    One event is one entry of depth 0 with what it shows itself by below it; an event with an open sign stands before
    those that are over.
    """
    causes = [_cause_of(incident, incidents) for incident in incidents]
    listed: list[tuple[Incident, int]] = []
    done: set[int] = set()

    def root(at: int) -> int:
        seen = {at}
        while (cause := causes[at]) is not None and cause not in seen:
            seen.add(at := cause)
        return at

    def put(at: int, depth: int) -> None:
        if at in done:
            return
        done.add(at)
        listed.append((incidents[at], depth))
        for sign, cause in enumerate(causes):
            if cause == at:
                put(sign, depth + 1)

    for at in range(len(incidents)):  # the event with the worst open sign first: they come in that order
        put(root(at), 0)
    return tuple(listed)


def _cause_of(incident: Incident, among: Sequence[Incident]) -> int | None:
    """Where the cause that it names stands; of several of that name the latest that explains it."""
    if incident.cause is None:
        return None
    able = [at for at, c in enumerate(among) if c.rule == incident.cause and explains(c, incident)]
    return max(able, key=lambda at: among[at].onset_step, default=None)
