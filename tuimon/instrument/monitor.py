"""What `attach` returns: the script's handle on its attached run, and the step boundary. Training thread.

Nothing here raises into training except TrainingStopped, which is how a run that was told to stop ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from torch.utils.hooks import RemovableHandle

from tuimon.diagnosis.model import Diagnosis
from tuimon.instrument import hooks, patches
from tuimon.instrument.ending import ending, last_error
from tuimon.instrument.feeds import Feeds
from tuimon.instrument.labels import Label
from tuimon.instrument.measure import Probe
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.state import TrainingState
from tuimon.instrument.steering import Steering
from tuimon.instrument.stopping import TrainingStopped
from tuimon.record.chunk import Mark

LAST_ROWS: Final = 2.0
"""Seconds that `close` waits for rows still on the device."""
_LOG: Final = logging.getLogger("tuimon")


class Monitor:
    """One attached run. A context manager; closes itself at exit."""

    def __init__(
        self, probe: Probe, recorder: Recorder, steering: Steering, state: TrainingState, feeds: Feeds,
        on_close: Callable[[], None],
    ) -> None:
        self.probe, self.feeds = probe, feeds
        self._recorder, self._steering, self._state, self._on_close = recorder, steering, state, on_close
        self._steers, self._is_closed, self._has_complained = True, False, False
        self._pid = os.getpid()
        self._hooks: list[RemovableHandle] = hooks.install(probe, self.boundary)
        try:
            patches.watch(self)
        except BaseException:
            for handle in self._hooks:
                handle.remove()
            raise
        atexit.register(self._at_exit)

    # -- for scripts

    def log(self, **scalars: Any) -> None:
        """Add numbers to the row of a step: val_loss=, loss= (instead of the one seen) or any other name.

        They belong to the step just completed; once a forward pass, a backward or a training batch of the next one has
        begun, to that one. Tensors of one element may be given: they are copied at once and never waited for.
        """
        if self.probe.off or self._is_closed:
            return
        for name, value in scalars.items():
            try:
                taken = self.probe.log(name, value)
            except Exception as error:  # a tensor on a device that is gone, say: one number is not worth a run
                _LOG.debug("log %s: %s", name, error)
                taken = False
            if not taken:
                self._complain(f"tuimon: {name}= wants one number, not {value!r:.60}; it is not recorded")

    def note(self, text: str) -> None:
        """State something about the run, at the step just completed."""
        if not self._is_closed:
            step = self.probe.step
            self._recorder.event("note", step, text=str(text))
            self._recorder.mark(Mark(step, "note", {"text": str(text)}))

    def begins_late(self) -> None:
        """Say that the step under way had begun before this run was attached: its time and tokens are not known."""
        self.probe.begins_late()

    def step(self) -> None:
        """Say that a step is complete: only for loops whose optimizer step never reaches Python."""
        if self.probe.manual_step():
            self.boundary()

    @property
    def should_stop(self) -> bool:
        """Whether the run was told to stop; a loop that never looks is stopped three steps later."""
        return self._steers and self._steering.should_stop

    def checkpoint(self) -> None:
        """Ask for a checkpoint on disk at the next step boundary."""
        if not self._is_closed:
            self._steering.checkpoint()

    @property
    def run_dir(self) -> Path:
        """Where this run is recorded."""
        return self._recorder.run.path

    @property
    def healthy(self) -> bool:
        """Whether nothing at or above a warning is open."""
        return self.diagnosis().verdict in ("healthy", "info")

    def diagnosis(self) -> Diagnosis:
        """What is known to be wrong, as of the last rows judged (a fraction of a second ago)."""
        return self._recorder.diagnosis

    @property
    def overhead(self) -> float:
        """Measured share of the step that measuring takes, 0 to 1; 0 until it is known. Host time."""
        return self.probe.cadence.overhead

    def close(self, state: str | None = None, error: str | None = None) -> None:
        """Detach: hooks and patches go, what was measured is written. Idempotent; nothing in a forked child."""
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed = True
        atexit.unregister(self._at_exit)
        patches.unwatch(self)
        for handle in self._hooks:
            handle.remove()
        self.probe.flush(LAST_ROWS)
        self.probe.shut()
        self._steering.close()
        self._recorder.close(state or ("stopped" if self.should_stop else "finished"), error)
        self._on_close()

    def __enter__(self) -> Monitor:  # noqa: PYI034  # Self is younger than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*ending(error, stopping=self.should_stop))

    def _at_exit(self) -> None:
        self.close(*ending(last_error(), stopping=self.should_stop))

    # -- for hooks and patches

    @property
    def is_ending_data(self) -> bool:
        """Whether its loaders are to yield nothing any more: the second rung of the stop ladder."""
        return self.should_stop and not self.feeds.is_released

    def boundary(self) -> None:
        """A step is complete and its row is on the way: commands, snapshots, the stop ladder."""
        if not self._steers:
            return
        probe, steering = self.probe, self._steering
        if self._state.scaler is None and probe.scaler is not None:
            self._state.scaler = probe.scaler
        began = time.perf_counter()
        try:
            steering.at_boundary(probe.step)
        except TrainingStopped:
            self.feeds.release()
            raise
        except Exception as error:  # Ctrl+C is no Exception: it passes
            self._steers = False
            self.fault("steering", error)
        finally:
            probe.resumed(time.perf_counter() - began)

    def measuring_failed(self, part: str, error: Exception) -> None:
        """Measuring has switched itself off. Hooks and patches stay: commands are obeyed at step boundaries."""
        self.fault(part, error)

    def label(self, label: Label) -> None:
        """A number of this run means something else than its name says; stated once."""
        fields = {"metric": label.metric, "text": label.text, "brief": label.brief}
        self._recorder.event("label", self.probe.step, **fields)
        self._recorder.mark(Mark(self.probe.step, "label", fields))

    def fault(self, part: str, error: Exception) -> None:
        """A part of tuimon is off from here on; training goes on."""
        _LOG.debug("%s", part, exc_info=error)
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        self._recorder.event("fault", self.probe.step, part=part, error=text)
        self._complain(f"tuimon has switched off its {part} part, training goes on: {text}"[:300])

    def _complain(self, text: str) -> None:
        """Once, and not even then where warnings are errors: those would end training."""
        if self._has_complained:
            return
        self._has_complained = True
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        except RuntimeWarning:
            _LOG.warning("%s", text)

