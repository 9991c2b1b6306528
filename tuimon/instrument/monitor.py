"""What `attach` returns: the script's handle on its attached run.

It keeps neither the model nor the optimizer alive, and the run ends with them; a handle that is kept still knows where
the run is recorded and what was wrong with it. Nothing here raises into training.
"""

from __future__ import annotations

import logging
import shlex
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tuimon.diagnosis.model import Diagnosis
from tuimon.errors import UsageError
from tuimon.instrument.attached import Attached
from tuimon.instrument.ending import Ending, ending
from tuimon.instrument.measure import Probe
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.words import shown
from tuimon.record.chunk import Mark
from tuimon.record.rundir import RunDir, runs_root

LONGEST_NAME: Final = 100
_ROWS_OWN: Final = ("step", "time")
_LOG: Final = logging.getLogger("tuimon")


class Monitor:
    """One attached run. A context manager; closes itself when its optimizer goes, and at exit.

    Without `with`, a run whose script ends in an exception that somebody catches is recorded as finished.
    """

    def __init__(self, attached: Attached) -> None:
        self._recorder: Recorder = attached.recorder
        self._ref = weakref.ref(attached)

    def log(self, **scalars: Any) -> None:
        """Add numbers to the row of a step: val_loss=, loss= (instead of the one seen) or any other name.

        They belong to the step just completed; once a forward pass, a backward or a training batch of the next one has
        begun, to that one. Tensors of one element may be given: they are copied at once and never waited for.
        """
        attached = self._open
        if attached is None or attached.probe.off:
            return
        for name, value in scalars.items():
            if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name in _ROWS_OWN:
                attached.complain(name, f"tuimon: {name[:60]!r} cannot be the name of a number: 1 to {LONGEST_NAME} "
                                        "printable characters, not step or time; it is not recorded")
                continue
            try:
                taken = attached.probe.log(name, value)
            except Exception as error:  # a tensor on a device that is gone, say: one number is not worth a run
                _LOG.debug("log %s: %s", name, error)
                taken = False
            if not taken:
                attached.complain(name, f"tuimon: {name}= wants one number, not {shown(value)}; it is not recorded")

    def note(self, text: str) -> None:
        """State something about the run, at the step just completed."""
        attached = self._open
        if attached is not None:
            step = attached.probe.step
            said = text if isinstance(text, str) else shown(text)
            self._recorder.event("note", step, text=said)
            self._recorder.mark(Mark(step, "note", {"text": said}))

    def begins_late(self) -> None:
        """Say that the step under way had begun before this run was attached: its time and tokens are not known."""
        attached = self._open
        if attached is not None:
            attached.probe.begins_late()

    def step(self) -> None:
        """Say that a step is complete: only for loops whose optimizer step never reaches Python."""
        attached = self._open
        if attached is not None and attached.probe.manual_step():
            attached.boundary()

    @property
    def should_stop(self) -> bool:
        """Whether the run was told to stop; a loop that never looks is stopped three steps later."""
        attached = self._ref()
        return self._recorder.situation.state == "stopping" if attached is None else attached.should_stop

    def checkpoint(self) -> None:
        """Ask for a checkpoint on disk at the next step boundary."""
        attached = self._open
        if attached is not None:
            attached.steering.checkpoint()

    @property
    def run_dir(self) -> Path:
        """Where this run is recorded; nothing is there where nothing could be written."""
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
        """Measured share of the step that measuring takes, 0 to 1; 0 until it is known, and after the end."""
        attached = self._ref()
        return 0.0 if attached is None else attached.probe.cadence.overhead

    def close(self, state: Ending | None = None, error: str | None = None) -> None:
        """Detach: hooks and patches go, what was measured is written. Idempotent; nothing in a forked child.

        Any thread may call it. While another one trains, it returns once that one is out of tuimon's code for good.
        """
        attached = self._ref()
        if attached is not None:
            attached.close(state, error)
        self._recorder.wait()

    def __enter__(self) -> Monitor:  # noqa: PYI034  # Self is younger than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*ending(error, stopping=self.should_stop))

    def __repr__(self) -> str:
        recorder, attached = self._recorder, self._open
        if attached is None:
            return f"<tuimon.Monitor {recorder.ended or 'detached'} at step {recorder.last_step}, see {self.run_dir}>"
        state, step = recorder.situation.state, attached.probe.step
        how = "recorded nowhere" if recorder.is_in_memory else f"to watch it: {watching(recorder.run)}"
        return f"<tuimon.Monitor {state} at step {step}; {how}>"

    # -- for the package

    @property
    def _open(self) -> Attached | None:
        attached = self._ref()
        return None if attached is None or attached.is_over else attached

    @property
    def probe(self) -> Probe:
        """Its instrument; ReferenceError where the script has let go of what it measured."""
        attached = self._ref()
        if attached is None:
            raise ReferenceError("the script has let go of the optimizer")
        return attached.probe


def watching(run: RunDir) -> str:
    """The command that shows it."""
    try:
        name = run.name if run.path.parent == runs_root() else str(run.path)
    except UsageError:   # no home
        name = str(run.path)
    return f"tuimon watch {shlex.quote(name)}"
