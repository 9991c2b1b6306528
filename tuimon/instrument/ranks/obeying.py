"""What the ranks of a run may do of what they are told, and whether they may be asked to agree.

What one rank does alone (another learning rate, other weights, a pause) the others do not: replicas drift apart without
a word, or all wait for one until a watchdog kills them. So all follow at the same boundary, or none.
"""

from __future__ import annotations

from typing import Final

from tuimon.control.commands import Command
from tuimon.instrument.ranks.saving import MINE
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.ranks.steps import Steps
from tuimon.instrument.ranks.world import own_world

NO_STORE: Final = "the ranks share no store by which they could agree"


EARLY: Final = "tuimon was attached before the model was wrapped"
SPLIT: Final = "the optimizer's state is spread over the ranks (ZeroRedundancyOptimizer)"


def apart(part: Part, steps: Steps) -> str:
    """Why this rank is not to wait for the others at a boundary: its training may not; "" where it does anyway."""
    if part.is_early or part.is_split:
        return SPLIT if part.is_split else EARLY
    if part.shares.is_alone:
        return "as far as can be seen its ranks train apart, held together by no DistributedDataParallel and no DTensor"
    return steps.joins()


def amiss(part: Part | None) -> str:
    """What to say where this run's ranks cannot be seen as they train; "" where they can. part: None of one."""
    if part is not None:
        if part.is_split:
            return f"tuimon measures no norms here: {SPLIT}"
        return f"{EARLY}: its norms are not measured; attach after wrapping" if part.is_early else ""
    world = own_world(iter([0]))
    return (f"tuimon was attached before torch.distributed was started: this is rank {world.rank} of {world.size} by "
            "itself, and does nothing that one alone may not do; attach after wrapping") if world.is_many else ""


def why_not_saved(part: Part, lane: str) -> str:
    """Why this rank alone writes no checkpoint; "" where it does."""
    if not part.shares.is_known:
        return lane
    if part.world.rank:
        return MINE
    return "" if part.shares.is_whole else f"the weights are spread over {part.world.size} ranks: {lane}"


def why_not(part: Part, command: Command, lane: str) -> str:
    """Why this rank may not do it now, where there is no lane, and why there is none; "" where it may."""
    if command.verb == "checkpoint":
        return why_not_saved(part, lane)
    return f"this run trains on {part.world.size} ranks, of which one alone would act: {lane}"


def why_not_all(part: Part, command: Command) -> str:
    """Why they cannot follow, as far as it depends on how the model is spread; "" where they can."""
    if command.verb in ("set-clip", "rescue") and command.args.get("max_norm") is not None and not may_clip(part):
        return ("the weights are spread over the ranks, none of which knows the norm, "
                "and the script does not clip all gradients by it itself")
    return ""


def may_clip(part: Part) -> bool:
    """Whether a limit of the norm can be put in force: by this rank, or by lowering the script's own."""
    return part.shares.is_whole or part.clips_all
