"""What the event log tells, where the viewer looks for it. Pure."""

from tuimon.diagnosis.overrides import Overrides
from tuimon.diagnosis.story import (
    KEPT_HEALTHY,
    KEPT_LINES,
    KEPT_REQUESTS,
    LONGEST,
    TICKS,
    WAITING,
    EventLine,
    Outcome,
    Request,
    Rescue,
    Story,
    Tick,
    lowered,
    tell,
)

__all__ = [
    "KEPT_HEALTHY", "KEPT_LINES", "KEPT_REQUESTS", "LONGEST", "TICKS", "WAITING", "EventLine", "Outcome", "Overrides",
    "Request", "Rescue", "Story", "Tick", "lowered", "tell",
]
