"""What can be said of a loss curve: frozen values, each with its unit and with what "cannot tell yet" looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tuimon.record.chunk import Floats

Form = Literal["exponential", "power"]
BELOW, ABOVE = 1.5, 0.8
"""How far the 80 % band reaches below and above the middle, in scales. Runs end below what they promised more often
than above: learning rates decay."""
Direction = Literal["up", "down"]
Kind = Literal["jump", "knee"]


@dataclass(frozen=True, slots=True)
class Interval:
    """From low to high, both included; an open end is infinite."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Trend:
    """Where the loss is going now: a straight line through its recent stretch."""

    first: float
    """Step at which the stretch begins."""
    last: float
    level: float
    """The line's value at `last`."""
    slope: float
    """Nats per 100 steps; negative is falling."""
    interval: Interval
    """95 % interval of `slope`."""
    relative: float
    """`slope` over the size of the level, per 100 steps; NaN where the level is not clearly off zero."""

    @property
    def word(self) -> Literal["falling", "rising", "unclear"]:
        """The direction, where the interval excludes zero."""
        return "falling" if self.interval.high < 0 else "rising" if self.interval.low > 0 else "unclear"


@dataclass(frozen=True, slots=True)
class Fit:
    """A law of descent through a stretch of the curve: floor + amplitude * shape((step - origin), constant)."""

    form: Form
    """exponential: a + b exp(-t/tau). power: a + b (t + c)^-alpha."""
    constant: float
    """tau in steps, or alpha."""
    interval: Interval
    """95 % interval of the constant by profile likelihood; its ends are infinite (or the edge of what is
    searched, for alpha) where the curve does not bound it."""
    floor: float
    """a: where it tends to, in nats. An extrapolation: as uncertain as the constant."""
    amplitude: float
    """b, in nats for the exponential."""
    offset: float
    """c in steps; 0 for the exponential."""
    origin: float
    """Step at which t is 0: the first of the stretch."""
    misfit: float
    """Root mean square, in nats, by which the law misses the curve beyond what noise explains."""

    def at(self, steps: Floats) -> Floats:
        """The law's value at each step."""
        t = np.maximum(np.asarray(steps, np.float64) - self.origin, 0.0)
        if self.form == "exponential":
            return self.floor + self.amplitude * np.exp(-t / self.constant)
        return self.floor + self.amplitude * (t + self.offset) ** -self.constant


@dataclass(frozen=True, slots=True)
class Laws:
    """Both laws, and which describes the curve."""

    exponential: Fit | None
    """None where it cannot be fitted: too few points, or the loss does not fall."""
    power: Fit | None
    better: Form | Literal["either", "line", "neither"] | None
    """"either": the data do not tell the two apart. "line": a straight line serves as well. "neither": both miss the
    curve, or it does not fall. None: cannot tell yet."""
    why: str
    """The reason in a few words."""

    @property
    def chosen(self) -> Fit | None:
        """The law to draw and to speak of: the better one; of equals the power law, as losses of language models go."""
        if self.better == "exponential":
            return self.exponential
        return self.power if self.better in {"power", "either"} else None


@dataclass(frozen=True, slots=True)
class Oscillation:
    """A regular swing, found in two windows in a row."""

    period: float
    """In steps."""
    amplitude: float
    """Standard deviation of the swing, in nats."""
    share: float
    """Its standard deviation over that of the whole residual, 0 to 1."""
    first: float
    """Step at which the first of the windows begins."""
    last: float
    p_value: float
    """The larger of the two windows'."""
    matters: bool
    """At least 30 % of the residual, and growing or at least 1 % of the loss; otherwise worth knowing, no more."""


@dataclass(frozen=True, slots=True)
class Change:
    """A point at which the curve goes on differently: a jump of its level, or a bend downwards."""

    kind: Kind
    """knee: from here on it falls faster, as when the learning rate starts to decay."""
    step: float
    size: float
    """jump: nats by which the level moved. knee: by which the slope changed, in nats per 100 steps."""
    z: float
    """How many standard errors that is."""
    before: float
    """The level just before, in nats."""

    @property
    def direction(self) -> Direction:
        """Which way the level or the slope moved."""
        return "up" if self.size > 0 else "down"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The curve carried on: a straight line against the logarithm of the step, drawn towards the law that fits."""

    origin: float
    """Step from which the logarithm counts: one spacing before the stretch began."""
    last: float
    spacing: float
    level: float
    """The line's value at `last`, in nats."""
    slope: float
    """Nats per e-fold of the step; never above 0."""
    middle: float
    """Mean logarithm over the stretch the line was drawn through."""
    error: float
    """Standard deviation around the line, in nats."""
    spread: float
    """Sum of squared distances of the logarithms from `middle`."""
    points: int
    noise: float
    law: Fit | None
    trusted: bool
    """Whether the law follows the curve to within its noise; then it counts for half."""
    positive: bool
    """Whether no loss was ever below zero: then none is foretold, nor a descent faster than 1 / step."""

    def at(self, steps: Any) -> tuple[Floats, Floats, Floats]:
        """Low, middle and high of the level (mean of the last 2 %) that a run of that length ends at; 80 %.

        Measured on the labelled curves; see `forecast` for how, and for what the two factors are.
        """
        x = np.maximum(np.asarray(steps, np.float64), self.last)
        logs = np.log(x - self.origin)
        ahead = self.slope * (logs - math.log(self.last - self.origin))
        if self.positive:
            ahead = np.maximum(ahead, -max(self.level, 0.0) * (1 - (self.last - self.origin) / (x - self.origin)))
        line = self.level + ahead
        law = line if self.law is None else self.law.at(x)
        averaged = np.maximum(3.0, 0.02 * (x - self.origin) / self.spacing)
        variance = (
            ahead**2 + self.error**2 * (1 / self.points + (logs - self.middle) ** 2 / self.spread + 1 / averaged)
            + (0.2 * self.noise) ** 2 + (line - law) ** 2 / 4
        )
        scale = np.sqrt(variance)
        middle = (line + law) / 2 if self.trusted else line
        low = middle - BELOW * scale
        return np.maximum(low, 0.0) if self.positive else low, middle, middle + ABOVE * scale


@dataclass(frozen=True, slots=True)
class Forecast:
    """The loss at the end of the run, as the mean of its last 2 %."""

    step: float
    """Where the run ends."""
    middle: float
    interval: Interval
    """80 % of back-tested runs ended inside."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Steps from the last one until the level is at a given loss; infinite where it never gets there."""

    loss: float
    middle: float
    soonest: float
    latest: float


@dataclass(frozen=True, slots=True)
class Plateau:
    """Whether it has stopped improving, by an equivalence test: flat only if the data exclude a relevant descent."""

    state: Literal["flat", "improving", "worsening", "undecided"]
    steps: float
    """Length of the stretch that was looked at."""
    bound: float
    """Upper 99 % bound of the relative improvement over it; flat where below 0.5 %."""
    steps_needed: float
    """Further steps until the noise allows a decision; 0 where there are enough."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How the evaluations go."""

    count: int
    best: float
    best_step: float
    last: float
    turned: bool
    """Three evaluations in a row above the best by three standard errors while training went on falling."""


@dataclass(frozen=True, slots=True)
class CurveReading:
    """Everything said of one curve. None: cannot tell yet, and `waiting` says what it needs."""

    points: int
    """Finite losses, after rows of the same step were averaged."""
    not_finite: int
    """Losses that were NaN or infinite."""
    first_not_finite: float | None
    """Step of the first of them."""
    ends_finite: bool
    """Whether the last loss is a number."""
    first: float
    """First and last step with a finite loss; NaN where there is none."""
    last: float
    spacing: float
    """Median distance of two points, in steps."""
    level: float
    """Loss by now, noise averaged out: median of the last points; NaN where there is none."""
    latest: float
    """The last finite loss as it was logged."""
    drop: float
    """From the start (the first loss, or the median of the first three if that is higher) to `level`, in nats; positive
    is progress."""
    improved: bool
    """Whether the last tenth lies clearly below the start or below the first tenth: by more than noise explains, and
    by more than 1 % of the level."""
    blown_up: bool
    """Whether the last two losses lie above twice the lowest one and above 1.5 times the start: early divergence, which
    no healthy run of 349 showed."""
    outliers: int
    """Single points further than six noise levels off their neighbours."""
    noise: float | None
    """Robust standard deviation around the trend, lately, in nats: one step's batch noise."""
    trend: Trend | None
    laws: Laws
    oscillation: Oscillation | None
    changes: tuple[Change, ...]
    """In the order of steps."""
    outlook: Outlook | None
    forecast: Forecast | None
    plateau: Plateau | None
    validation: Validation | None
    waiting: tuple[str, ...]
    """What cannot be told yet, and what it needs: one short sentence each."""
    verdict: str
    """One line."""
    mood: Literal["good", "watch", "bad", "unknown"]
    """The verdict's colour."""
