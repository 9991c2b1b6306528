"""What `tuimon diagnose` says of one log, as lines for a person. Pure; what came from outside is not yet cleaned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tuimon.diagnosis.causes import as_events
from tuimon.diagnosis.model import Incident
from tuimon.diagnosis.wording import count
from tuimon.formats.judged import Judged


def told(one: Judged) -> Iterator[str]:
    """Verdict, how the log was understood, each event with its signs and what to do, what could not be judged."""
    steps = one.diagnosis.steps
    state = "" if one.reading.state == "unknown" else f" ({one.reading.state})"
    after = f" after {steps} {'step' if steps == 1 else 'steps'}" if one.verdict == one.diagnosis.verdict else ""
    yield f"{one.verdict}{after}{state}"
    for note in one.reading.notes:
        yield f"note: {note}"
    yield from _events(as_events(one.diagnosis.incidents))
    for metric, text in one.reading.labels:
        yield f"note on {metric}: {text}"
    yield from _not_evaluated(one)


def _events(listed: Sequence[tuple[Incident, int]]) -> Iterator[str]:
    """Signs below their cause; what to do only where nothing that is open stands above: the signs go when that does."""
    treated = len(listed)  # the depth of the open incident whose advice is in force
    for incident, depth in listed:
        treated = treated if depth > treated else len(listed)
        yield "  " * depth + _said(incident)
        if incident.state == "open" and depth <= treated:
            treated = depth
            for i, advice in enumerate(incident.next, 1):
                yield "  " * depth + f"    {i}. {advice}"


def _said(incident: Incident) -> str:
    when = f"since step {count(incident.onset_step)}"
    if incident.resolved_step is not None:
        when = f"step {count(incident.onset_step)} to {count(incident.resolved_step)}"
    where = f" in {incident.layer}" if incident.layer else ""
    return (f"{incident.code} {incident.severity} {incident.state}, {when}{where}: {incident.headline}. {incident.why} "
            f"(confidence {incident.confidence})")


def _not_evaluated(one: Judged) -> Iterator[str]:
    """Rules that wait for the same thing, in one line."""
    waiting = sorted((", ".join(n.needs), n.rule) for n in one.diagnosis.not_evaluated)
    for needs, rules in groupby(waiting, key=lambda pair: pair[0]):
        yield f"not evaluated for want of {needs}: {', '.join(rule for _, rule in rules)}"
