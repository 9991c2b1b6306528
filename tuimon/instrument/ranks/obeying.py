"""Which commands a rank may carry out at a step boundary. One that holds for one rank only would tear the run apart."""

from __future__ import annotations

from tuimon.control.commands import Command
from tuimon.instrument.ranks.world import World


def why_not(world: World, _command: Command) -> str:
    """Why this rank may not carry it out now; "" where it may."""
    if world.is_many:
        return f"this run trains on {world.size} ranks, which do not act as one yet"
    return ""
