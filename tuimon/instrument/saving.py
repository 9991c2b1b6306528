"""A checkpoint on command: captured at the boundary, written in the background, answered when it is durable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tuimon.control.commands import Command
from tuimon.instrument.errands import Errands
from tuimon.instrument.protocols import Captured, Checkpoints, Overrides
from tuimon.instrument.recorder import Recorder


class Saving:
    """Captures by whatever function it is given, saves to whatever store."""

    def __init__(
        self, recorder: Recorder, store: Checkpoints | None, capture: Callable[[int], Captured] | None,
        overrides: Overrides, errands: Errands,
    ) -> None:
        self._recorder, self._store, self._capture = recorder, store, capture
        self._overrides, self._errands = overrides, errands

    def save(self, command: Command, step: int) -> str:
        """Begin; "" if begun, else why not. Training thread; raises what capturing raises."""
        store = self._store
        if store is None:
            return "checkpoints are switched off for this run"
        if self._capture is None:
            return "nothing can be captured: no snapshots are kept for this run"
        captured, now = self._capture(step), self._overrides.in_force
        overrides = {"lr_scale": now.lr_scale, "clip": now.clip, "warmup_from": now.warmup_from,
                     "warmup_steps": now.warmup_steps}
        self._errands.send(lambda: self._write(store, captured, command, step, overrides))
        return ""

    def release(self) -> None:
        """After the end: keep no way to the model."""
        self._capture = self._store = None

    def _write(
        self, store: Checkpoints, captured: Captured, command: Command, step: int, overrides: Mapping[str, Any]
    ) -> None:
        begun = time.monotonic()
        try:
            info = store.save(captured, step, attempt=self._recorder.attempt, overrides=overrides)
        except Exception as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
            self._say(command, step, begun, outcome="failed", why=why)
            self._recorder.answer(command, step, "refused", why)
        else:
            self._say(command, step, begun, id=info.id, bytes=info.bytes, sha256=info.sha256, outcome="saved")
            self._recorder.answer(command, step, "applied", f"saved as {info.id}")
        finally:
            captured.release()

    def _say(
        self, command: Command, step: int, begun: float, *, outcome: str, id: str = "", bytes: int = 0,  # noqa: A002  # the names of the event's fields
        sha256: str = "", why: str = "",
    ) -> None:
        self._recorder.event(
            "checkpoint", step, id=id, command=command.id, snapshot_step=step, bytes=bytes,
            seconds=time.monotonic() - begun, sha256=sha256, outcome=outcome, why=why,
        )
