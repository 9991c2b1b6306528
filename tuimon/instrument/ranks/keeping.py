"""Snapshots of one rank of several: each keeps its own part, of the same steps, and puts it back when all can.

Which of them are kept depends on nothing but what all ranks do at the same boundary.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from tuimon.errors import CheckpointError
from tuimon.instrument.host import one_line
from tuimon.instrument.ranks.world import World
from tuimon.instrument.snapshots import Fit, Snapshot, Snapshots
from tuimon.instrument.state import TrainingState


class RankSnapshots(Snapshots):
    """One rank's."""

    def __init__(self, state: TrainingState, world: World) -> None:
        super().__init__(state)
        self._beside = beside(world)
        self.check: Callable[[str, float], str] = lambda why, _number: why
        """Say why this rank cannot, or "", and which number it has; why it is not done."""

    def fits(self, fraction: float = 0.25) -> Fit:
        """The ranks of one host share what it has."""
        return super().fits(fraction / self._beside)

    def trust(self, step: int) -> bool:
        """It has earned its health, at this boundary on all ranks; to be sealed later. False if it has gone."""
        slot = self._find(step)
        if slot is not None:
            slot.proven = True
        return slot is not None

    def restore(self, step: int) -> Snapshot:
        """As ever, where all ranks can."""
        prepared, why = None, ""
        try:
            prepared = self._prepared(step)
        except Exception as error:
            why = one_line(error)
        why_not = self.check(why, step)
        if why_not or prepared is None:
            raise CheckpointError(why_not or why)
        found, why = None, ""
        try:
            found = self._write(*prepared)
        except Exception as error:
            why = one_line(error)
        why_not = self.check(why, step)
        if why_not or found is None:
            raise CheckpointError(f"the ranks may hold weights of different steps now: {why_not or why}")
        return found


def beside(world: World, env: Mapping[str, str] | None = None) -> int:
    """Ranks on this host at most, as far as whoever started them says: torchrun, MPI, SLURM (as "2(x3),1")."""
    env = os.environ if env is None else env
    for name in ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"):
        counts = [int(count) for count in re.findall(r"(?:^|,)(\d{1,5})(?=$|,|\()", env.get(name, "")) if int(count)]
        if counts:
            return min(world.size, max(counts))
    return world.size
