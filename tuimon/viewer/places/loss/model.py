"""What is asked of the loss analysis and what it shows: frozen values. Arrays and readings stand behind `revision`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuimon.diagnosis.curve.patterns import Pattern
    from tuimon.diagnosis.curve.report import Judged
    from tuimon.record.history import Thin


@dataclass(frozen=True, slots=True)
class Ask:
    """What one person wants to know."""

    target: float | None = None
    """A loss: when will it be reached."""


@dataclass(frozen=True, slots=True)
class LossView:
    """All that the place shows."""

    revision: int = 0
    """Grows with everything that is not compared."""
    as_of: int = 0
    """Step to which the reading goes; 0: nothing was read yet."""
    step: int = 0
    """Newest step with a loss."""
    first: float = 0.0
    """The steps of the window."""
    last: float = 1.0
    is_whole: bool = True
    """Whether that is the whole run: then the forecast is drawn to its end."""
    log: bool = False
    """Whether the losses span too many decades for a linear axis."""
    current: str = ""
    """The newest loss."""
    target: float | None = None
    awaited: str = ""
    """What an empty screen waits for."""
    judged: Judged | None = field(default=None, compare=False, repr=False)
    """Both readings; None before the first."""
    pattern: Pattern | None = field(default=None, compare=False, repr=False)
    loss: Thin | None = field(default=None, compare=False, repr=False)
    """Over the window."""
    validation: Thin | None = field(default=None, compare=False, repr=False)

    @property
    def end(self) -> float | None:
        """Step to which the forecast goes; None where there is none."""
        forecast = None if self.judged is None else self.judged.reading.forecast
        return None if forecast is None else forecast.step
