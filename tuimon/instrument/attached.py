"""One attached run as hooks and patches see it: its step boundary, its faults, its end.

Its lifetime is its optimizers': their hooks hold it, it holds them weakly, and everything process-wide (patches, exit
hooks) holds it weakly. So a sweep that attaches in a loop and closes nothing keeps no model, thread or file: when the
last reference to an optimizer goes, its run ends there and then. Nothing here raises into training except
TrainingStopped.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import sys
import threading
import time
import warnings
import weakref
from functools import partial
from typing import Final

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from tuimon.instrument import hooks, patches
from tuimon.instrument.drift import Drift
from tuimon.instrument.ending import Ending, ending, last_error
from tuimon.instrument.feeds import Feeds
from tuimon.instrument.inquest import Inquest
from tuimon.instrument.labels import Label
from tuimon.instrument.measure import Probe
from tuimon.instrument.recorder import Recorder, close_recorders
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState
from tuimon.instrument.steering import Steering
from tuimon.instrument.stopping import TrainingStopped
from tuimon.instrument.words import told
from tuimon.notify import begin
from tuimon.record.chunk import Mark

LAST_ROWS: Final = 2.0
"""Seconds that `close` waits for rows still on the device, and for a training thread that is inside tuimon."""
LAST_LOOK: Final = 0.2
"""The same where nobody asked to wait: the optimizer is being thrown away."""
_LOG: Final = logging.getLogger("tuimon")
_OPEN: Final[weakref.WeakSet[Attached]] = weakref.WeakSet()


class Attached:
    """One run from attach to its end."""

    def __init__(
        self, probe: Probe, recorder: Recorder, steering: Steering, state: TrainingState, feeds: Feeds,
        snapshots: Snapshots | None, inquest: Inquest,
    ) -> None:
        self.probe, self.recorder, self.steering, self._inquest = probe, recorder, steering, inquest
        self._state, self.feeds, self._snapshots = state, feeds, snapshots
        self._drift = Drift(state.model, probe.tracked.ids)
        self._steers, self._broke, self.is_over, self._at_boundary = True, False, False, False
        self._told: set[str] = set()
        self._pid = os.getpid()
        self._hooks: list[RemovableHandle] = hooks.install(probe, self.boundary)
        self._gone = [weakref.ref(o, partial(_let_go, weakref.ref(self))) for _, o in probe.optimizers.living()]
        try:
            patches.watch(self)
        except BaseException:
            for handle in self._hooks:
                handle.remove()
            raise
        _OPEN.add(self)
        close_at_the_end()

    @property
    def is_here(self) -> bool:
        """Whether this process attached it; a forked child inherits the object, not the run."""
        return os.getpid() == self._pid

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self._state.model

    @property
    def should_stop(self) -> bool:
        """Whether the run was told to stop."""
        return not self._broke and self.steering.should_stop

    @property
    def is_ending_data(self) -> bool:
        """Whether its loaders are to yield nothing any more: the second rung of the stop ladder."""
        return self.should_stop and not self.feeds.is_released

    def boundary(self) -> None:
        """A step is complete and its row is on the way: commands, snapshots, the stop ladder."""
        self._at_boundary = True
        try:
            if self._steers:
                self._attend()
        finally:
            self._at_boundary = False

    def _attend(self) -> None:
        probe, steering = self.probe, self.steering
        if self._state.scaler is None and probe.scaler is not None:
            self._state.scaler = probe.scaler
        began = time.perf_counter()
        try:
            if probe.outbox.batches.suspect is not None:
                self._inquest.attend(probe.step)  # before a rescue voids what it looks at
            steering.at_boundary(probe.step)
            if steering.has_moved:
                probe.cadence.look_again(probe.step)
            if probe.unmeasured is None and self._drift.has_begun(probe.tracked.ids):
                self._say_drift()
        except TrainingStopped:
            self.feeds.release()
            raise
        except Exception as error:  # Ctrl+C is no Exception: it passes
            self._steers, self._broke = False, True
            self.steering.part_ways()
            self.fault("steering", error)
        finally:
            probe.resumed(time.perf_counter() - began)

    def _say_drift(self) -> None:
        text = (f"{type(self._state.model).__name__} has other parameters than the attached optimizer holds "
                "(load_state_dict(assign=True)?): a step does not change the model any more")
        self.recorder.event("note", self.probe.step, text=text)
        self.complain("drift", f"tuimon: {text}")

    # -- what goes wrong

    def measuring_failed(self, part: str, error: Exception) -> None:
        """Measuring has switched itself off. Hooks and patches stay: commands are obeyed at step boundaries."""
        self.probe.outbox.batches.clear()  # no row comes any more that would let them go
        if not self.is_over:
            self.fault(part, error)

    def label(self, label: Label) -> None:
        """A number of this run means something else than its name says; stated once."""
        fields = {"metric": label.metric, "text": label.text, "brief": label.brief}
        self.recorder.event("label", self.probe.step, **fields)
        self.recorder.mark(Mark(self.probe.step, "label", fields))

    def fault(self, part: str, error: Exception) -> None:
        """A part of tuimon is off from here on; training goes on."""
        _LOG.debug("%s", part, exc_info=error)
        text = told(error)
        self.recorder.event("fault", self.probe.step, part=part, error=text)
        self.complain(part, f"tuimon has switched off its {part} part, training goes on: {text}"[:300])

    def complain(self, about: str, text: str) -> None:
        """Once about each thing, and not even then where warnings are errors: those would end training."""
        if about in self._told:
            return
        self._told.add(about)
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        except Exception:  # warnings are errors here, or stderr is closed
            _LOG.warning("%s", text)

    # -- how it ends

    def close(self, state: Ending | None = None, error: str | None = None) -> None:
        """Detach: hooks and patches go, what was measured is written. Idempotent; nothing in a forked child.

        From any thread. While another one trains, its hooks stay where they are, inert: torch may be walking over them.
        """
        if self.is_over or os.getpid() != self._pid:
            return
        self.is_over = True
        stopping = self.should_stop
        is_alone = self._stand_off()
        try:
            patches.unwatch(self)
            if is_alone:
                for handle in self._hooks:
                    handle.remove()
                self.probe.sampling.leave()
            self.probe.shut()
            self._hand_over(LAST_ROWS)
            if is_alone:
                self._inquest.attend(self.probe.step)  # a script that ends at the first NaN
                if state == "crashed":
                    self._inquest.attend_unfinished(self.probe.step)
            self.steering.close()
        finally:  # also where somebody pressed Ctrl+C meanwhile
            self.recorder.end(state or ("stopped" if stopping else "finished"), error)
            self._release()
        self.recorder.wait()

    def _stand_off(self) -> bool:
        """Switch everything off and wait until no other thread is inside; whether hooks may be removed."""
        trainer, me = self.probe.thread, threading.get_ident()
        self.probe.forget()
        self._steers = False
        self.steering.dismiss()
        if trainer == me:
            return not (self.probe.inside or self._at_boundary or self._is_stepping())
        until = time.monotonic() + LAST_ROWS
        while (self.probe.inside or self._at_boundary) and time.monotonic() < until:
            time.sleep(0.001)
        return all(thread.ident != trainer for thread in threading.enumerate())

    def _is_stepping(self) -> bool:
        """Whether this thread is within a step of an optimizer: in a hook or a closure of the script's."""
        steps = {getattr(type(optimizer).step, "__code__", None) for _, optimizer in self.probe.optimizers.living()}
        frame = sys._getframe()  # noqa: SLF001  # its public twin, inspect.currentframe, may be None
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code in steps:
                return True
        return False

    def _hand_over(self, patience: float) -> None:
        try:
            self.probe.outbox.flush(patience)
        except Exception as error:  # a device that is gone, a thread that is stuck in there: the log ends earlier
            _LOG.debug("the last rows: %s", error)

    def _release(self) -> None:
        """What only this run needed: buffers, and every way from here to the model."""
        self._inquest.close()
        if self._snapshots is not None:
            self._snapshots.close()
        self.steering.release()

    def let_go(self) -> None:
        """An optimizer is being thrown away, and nobody closed the run: it has ended.

        Called by the garbage collector, in any thread, in the midst of anything: waits for nobody and takes no lock.
        """
        if self.is_over or os.getpid() != self._pid:
            return
        self.is_over = True
        state, error = ending(last_error(), stopping=self.should_stop)
        self.probe.forget()
        self._steers = False
        patches.unwatch(self, wait=False)
        self.probe.overrides.restore_all()  # the other optimizers may step on
        self._hand_over(LAST_LOOK)
        self.recorder.event("note", self.probe.step, text="the script has let go of its optimizer: the run is over")
        self.steering.leave(state, error)
        self._release()

    def __del__(self) -> None:
        """The way out of reference cycles; without one `_let_go` comes first."""
        if hasattr(self, "_gone"):
            self.let_go()


def _let_go(attached: weakref.ref[Attached], _optimizer: weakref.ref[Optimizer]) -> None:
    found = attached()
    if found is not None:
        found.let_go()


def open_runs() -> list[Attached]:
    """Those of this process that have not ended."""
    return [attached for attached in list(_OPEN) if attached.is_here and not attached.is_over]


def close_all() -> None:
    """At the end of the process."""
    error = last_error()
    for attached in open_runs():
        attached.close(*ending(error, stopping=attached.should_stop))
    close_recorders()
    begin.farewell()


def close_at_the_end() -> None:
    """A process of multiprocessing leaves without Python's exit hooks: it has its own."""
    if multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, close_all, exitpriority=10)


atexit.register(close_all)
