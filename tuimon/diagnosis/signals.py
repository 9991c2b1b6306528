"""What all rules look at: the row of the moment and the statistics derived from it, computed once for all. A pure fold.

One object lives as long as the judgement of a run. `row` moves it to the next step; rules read its attributes and
change none of them, except through `hold` and `release`, which keep a bad stretch out of the baselines.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tuimon.diagnosis.model import RunContext, Usual
from tuimon.diagnosis.statistics import READY, Baseline, Blocks, Cusum, Ewma
from tuimon.record.chunk import Bools, Floats, Mark, Vectors

WATCHED: Final = (
    "loss",
    "grad_norm",
    "update_ratio",
    "lr",
    "param_norm",
    "update_norm",
    "loss_scale",
    "skipped",
    "step_time",
)
"""Columns that are unrolled for the rules."""
LOG2: Final = math.log(2.0)
LOG4: Final = math.log(4.0)
EARLY: Final = 100
"""Rows after a start that the early rules were measured on."""
LEARNABLE: Final = 1e100
"""Beyond this a value is an overflow in the making and teaches a baseline nothing."""
HOLD: Final = 256
"""Rows for which an open critical incident keeps the baselines as they were."""
NEAR: Final = 3
"""Rows within which two channels count as agreeing."""
LONG_AGO: Final = -(1 << 40)


@dataclass(frozen=True, slots=True)
class Profile:
    """One row of per-layer gradient sizes."""

    step: int
    rms: Floats
    """(L,) gradient RMS per layer, in model order; NaN where no tensor of the layer had a gradient."""


class Layers:
    """The grouping of a run's tensors into layers, and what their gradients have been lately."""

    def __init__(self, context: RunContext) -> None:
        self.names: tuple[str, ...] = tuple(context.layers)
        self._order = np.array([i for where in context.layers.values() for i in where], np.int64)
        lengths = [len(where) for where in context.layers.values()]
        self._starts = (
            np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64) if lengths else np.zeros(0, np.int64)
        )
        sizes = np.array(context.tensor_sizes or [1] * (int(self._order.max(initial=-1)) + 1), np.float64)
        self._known = len(self._order) > 0 and min(lengths) > 0 and int(self._order.max()) < len(sizes)
        self._sizes = sizes[self._order] if self._known else np.zeros(0)
        self.recent: deque[Profile] = deque(maxlen=32)

    def profile(self, step: int, grad: Vectors, seen: Bools) -> Profile | None:
        """Gradient RMS per layer from L2 norms per tensor; None where the tensors are not those of the context."""
        if not self._known or len(grad) <= int(self._order.max()):
            return None
        have = seen[self._order]
        with np.errstate(all="ignore"):
            squares = np.where(have, grad[self._order].astype(np.float64) ** 2, 0.0)
            total = np.add.reduceat(squares, self._starts)
            count = np.add.reduceat(have * self._sizes, self._starts)
            rms = np.where(count > 0, np.sqrt(total / count), np.nan)
        found = Profile(step, rms)
        self.recent.append(found)
        return found

    def worst(self, onset: int) -> str | None:
        """The layer whose gradient has grown most against its own usual before `onset`; None where unknown."""
        if not self.recent or self.recent[-1].step < onset:
            return None
        now = self.recent[-1].rms
        bad = np.flatnonzero(np.isinf(now))
        if len(bad):
            return self.names[int(bad[-1])]
        before = [p.rms for p in self.recent if p.step < onset][-16:]
        with np.errstate(all="ignore"):
            grown = now / np.median(np.stack(before), 0) if before else now
        grown = np.where(np.isfinite(grown), grown, -np.inf)
        return self.names[int(np.argmax(grown))] if np.isfinite(grown.max(initial=-np.inf)) else None


class Rates:
    """The learning rate lately: whether it has jumped, is warming up or has decayed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self._recent: deque[tuple[int, float]] = deque(maxlen=128)
        self.peak = 0.0

    def add(self, step: int, value: float) -> None:
        """Take in the learning rate of one step."""
        self._recent.append((step, value))
        if math.isfinite(value):
            self.peak = max(self.peak, value)

    @property
    def warming(self) -> bool:
        """Whether it is higher than ten rows ago."""
        recent = self._recent
        return len(recent) > 1 and recent[-1][1] > 1.001 * recent[-min(10, len(recent))][1]

    @property
    def decayed(self) -> bool:
        """Whether it has fallen below 30 % of its peak."""
        return bool(self._recent) and self._recent[-1][1] < 0.3 * self.peak

    def growth(self) -> tuple[float, int, float]:
        """How many times it has grown from its low of the last 128 rows, the first step above that low, and the low."""
        values = [pair for pair in self._recent if math.isfinite(pair[1]) and pair[1] > 0]
        if len(values) < 2:
            return 1.0, 0, math.nan
        low = min(value for _, value in values)
        last_low = max(i for i, (_, value) in enumerate(values) if value <= 1.001 * low)
        after = values[last_low + 1 :]
        if not after:
            return 1.0, 0, low
        return max(value for _, value in after) / low, after[0][0], low


class Signals:
    """The row of the moment and what it means against the run so far. `None`: not measured, or no baseline yet."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.layers = Layers(context)
        self.rates = Rates()
        self.seen: set[str] = set()
        """Columns that have been measured at least once."""
        self.tensor_rows = 0
        self.attempt_rows = 0
        """Rows since the run started or was resumed."""
        self.step = 0
        self.values: Mapping[str, float] = {}
        """The measured columns of this row."""
        self.skipped = False
        """Whether a GradScaler skipped this step: its gradient says something about the scale, nothing about training."""
        self.loss_base = Baseline(detrend=True)
        self.grad_base = Baseline(clip=LOG4)
        """Of log grad_norm."""
        self.others = {"update_ratio": Baseline(), "step_time": Baseline()}
        self.loss_cusum = Cusum()
        self.grad_ewma = Ewma(0.2, 0.0)
        self.ratio_ewma = Ewma(0.1)
        """Of log10 update_ratio: about twenty samples of memory."""
        self.blocks = Blocks()
        self._holders: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self.attempt_rows = 0
        self.loss_rows = 0
        self.first_losses: list[float] = []
        self.loss_start: float | None = None
        """Median of the first three finite losses."""
        self.lowest = math.inf
        """Lowest finite loss so far, and its step."""
        self.lowest_step = 0
        self.loss_rise = (math.nan, math.nan)
        """Median and scale of the loss when its CUSUM last left zero: the reference of a spike."""
        self.update_samples = 0
        self.block_full = False
        self._quiet()
        self._held = 0

    def _quiet(self) -> None:
        """No deviation is under way."""
        self.loss: float | None = None
        self.grad: float | None = None
        self.ratio: float | None = None
        self.lr: float | None = None
        self.z: float | None = None
        self.z_spell = 0
        self.grad_times: float | None = None
        """grad_norm over its median."""
        self.grad_rose: int | None = None
        """First step of the stretch in which grad_norm has been above twice its median."""
        self.grad_climb = 0
        """Steps in a row that grad_norm has risen."""
        self._last_grad = math.nan
        self.loss_alarm_row = self.grad_alarm_row = self.update_alarm_row = LONG_AGO
        self.loss_cusum.clear()
        self.grad_ewma.clear()

    # ------------------------------------------------------------------ moving on

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Move to the next row. `values` holds what was measured, non-finite values included."""
        self.step, self.values = step, values
        self.attempt_rows += 1
        held = bool(self._holders) and self._held < HOLD
        self._held += 1
        self.lr = values.get("lr")
        if self.lr is not None:
            self.rates.add(step, self.lr)
        self._see_loss(step, values.get("loss"), held)
        self.skipped = values.get("skipped") == 1
        self._see_gradient(step, None if self.skipped else values.get("grad_norm"), held)
        self._see_update(step, values.get("update_ratio"), held)
        took = values.get("step_time")
        if took is not None and 0 <= took < LEARNABLE and not held:
            self.others["step_time"].learn(step, took)

    def tensors(self, step: int, grad: Vectors, seen: Bools) -> Profile | None:
        """Take in one row of per-tensor gradient norms."""
        self.tensor_rows += 1
        return self.layers.profile(step, grad, seen)

    def mark(self, mark: Mark) -> None:
        """A break in the run: an attempt starts anew, a rollback puts baselines back, an override changes nothing."""
        if mark.kind == "attempt":
            self.rollback(LONG_AGO)
        elif mark.kind == "rollback":
            self.rollback(whole(mark.fields.get("to_step"), mark.step))

    def rollback(self, to_step: int) -> None:
        """Be as if `to_step` had been the last row; where that is out of memory, start anew."""
        self._holders.clear()
        for base in (self.loss_base, self.grad_base, *self.others.values()):
            base.forget_after(to_step)
        self.ratio_ewma.clear()
        if self.loss_base.count == 0 and self.grad_base.count == 0:
            self.blocks.clear()
            self.rates.clear()
            self._clear()
        else:
            self.blocks.forget_after(to_step)
            self.update_samples = min(self.update_samples, 10)
            self._quiet()

    def hold(self, who: str, onset: int) -> None:
        """Take the values since `onset` out of the baselines, and keep them as they are until `release`."""
        if not self._holders:
            self._held = 0
        self._holders.add(who)
        for base in (self.loss_base, self.grad_base, *self.others.values()):
            base.forget_after(onset - 1)

    def release(self, who: str) -> None:
        """Let the baselines learn again."""
        self._holders.discard(who)

    def usual(self) -> dict[str, Usual]:
        """Where each metric usually is; only those that are known."""
        found = {"loss": self.loss_base.usual(), **{name: base.usual() for name, base in self.others.items()}}
        known = {name: usual for name, usual in found.items() if usual is not None}
        grad = self.grad_base.usual()
        if grad is not None:
            known["grad_norm"] = Usual(math.exp(grad.low), math.exp(grad.high), math.exp(grad.median))
        return known

    # ------------------------------------------------------------------ one channel each

    def _see_loss(self, step: int, loss: float | None, held: bool) -> None:
        self.loss, self.z, self.block_full = loss, None, False
        if loss is None:
            return
        self.loss_rows += 1
        finite = -LEARNABLE < loss < LEARNABLE
        base = self.loss_base
        if base.count >= READY:
            self.z = (loss - base.middle) / base.scale if finite or loss == -math.inf else math.inf
            if self.loss_cusum.add(step, self.z):
                self.loss_rise = (base.middle, base.scale)
            self.z_spell = self.z_spell + 1 if self.z > 3 else 0
            if self.loss_alarm:
                self.loss_alarm_row = self.attempt_rows
        if not finite:
            return
        if self.loss_start is None:
            self.first_losses.append(loss)
            if len(self.first_losses) == 3:
                self.loss_start = sorted(self.first_losses)[1]
        if loss < self.lowest:
            self.lowest, self.lowest_step = loss, step
        self.block_full = self.blocks.add(step, loss)
        if not held:
            base.learn(step, loss)

    @property
    def loss_alarm(self) -> bool:
        """Whether the loss is significantly above its baseline: CUSUM over 8, or three in a row beyond 3 sigma."""
        return self.loss_cusum.value > self.loss_cusum.limit or self.z_spell >= 3

    def _see_gradient(self, step: int, grad: float | None, held: bool) -> None:
        self.grad, self.grad_times = grad, None
        if grad is None or math.isnan(grad):
            return
        self.grad_climb = self.grad_climb + 1 if grad > self._last_grad else 0
        self._last_grad = grad
        base = self.grad_base
        log = math.log(grad) if 0 < grad < LEARNABLE else math.inf if grad > 0 else -math.inf
        if base.count >= READY:
            over = log - base.middle
            self.grad_times = math.exp(over) if over < 700 else math.inf
            self.grad_ewma.add(max(-LOG4, min(over, LOG4)))
            if over <= LOG2:
                self.grad_rose = None
            elif self.grad_rose is None:
                self.grad_rose = step
            if self.grad_times > 5 or self.grad_ewma.value > LOG2:
                self.grad_alarm_row = self.attempt_rows
        if math.isfinite(log) and not held:
            base.learn(step, log)

    def _see_update(self, step: int, ratio: float | None, held: bool) -> None:
        self.ratio = ratio
        if ratio is None or not 0 <= ratio < LEARNABLE:
            return
        self.update_samples += 1
        if not held:
            self.others["update_ratio"].learn(step, ratio)
        if self.update_samples > 10:  # the first Adam steps have |update| = lr whatever the gradient is
            self.ratio_ewma.add(math.log10(max(ratio, 1e-30)))
            if ratio > 2e-2:
                self.update_alarm_row = self.attempt_rows


def whole(value: Any, otherwise: int) -> int:
    """An integer out of a mark's field; `otherwise` for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
