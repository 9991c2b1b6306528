"""On how many ranks this training runs, and what follows for commands. Asks torch; talks to no other rank."""

from __future__ import annotations

import torch


def world_size() -> int:
    """Ranks that train together; 1 where torch.distributed was not started."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def bar(size: int) -> str:
    """Why commands are refused on one of `size` ranks; "" where they are obeyed.

    What one rank does alone (another learning rate, other weights, a pause) the others do not: replicas drift apart
    without a word, or all wait for one until a watchdog kills them.
    """
    return "" if size == 1 else f"this run trains on {size} ranks, of which one alone would act"
