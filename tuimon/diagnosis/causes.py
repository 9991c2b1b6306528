"""What brings what about: several rules see one event, and a person should be told of it once. Pure values.

A consequence is named under its cause where the cause is open too and began no later, give or take a few steps: the
detectors' onsets are estimates. Judging is not changed by this, only telling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tuimon.diagnosis.model import Incident

_UPSET: Final = ("exploding-gradients", "gradient-instability", "early-divergence", "divergence", "loss-spike",
                 "loss-drift", "non-finite", "loss-scale-collapse", "oscillation")
"""What a run that is driven too hard shows."""
_STILL: Final = ("learning-rate-too-low", "no-learning", "plateau", "not-updating")
"""What a run shows that is not driven at all."""

_BRINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "lr-schedule-fault": ("learning-rate-too-high", *_UPSET, *_STILL),
    "bad-init": ("early-divergence", "gradient-instability", "clip-saturated", "oscillation"),
    "vanishing-gradients": _STILL,
    "detached-layer": ("no-learning", "plateau"),
    "low-precision-stagnation": _STILL,
    "not-updating": ("learning-rate-too-low", "no-learning", "plateau"),
    "learning-rate-too-low": ("no-learning", "plateau"),
    "learning-rate-too-high": _UPSET,
    "exploding-gradients": (*_UPSET, "learning-rate-too-high", "no-learning", "plateau"),
    "gradient-instability": ("loss-spike", "loss-drift"),
    "early-divergence": ("divergence", "loss-spike", "gradient-instability", "non-finite", "no-learning"),
    "divergence": ("loss-spike", "loss-drift", "non-finite", "no-learning", "plateau"),
    "non-finite": ("loss-spike", "loss-drift", "gradient-instability", "no-learning", "plateau"),
    "loss-spike": ("loss-drift",),
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


def with_causes(told: Sequence[Incident]) -> tuple[Incident, ...]:
    """The same incidents, in the same order, each with the slug of the open one that brought it about, if any.

    The order is that in which they are told. Where two may cause each other, the one told first is the cause.
    """
    found: list[Incident] = []
    for i, incident in enumerate(told):
        candidates = [c for c in told if c is not incident and _explains(c, incident)]
        first = next((c for c in candidates if told.index(c) < i or not _explains(incident, c)), None)
        found.append(replace(incident, cause=first.rule) if first else incident)
    return tuple(found)


def _explains(cause: Incident, other: Incident) -> bool:
    return (
        cause.state == other.state == "open"
        and other.rule in CAUSES.get(cause.rule, ())
        and cause.onset_step <= other.onset_step + NEAR
    )
