"""What `attach` needs of the world it is called in: parts that differ where several ranks train. One rank: as ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.measure import Probe
from tuimon.instrument.place import Place, named_only
from tuimon.instrument.ranks import obeying
from tuimon.instrument.ranks.agreeing import WIDTH, Agreeing
from tuimon.instrument.ranks.joining import Joining, publish, write_rank
from tuimon.instrument.ranks.keeping import RankSnapshots
from tuimon.instrument.ranks.lane import STANDING, TIMEOUT, Lane
from tuimon.instrument.ranks.layouts import layouts_of
from tuimon.instrument.ranks.probing import RankProbe
from tuimon.instrument.ranks.saving import Elsewhere, RankSaving
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.ranks.steering import RankSteering
from tuimon.instrument.ranks.steps import Steps
from tuimon.instrument.ranks.together import Together
from tuimon.instrument.ranks.world import Board, World
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState
from tuimon.instrument.steering import Steering
from tuimon.instrument.tracked import held_by
from tuimon.record.roster import Roster
from tuimon.record.rundir import RunInfo


class Meeting:
    """Of one `attach`. Waits for nobody."""

    def __init__(
        self, world: World, model: nn.Module, optimizers: Sequence[Optimizer], *, is_split: bool = False
    ) -> None:
        """is_split: whether each rank's optimizer holds another part of what all ranks hold."""
        self.world, self._model, self._from_step = world, model, 0
        self.part: Part | None = None
        """What this rank is of several; None where there is one."""
        self.joining: Joining | None = None
        """How a rank other than 0 hears where the run is recorded."""
        self._board: Board | None = None
        self._agreeing: Agreeing | None = None
        if world.is_many:
            self.part = Part(world, is_split=is_split)
            params = [p for group in held_by(optimizers) for p in group]
            self.part.look(model, params)
            self._steps = Steps(model, params)
            self._apart = partial(obeying.apart, self.part, self._steps)
            self._board = _board(world)
            if self._board is not None:
                lane = Lane(world, self._board, WIDTH, TIMEOUT, STANDING, apart=self._apart,
                            began=lambda: {**self._steps.begun(), "from_step": self._from_step})
                self._agreeing = Agreeing(lane, self._board, world.rank, world.size)

    def join(self, info: RunInfo, from_step: int) -> Place | None:
        """Of a rank other than 0, a name: the place is yet to be heard. None for who takes one."""
        self._from_step = from_step
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

    def steering(self, state: TrainingState, recorder: Recorder, *args: Any, **options: Any) -> Steering:
        """What obeys."""
        part = self.part
        options["amiss"] = partial(obeying.amiss, part)
        if part is None:
            return Steering(recorder, *args, **options)
        saving = partial(
            RankSaving, together=self._together(recorder), layouts=partial(layouts_of, self._model, state, self.world),
            is_whole=lambda: part.shares.is_whole)
        return RankSteering(recorder, *args, part=part, agreeing=self._agreeing, uneven=self._steps.uneven,
                            saving=saving, **options)

    def _together(self, recorder: Recorder) -> Together | None:
        if self._board is None or self._agreeing is None:
            return None
        lane = self._agreeing.lane
        return Together(self._board, self.world, gone=partial(_gone, recorder), parted=lambda: lane.why)

    def snapshots(self, state: TrainingState) -> Snapshots | None:
        """Empty; None where there is no going back: one rank alone cannot."""
        if self.part is None:
            return Snapshots(state)
        return None if self._agreeing is None or self._apart() else RankSnapshots(state, self.world)

    def probe(self, *args: Any, **options: Any) -> Probe:
        """The instrument."""
        return Probe(*args, **options) if self.part is None else RankProbe(*args, part=self.part, **options)

    def store(self, recorder: Recorder) -> Any:
        """The run's checkpoints: rank 0 keeps them."""
        return Elsewhere() if self.world.rank else Checkpoints(recorder.run.checkpoints, run=recorder.run.name)

    def may_probe(self, model: nn.Module) -> bool:
        """Whether activations are looked at: by one rank, and where it has the whole of them."""
        is_whole = not any(hasattr(p, "device_mesh") for p in model.parameters())
        return not self.world.is_many or (self.world.rank == 0 and is_whole)


def _gone(recorder: Recorder, rank: int) -> str:
    """Why a rank says nothing any more, as far as its process can be seen from here; "" where it may."""
    now = time.time()
    standing = Roster(recorder.run).look(rank, recorder.attempt, [now] * (rank + 1), now)
    return {"died": "has died", "crashed": "has crashed", "ended": "has ended"}.get(standing.state, "")


def _board(world: World) -> Board | None:
    try:
        return Board(world)
    except (RuntimeError, ValueError, ImportError):   # no store of the usual kind: each rank records by itself
        return None
