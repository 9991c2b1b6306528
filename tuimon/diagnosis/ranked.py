"""What there is to say about the ranks of a run, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuimon.diagnosis.figures import age
from tuimon.diagnosis.figures import step as steps
from tuimon.record.lost import lost_words

if TYPE_CHECKING:
    from tuimon.diagnosis.model import Diagnosis
    from tuimon.record.paces import Slow
    from tuimon.record.roster import Ranks


def headline(ranks: Ranks, now: float) -> str:
    """All of them in a few words: who is not there, or else how many there are, and how many are slow."""
    lost = ranks.lost
    if len(lost) == 1 and lost[0].state == "silent":
        since = max(0.0, now - lost[0].since)
        return f"rank {lost[0].rank} silent for {int(since)} s" if since < 60 else \
            f"rank {lost[0].rank} silent for {age(since)}"
    if lost:
        return lost_words([(rank.rank, rank.state) for rank in lost])
    return f"{ranks.world} ranks" + (f", {len(ranks.slow)} slow" if ranks.slow else "")


def straggling(slow: Slow, host: str) -> str:
    """One rank that holds the others up."""
    where = f" on {host}" if host else ""
    return f"rank {slow.rank}{where} is {slow.times:.1f}x slower than the median since step {steps(max(0, slow.since))}"


def apart(found: Diagnosis, ranks: Ranks) -> str:
    """The rank that holds other weights than it should; "" where none is known to."""
    told = next((i for i in found.incidents if i.rule == "desynchronised-replicas" and i.state == "open"), None)
    number = next((int(e.value) for e in told.evidence if e.metric == "stray_rank"), -1) if told else -1
    if told is None or not 0 <= number < len(ranks.ranks):
        return ""
    host = ranks.ranks[number].host
    where = f", first seen in {told.layer}" if told.layer else ""
    return (f"rank {number}{f' on {host}' if host else ''} holds other weights than the ranks that should hold the "
            f"same since step {steps(told.onset_step)}{where}")
