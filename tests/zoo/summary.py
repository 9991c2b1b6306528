"""Many outcomes in a few numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.zoo.interval import poisson_interval
from tests.zoo.score import Outcome

PER = 10_000
"""Steps by which false alarms are counted."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many; of 0 where the question does not arise."""

    count: int
    of: int

    @property
    def part(self) -> float | None:
        """Between 0 and 1; None of nothing."""
        return self.count / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Rate:
    """Events within so many steps."""

    count: int
    steps: int

    @property
    def per(self) -> float | None:
        """Per 10,000 steps; None where there were none."""
        return self.count / self.steps * PER if self.steps else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence, per 10,000 steps."""
        if not self.steps:
            return None
        low, high = poisson_interval(self.count)
        return low / self.steps * PER, high / self.steps * PER


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a kind, or of all."""

    runs: int
    found: Share
    delay: float | None
    """Median, of those found."""
    at_once: Share
    first: Share
    among_two: Share
    layer: Share
    onset_error: float | None
    """Median."""
    in_time: Share
    warnings: Rate
    criticals: Rate
    alarmed: Share
    """Steps in alarm, of those that were healthy."""
    strange: int
    """Warnings after the onset that have nothing to do with the fault."""


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """Sick and healthy runs may be mixed: each question is asked of those where it arises."""
    sick = [o for o in outcomes if not o.healthy]
    steps = sum(o.healthy_steps for o in outcomes)
    return Summary(
        runs=len(outcomes),
        found=Share(sum(o.found is not None for o in sick), len(sick)),
        delay=_median(o.delay for o in sick),
        at_once=_share(o.right_at_once for o in sick),
        first=_share(o.right_first for o in sick),
        among_two=_share(o.right_among_two for o in sick),
        layer=_share(o.right_layer for o in sick),
        onset_error=_median(o.onset_error for o in sick),
        in_time=_share(o.in_time for o in sick),
        warnings=Rate(sum(len(o.false_warnings) for o in outcomes), steps),
        criticals=Rate(sum(len(o.false_criticals) for o in outcomes), steps),
        alarmed=Share(sum(o.alarmed_steps for o in outcomes), steps),
        strange=sum(len(o.strange) for o in sick),
    )


def by_kind(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """In the order of their names."""
    found: dict[str, list[Outcome]] = {}
    for one in sorted(outcomes, key=lambda o: (o.kind, o.seed)):
        found.setdefault(one.kind, []).append(one)
    return found


def _share(answers: Iterable[bool | None]) -> Share:
    known = [answer for answer in answers if answer is not None]
    return Share(sum(known), len(known))


def _median(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None


def summary_json(found: Summary) -> dict[str, Any]:
    """For machines: shares as [count, of], rates per 10,000 steps with their interval."""
    def share(value: Share) -> list[int]:
        return [value.count, value.of]

    def rate(value: Rate) -> dict[str, Any]:
        return {"count": value.count, "steps": value.steps, "per_10000": value.per, "interval_95": value.interval}

    return {
        "runs": found.runs, "found": share(found.found), "delay_median": found.delay,
        "right_at_once": share(found.at_once), "right_first": share(found.first),
        "right_among_two": share(found.among_two), "right_layer": share(found.layer),
        "onset_error_median": found.onset_error, "before_lost": share(found.in_time),
        "false_warnings": rate(found.warnings), "false_criticals": rate(found.criticals),
        "alarmed_steps": share(found.alarmed), "strange_warnings": found.strange,
    }
