"""What `attach` needs of the world it is called in: parts that differ where several ranks train. One rank: as ever."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tuimon.instrument.measure import Probe
from tuimon.instrument.place import Place, named_only
from tuimon.instrument.ranks import obeying
from tuimon.instrument.ranks.agreeing import WIDTH, Agreeing
from tuimon.instrument.ranks.joining import Joining, publish, write_rank
from tuimon.instrument.ranks.keeping import RankSnapshots
from tuimon.instrument.ranks.lane import STANDING, TIMEOUT, Lane
from tuimon.instrument.ranks.probing import RankProbe
from tuimon.instrument.ranks.shares import Part, groups_of
from tuimon.instrument.ranks.steering import RankSteering
from tuimon.instrument.ranks.world import Board, World
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState
from tuimon.instrument.steering import Steering
from tuimon.instrument.tracked import held_by
from tuimon.record.rundir import RunInfo


class Meeting:
    """Of one `attach`. Waits for nobody."""

    def __init__(self, world: World, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self.world = world
        self.part: Part | None = None
        """What this rank is of several; None where there is one."""
        self.joining: Joining | None = None
        """How a rank other than 0 hears where the run is recorded."""
        self._board: Board | None = None
        self._agreeing: Agreeing | None = None
        if world.is_many:
            self.part = Part(world)
            params = [p for group in held_by(optimizers) for p in group]
            self.part.look(model, params)
            self._apart = obeying.apart(self.part, model)
            self._board = _board(world)
            if self._board is not None:
                began = partial(obeying.begun, groups_of(model, params))
                lane = Lane(world, self._board, WIDTH, TIMEOUT, STANDING, apart=self._apart, began=began)
                self._agreeing = Agreeing(lane, self._board, world.rank, world.size)

    def join(self, info: RunInfo, from_step: int) -> Place | None:
        """Of a rank other than 0, a name: the place is yet to be heard. None for who takes one."""
        if self.part is None or not self.world.rank:
            return None
        self.joining = Joining(self.part, info, from_step, self._board)
        return named_only(info)

    def take(self, place: Place, from_step: int) -> None:
        """The run is recorded there, or nowhere: rank 0 says so to the others."""
        if self.part is None or self.joining is not None:
            return
        if not place.trouble:
            with suppress(OSError):   # a full disk: its rows wait for room as well
                write_rank(place.run, place.info, self.part, [entry.name for entry in place.info.tensors])
        if self._board is not None:
            publish(self._board, place.run, place.info, from_step=from_step, trouble=place.trouble)

    def steering(self, *args: Any, **options: Any) -> Steering:
        """What obeys."""
        if self.part is None:
            return Steering(*args, **options)
        return RankSteering(*args, part=self.part, agreeing=self._agreeing, **options)

    def snapshots(self, state: TrainingState) -> Snapshots | None:
        """Empty; None where there is no going back: one rank alone cannot."""
        if self.part is None:
            return Snapshots(state)
        return None if self._agreeing is None or self._apart else RankSnapshots(state, self.world)

    def probe(self, *args: Any, **options: Any) -> Probe:
        """The instrument."""
        return Probe(*args, **options) if self.part is None else RankProbe(*args, part=self.part, **options)

    @property
    def may_save(self) -> bool:
        """Whether this rank writes checkpoints; what it may write at a boundary, `obeying` says."""
        return self.world.rank == 0

    def may_probe(self, model: nn.Module) -> bool:
        """Whether activations are looked at: by one rank, and where it has the whole of them."""
        is_whole = not any(hasattr(p, "device_mesh") for p in model.parameters())
        return not self.world.is_many or (self.world.rank == 0 and is_whole)


def _board(world: World) -> Board | None:
    try:
        return Board(world)
    except (RuntimeError, ValueError, ImportError):   # no store of the usual kind: each rank records by itself
        return None
