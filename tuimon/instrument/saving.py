"""A checkpoint on command: captured at the boundary, written in the background, answered when it is durable.

The first one first needs a look for what the script did not pass. In the background, with the capture at the boundary
after it; at once where training stands still, where its script asks, or where the run is being stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuimon.control.commands import Command
from tuimon.errors import CheckpointError
from tuimon.instrument.errands import Errands
from tuimon.instrument.mailbox import Ready
from tuimon.instrument.protocols import Captured, CheckpointInfo, Checkpoints, Discovery, Overrides
from tuimon.instrument.recorder import Recorder

REMEMBERED: Final = 64
"""Checkpoints of this attempt whose health is followed, newest first: far more than are kept."""
_LOG: Final = logging.getLogger("tuimon")


@dataclass(frozen=True, slots=True)
class Taken:
    """One boundary's state on its way to the disk."""

    captured: Captured
    step: int
    overrides: Mapping[str, Any]
    loader: Any
    parts: Mapping[str, str]
    is_calm: bool
    """Whether nothing open spoke against trusting the weights."""


class Saving:
    """Captures by whatever function it is given, saves to whatever store."""

    def __init__(
        self, recorder: Recorder, store: Checkpoints | None, capture: Callable[[int], Captured] | None,
        overrides: Overrides, errands: Errands, discovery: Discovery | None = None,
    ) -> None:
        self._recorder, self._store, self._capture = recorder, store, capture
        self._overrides, self._errands, self._discovery = overrides, errands, discovery
        self._looking: dict[str, Command] = {}
        """Commands that wait for a look."""
        self._ids: dict[int, str] = {}
        """Checkpoints of this attempt by their step; the background thread's own."""

    def looks_first(self, command: Command) -> bool:
        """Whether the command has to wait for a look in the background; `Ready` says when it is over."""
        discovery = self._discovery
        if discovery is None or self._store is None or not discovery.is_due or command.who.origin == "script":
            return False
        self._looking[command.id] = command
        self._errands.send(lambda: self._look(discovery, command.id))
        return True

    def _look(self, discovery: Discovery, command: str) -> None:
        discovery.look()
        self._recorder.mailbox.post(Ready(command))

    def waiting(self, command: str | None = None) -> list[Command]:
        """Commands, or this one, whose wait is over; empty where nobody waits."""
        ids = list(self._looking) if command is None else [command]
        return [found for name in ids if (found := self._looking.pop(name, None)) is not None]

    def save(self, command: Command, step: int, *, looked: bool = False) -> str:
        """Begin; "" if begun, else why not. Training thread; raises what capturing raises."""
        store = self._store
        if store is None:
            return "checkpoints are switched off for this run"
        if self._capture is None:
            return "nothing can be captured: no snapshots are kept for this run"
        taken = self._take(self._capture, step, looked=looked)
        self._errands.send(lambda: self._write(store, taken, command))
        return ""

    def earned(self, step: int) -> None:
        """The state of `step` has earned its health: so has its checkpoint, if there is one."""
        self._tell(lambda at: at == step, lambda store, found: store.promote(found))

    def voided(self, after_step: int) -> None:
        """Later states are not to be trusted any more, on disk as in memory."""
        self._tell(lambda at: at > after_step, lambda store, found: store.doubt(found))

    def went_back(self, to_step: int) -> None:
        """The run goes on from there."""
        self.voided(to_step)
        self._tell(lambda at: at == to_step, lambda store, found: store.gone_back_to(found))

    def goes_on_from(self, step: int, name: str) -> None:
        """This attempt goes on from a checkpoint that an earlier one wrote."""
        self._errands.send(lambda: self._ids.update({step: name}))
        self.went_back(step)

    def _tell(self, which: Callable[[int], bool], what: Callable[[Checkpoints, str], None]) -> None:
        """Say it to the store of some checkpoints, in the background: after those that were begun before."""
        store = self._store
        if store is None:
            return

        def told() -> None:
            for step, name in self._ids.items():
                try:
                    if which(step):
                        what(store, name)
                except (OSError, CheckpointError):  # one that was removed meanwhile
                    _LOG.debug("the health of %s was not noted", name, exc_info=True)

        self._errands.send(told)

    def release(self) -> None:
        """After the end: keep no way to the model."""
        self._capture = self._store = self._discovery = None

    def _take(self, capture: Callable[[int], Captured], step: int, *, looked: bool) -> Taken:
        now, discovery = self._overrides.in_force, self._discovery
        overrides = {"lr_scale": now.lr_scale, "clip": now.clip, "warmup_from": now.warmup_from,
                     "warmup_steps": now.warmup_steps}
        is_calm = self._recorder.situation.is_calm
        if discovery is None:
            return Taken(capture(step), step, overrides, None, {}, is_calm)
        if discovery.is_due and not looked:
            discovery.look()
        discovery.settle()
        try:
            return Taken(capture(step), step, overrides, discovery.position(), discovery.parts(), is_calm)
        finally:
            discovery.forget()

    def _write(self, store: Checkpoints, taken: Taken, command: Command) -> None:
        begun, step = time.monotonic(), taken.step
        try:
            info = self._stored(store, taken, command)
        except Exception as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
            self._say(command, step, begun, taken.parts, outcome="failed", why=why)
            self._recorder.answer(command, step, "refused", why)
        else:
            self._ids = {s: self._ids[s] for s in sorted(self._ids)[1 - REMEMBERED:]} | {step: info.id}
            self._say(command, step, begun, taken.parts, id=info.id, bytes=info.bytes, sha256=info.sha256,
                      outcome="saved")
            self._recorder.answer(command, step, "applied", f"saved as {info.id}")
        finally:
            taken.captured.release()

    def _stored(self, store: Checkpoints, taken: Taken, _command: Command) -> CheckpointInfo:
        return self._save_to(store, taken)

    def _save_to(self, store: Checkpoints, taken: Taken, **more: Any) -> CheckpointInfo:
        return store.save(taken.captured, taken.step, attempt=self._recorder.attempt, overrides=taken.overrides,
                          loader=taken.loader, parts=taken.parts, suspect=not taken.is_calm, **more)

    def _say(
        self, command: Command, step: int, begun: float, parts: Mapping[str, str], *, outcome: str,
        id: str = "", bytes: int = 0, sha256: str = "", why: str = "",  # noqa: A002  # the names of the event's fields
    ) -> None:
        self._recorder.event(
            "checkpoint", step, id=id, command=command.id, snapshot_step=step, bytes=bytes,
            seconds=time.monotonic() - begun, sha256=sha256, outcome=outcome, why=why, parts=dict(parts),
        )
