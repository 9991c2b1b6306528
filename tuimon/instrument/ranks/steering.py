"""Steering of one rank of several: what rank 0 is told, all ranks do at the same boundary, or none.

Commands and news of snapshots come to rank 0 only. Where the ranks have met they travel by the lane, one after the
other; before that, and where there is no lane, what one rank may not do alone is refused and says why. While the run
is held the ranks keep meeting: who dies, hangs or leaves meanwhile takes the lane along, and the others go on.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tuimon.control.commands import Command, decode, encode
from tuimon.control.states import WAITING, Refuse, outcome
from tuimon.errors import CommandError
from tuimon.instrument.mailbox import Earned, Letter, Ready, Voided
from tuimon.instrument.protocols import Captured
from tuimon.instrument.ranks import obeying
from tuimon.instrument.ranks.agreeing import Agreeing, Settled
from tuimon.instrument.ranks.keeping import RankSnapshots
from tuimon.instrument.ranks.lane import ABSENT, ENDED
from tuimon.instrument.ranks.saving import RankSaving
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.rescue import target
from tuimon.instrument.steering import LOOK, Later, Result, Steering

_BACK: Final = frozenset({"rollback", "rescue"})


class RankSteering(Steering):
    """One per run and rank."""

    _saving: RankSaving

    def __init__(
        self, recorder: Recorder, *args: Any, part: Part, agreeing: Agreeing | None, uneven: Callable[[], str],
        **options: Any,
    ) -> None:
        """agreeing: None where there is nothing by which ranks could find each other.

        uneven: why the ranks may take different numbers of steps from here on; "" where they may not.
        """
        super().__init__(recorder, *args, **options)
        self._part, self._agreeing, self._uneven = part, agreeing, uneven
        self._early: deque[Letter] = deque()
        """What can wait until it is known whether there is a lane."""
        self._settled: deque[Settled] = deque()
        self._stood = False
        if agreeing is not None and isinstance(self._snapshots, RankSnapshots):
            self._snapshots.check = agreeing.check

    # -- at each boundary

    def at_boundary(self, step: int) -> None:
        """After the `step`-th update of all ranks."""
        try:
            if self._agreeing is not None and not self._agreeing.lane.is_down:
                self._meet(self._agreeing, step)
            self._part.meets = self._stands
            super().at_boundary(step)
        except BaseException:   # Ctrl+C amid a word: what it would hear next would be of another boundary
            self.part_ways("a rank was interrupted")
            raise

    def _meet(self, agreeing: Agreeing, step: int) -> None:
        if why := self._uneven():   # before a word is waited for that a rank may never say
            self.part_ways(why)
        try:
            settled = agreeing.meet(self._can, calm=self._situation.is_calm)
        except Exception as error:   # the board is gone
            self.part_ways(f"the ranks have lost each other: {error}"[:200])
            settled = None
        if settled is not None:
            self._settled.append(settled)
        if settled is not None or agreeing.lane.is_down or self._stands != self._stood:
            self._stood, self._mailbox.due = self._stands, 0
        if agreeing.lane.why.startswith(ABSENT) and not self._part.world.rank:
            self._warn(step, f"{agreeing.lane.why}: what needs all ranks is not known; attach on every rank")

    @property
    def _stands(self) -> bool:
        """Whether there is a lane, which all ranks find at the same boundary."""
        return self._agreeing is not None and not self._agreeing.lane.why

    @property
    def _is_forming(self) -> bool:
        lane = None if self._agreeing is None else self._agreeing.lane
        return lane is not None and bool(lane.why) and not lane.is_down

    def part_ways(self, why: str = "tuimon steers one of the ranks no more") -> None:
        """This rank meets the others no more."""
        if self._agreeing is not None:
            self._agreeing.lane.leave(why)

    def dismiss(self) -> None:
        """The run is being closed."""
        super().dismiss()
        self.part_ways(ENDED)

    def leave(self, state: str, error: str | None) -> None:
        """The run is over."""
        self.part_ways(ENDED)
        super().leave(state, error)

    # -- what comes in

    def _read(self, step: int) -> None:
        if self._early and not self._is_forming:
            early, self._early = self._early, deque()
            for waited in early:
                self._receive(waited, step)
        while (letter := self._mailbox.next()) is not None:
            self._receive(letter, step)
        while self._settled:
            self._follow(self._settled.popleft(), step)
        if self._agreeing is not None and self._agreeing.lane.is_down:
            for order in map(_read_order, self._agreeing.unsettled()):
                if order is not None:
                    self._receive(order, step)
            if self._snapshots is not None:   # nobody can go back any more
                self._snapshots.close()
                self._snapshots = None

    def _receive(self, letter: Letter, step: int) -> None:
        """Of rank 0: hand it on. Others hear only from their script."""
        command = letter if isinstance(letter, Command) else None
        waits = command is None or command.who.origin == "guard"
        if isinstance(letter, Ready):
            self._take(letter, step)
        elif self._agreeing is not None and self._stands and not self._part.world.rank:
            self._agreeing.propose(_order(letter))
        elif self._is_forming and waits:
            self._early.append(letter)
        elif command is None:
            self._take(letter, step)
        elif why := obeying.why_not(self._part, command, self._why):
            self._recorder.answer(command, step, "refused", why)
        else:
            self._obey(command, step)

    @property
    def _why(self) -> str:
        return obeying.NO_STORE if self._agreeing is None else self._agreeing.lane.why

    # -- what all agree on

    def _can(self, text: str) -> str:
        """Why this rank cannot follow an order."""
        order = _read_order(text)
        if order is None:
            return "the order cannot be read here"
        if not isinstance(order, Command):
            return ""
        allowed = outcome(self.state, order.verb)
        if isinstance(allowed, Refuse):
            return allowed.why
        why = self._revisions.against(order) or obeying.why_not_all(self._part, order)
        if not why and order.verb == "checkpoint":
            why = self._saving.why_not(order)
        if not why and order.verb in _BACK:
            step = order.args.get("step")
            found = target(self._snapshots, None if step is None else int(step))
            why = found if isinstance(found, str) else ""
        return why

    def _follow(self, settled: Settled, step: int) -> None:
        order = _read_order(settled.text)
        if order is None:
            return
        if not isinstance(order, Command):
            self._take(order, step)
        elif settled.why and not (order.verb == "checkpoint" and self._may_save_alone):
            self._recorder.answer(order, step, "refused", settled.why)
        else:
            if order.verb == "checkpoint" and not settled.why:
                self._saving.agree(order)
            self._obey(order, step)

    @property
    def _may_save_alone(self) -> bool:
        return not self._part.world.rank and self._part.shares.is_whole

    def _stand_still(self, step: int) -> None:
        """With the others, until an order changes the state. Ctrl+C gets through: it takes the lane along."""
        self._hand_over()
        agreeing, is_resumed = self._agreeing, False
        while self.state in WAITING and not self._is_dismissed:
            if agreeing is None or not self._stands:
                self._enter("running", step, f"nobody could resume all ranks: {self._why}")
                self._read(step)
                return
            if not self._part.world.rank and not agreeing.is_busy:
                if not self._recorder.is_attended and not is_resumed:   # nobody reads commands any more
                    is_resumed = bool(self._recorder.order("resume", "guard"))
                self._mailbox.wait(LOOK)
            settled = agreeing.tick(self._can, calm=self._situation.is_calm)
            if settled is not None:
                self._settled.append(settled)
            self._read(step)

    # -- what it does

    def _save(self, command: Command, step: int) -> Result:
        if self._saving.is_agreed(command):
            why = self._saving.save(command, step)
            return Refuse(why) if why else Later()
        return super()._save(command, step)

    def _rescue(self, command: Command, step: int) -> Result:
        """Without a clip where nobody could apply it alike."""
        if "max_norm" not in command.args and not obeying.may_clip(self._part):
            command = replace(command, args={**command.args, "max_norm": None})
        return super()._rescue(command, step)

    def _lend(self, step: int) -> Captured:
        """A snapshot if all have one of this boundary; else a copy, for no rank keeps one alone."""
        snapshots = self._snapshots
        if snapshots is not None and step in snapshots.steps:
            return snapshots.detach(step)
        assert self._copy is not None
        return self._copy(step)

    def _earn(self, earned: int, step: int) -> None:
        snapshots = self._snapshots
        if isinstance(snapshots, RankSnapshots) and snapshots.trust(earned):
            self._recorder.event("snapshot-healthy", step, snapshot_step=earned)
            self._errands.send(lambda: _seal(snapshots, earned))

    def _break(self, step: int, error: Exception) -> None:
        self.part_ways("a rank cannot follow any more")   # nor would it meet the others where they stand still
        super()._break(step, error)

    def _refuse_what_waits(self) -> None:
        waiting = [*self._early, *map(_read_order, self._agreeing.unsettled() if self._agreeing else ())]
        self._early.clear()
        for command in waiting:
            if isinstance(command, Command):
                self._recorder.answer(command, self._situation.step, "refused", "the run has ended")
        super()._refuse_what_waits()

    @property
    def _is_calm(self) -> bool:
        """What rank 0 says, as all hear it."""
        return self._agreeing is not None and self._agreeing.is_calm

    def _snapshot_if_due(self, step: int) -> None:
        if self._stands:
            try:
                super()._snapshot_if_due(step)
            except Exception as error:   # no memory, say: this rank keeps no further one, and can say so
                super()._break(step, error)


def _seal(snapshots: RankSnapshots, step: int) -> None:
    snapshots.seal(step)


def _order(letter: Command | Earned | Voided) -> str:
    if isinstance(letter, Command):
        return encode(letter).decode()
    return json.dumps({"earned": letter.step} if isinstance(letter, Earned) else {"voided": letter.after_step})


def _read_order(text: str) -> Command | Earned | Voided | None:
    try:
        body = json.loads(text)
        if "earned" in body:
            return Earned(int(body["earned"]))
        return Voided(int(body["voided"])) if "voided" in body else decode(text.encode())
    except (ValueError, TypeError, CommandError):
        return None
