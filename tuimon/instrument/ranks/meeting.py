"""What `attach` needs of the world it is called in: parts that differ where several ranks train. One rank: as ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tuimon.control.commands import Command
from tuimon.instrument.measure import Probe
from tuimon.instrument.ranks import obeying
from tuimon.instrument.ranks.joining import Joining, publish, write_rank
from tuimon.instrument.ranks.probing import RankProbe
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.ranks.world import Board, World
from tuimon.instrument.tracked import held_by
from tuimon.record.rundir import RunDir, RunInfo


class Meeting:
    """Of one `attach`. Waits for nobody."""

    def __init__(
        self, world: World, model: nn.Module, optimizers: Sequence[Optimizer], info: RunInfo, from_step: int
    ) -> None:
        self.world, self._from_step = world, from_step
        self.part: Part | None = None
        self.joining: Joining | None = None
        """How a rank other than 0 finds where the run is recorded."""
        self._board: Board | None = None
        if world.is_many:
            self.part = Part(world)
            self.part.look(model, [p for group in held_by(optimizers) for p in group])
            self._board = _board(world)
        if world.rank:
            assert self.part is not None
            self.joining = Joining(self.part, info, from_step, self._board)

    def at(self, run: RunDir, info: RunInfo, trouble: str) -> None:
        """On rank 0, the run is recorded there, or nowhere: say so to the others."""
        if self.part is None or self.world.rank:
            return
        if not trouble:
            with suppress(OSError):   # a full disk: what is measured waits for it to have room
                write_rank(run, info, self.part, [entry.name for entry in info.tensors])
        if self._board is not None:
            publish(self._board, run, info, from_step=self._from_step, trouble=trouble)

    @property
    def why_not(self) -> Callable[[Command], str] | None:
        """Why a command may not be carried out by this rank at a boundary; "" where it may."""
        return partial(obeying.why_not, self.world) if self.world.is_many else None

    def probe(self, *args: Any, **options: Any) -> Probe:
        """The instrument."""
        return Probe(*args, **options) if self.part is None else RankProbe(*args, part=self.part, **options)


def may_probe(model: nn.Module, world: World) -> bool:
    """Whether activations are looked at: by one rank, and where each has the whole of them."""
    return not world.is_many or (world.rank == 0 and not any(hasattr(p, "device_mesh") for p in model.parameters()))


def _board(world: World) -> Board | None:
    try:
        return Board(world)
    except (RuntimeError, ValueError, ImportError):   # no store of the usual kind: each rank records by itself
        return None
