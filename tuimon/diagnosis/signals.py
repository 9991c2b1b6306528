"""What all rules look at: the row of the moment and the statistics derived from it, computed once for all. A pure fold.

One object lives as long as the judgement of a run. `row` moves it to the next step; rules read its attributes and
change none of them, except through `hold` and `release`, which keep a bad stretch out of the baselines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tuimon.diagnosis.layers import Layers, Profile
from tuimon.diagnosis.model import RunContext, Usual
from tuimon.diagnosis.rates import Rates
from tuimon.diagnosis.statistics import READY, Baseline, Blocks, Cusum, Ewma
from tuimon.record.chunk import Bools, Mark, Vectors

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
        """Whether a GradScaler skipped this step: its gradient tells of the scale, not of training."""
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
