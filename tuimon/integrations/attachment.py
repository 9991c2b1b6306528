"""What the callbacks have in common: the arguments for `attach`, and the monitor for as long as a training lasts.

Wrong arguments are said at once, where the callback is made. From then on nothing here ends a training: what fails is
one warning, and training goes on unwatched. TrainingStopped, by which a stop ends a loop, is no Exception: it passes.
"""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import nn

from tuimon.errors import AttachError
from tuimon.instrument.attach import attach, check_options
from tuimon.instrument.ending import ending, last_error
from tuimon.instrument.monitor import Monitor
from tuimon.instrument.resume import ResumeInfo

_LOG: Final = logging.getLogger("tuimon")
_OPTIONS: Final = tuple(inspect.signature(attach).parameters)[2:]
"""All that attach takes after the model and the optimizers."""
_OBJECTS: Final = ("scheduler", "scaler", "dataloader", "name", "run_dir")
"""Those that can be judged only in use."""
_LEFT: Final = "the trainer left its loop without ending the training"


class Attachment:
    """One per callback. Copies and pickles as its arguments alone: a copy watches nothing."""

    def __init__(self, whose: str, options: Mapping[str, Any]) -> None:
        unknown = [name for name in options if name not in _OPTIONS]
        if unknown:
            raise AttachError(f"{whose} takes what attach takes after the optimizer, not {unknown[0]}=: "
                              f"{', '.join(_OPTIONS)}")
        check_options(**{name: value for name, value in options.items() if name not in _OBJECTS})
        self._whose, self._options = whose, dict(options)
        self._has_complained = False
        self.monitor: Monitor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "monitor": None}

    def begin(
        self, model: nn.Module, *optimizers: Any, step: int, carried: Mapping[str, Any] | None, **found: Any
    ) -> None:
        """Attach. What the user gave goes before what the trainer was `found` to have.

        step: updates that the trainer has done before, in another process. carried: what `carry` gave then.
        """
        self.end(sys.exc_info()[1] or last_error(), left=True)
        if step > 0:
            overrides = (carried or {}).get("overrides") or {}
            found["resumed"] = ResumeInfo(step, "", 0, "", healthy=False, overrides=overrides, loader=None, extra={})
        self.monitor = attach(model, *optimizers, **{**found, **self._options})

    @property
    def should_stop(self) -> bool:
        """Whether the trainer is to be told to stop."""
        return self.monitor is not None and self.monitor.should_stop

    def carry(self) -> dict[str, Any]:
        """What belongs into the trainer's own checkpoint; plain values. {} while nothing is attached."""
        if self.monitor is None:
            return {}
        probe = self.monitor.probe
        return {"step": probe.step, "overrides": probe.overrides.state()}

    def log(self, scalars: Mapping[str, Any]) -> None:
        """Into the row of the step just done."""
        if self.monitor is not None and scalars:
            self.monitor.log(**scalars)

    def end(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """Close what is attached, if anything is. left: the trainer never said that it was over: that is a crash."""
        monitor, self.monitor = self.monitor, None
        if monitor is None:
            return
        if left and error is None:
            monitor.close("crashed", _LEFT)
        else:
            monitor.close(*ending(error, stopping=monitor.should_stop))

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """The outermost frame: an error of ours is one warning, and never ends training."""
        try:
            yield
        except Exception as error:
            _LOG.debug("%s", self._whose, exc_info=error)
            self._complain(f"tuimon.{self._whose} does not watch this training, which goes on: {error}"[:300])

    def _complain(self, text: str) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=5)
        except RuntimeWarning:  # where warnings are errors, this one would end training
            _LOG.warning("%s", text)
