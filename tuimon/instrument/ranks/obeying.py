"""What a rank may do at a step boundary of what it is told.

What one rank does alone (another learning rate, other weights, a pause) the others do not: replicas drift apart without
a word, or all wait for one until a watchdog kills them.
"""

from __future__ import annotations

from tuimon.control.commands import Command
from tuimon.instrument.ranks.shares import Part


def why_not(part: Part, command: Command) -> str:
    """Why this rank may not do it now; "" where it may."""
    size = part.world.size
    if command.verb != "checkpoint":
        return f"this run trains on {size} ranks, of which one alone would act"
    if part.world.rank:
        return "rank 0 saves what all ranks hold alike"
    return "" if part.shares.is_whole else f"the weights are spread over {size} ranks, and one would save its part"
