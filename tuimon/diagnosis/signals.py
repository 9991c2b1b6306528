"""What all rules look at: the row of the moment and the statistics derived from it, computed once for all. A pure fold.

One object lives as long as the judgement of a run. `row` moves it to the next step; rules read its attributes and
change none of them, except through `hold` and `release`, which keep a bad stretch out of the baselines.
"""

from __future__ import annotations

import math
from collections import deque

from tuimon.diagnosis.activations import Activations
from tuimon.diagnosis.baseline import Baseline
from tuimon.diagnosis.layers import Layers, Profile, Profiles
from tuimon.diagnosis.limits import (
    DIP,
    EARLY,
    FEW_CHANGED,
    FIRST_ADAM,
    HIGH_UPDATE,
    HOLD,
    LOG2,
    LOG4,
    LOG5,
    LOG_HIGH_UPDATE,
    LONG_AGO,
    OUTLYING,
    SMOOTHED,
)
from tuimon.diagnosis.model import RunContext, Usual
from tuimon.diagnosis.pace import Pace
from tuimon.diagnosis.rates import Rates
from tuimon.diagnosis.rows import (
    BLOCK,
    CHANGED,
    EARLY_ROW,
    LEARNABLE,
    LR,
    PACE,
    SCALE,
    STEEP,
    STIR,
    UPDATE,
    VALIDATION,
    WINDOW_FULL,
    Rows,
)
from tuimon.diagnosis.statistics import READY, WINDOW, Blocks, Cusum, Ewma
from tuimon.diagnosis.turns import Turns
from tuimon.record.chunk import Chunk, Mark


class Signals:
    """The row of the moment and what it means against the run so far. `None`: not measured, or no baseline yet."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.layers, self.activations = Layers(context), Activations(context.probes)
        self.rates, self.pace, self.turns = Rates(), Pace(), Turns()
        self.seen: set[str] = set()
        """Columns that have been measured at least once."""
        self.tensor_rows = 0
        self.attempt_rows = 0
        """Rows since the run started or was resumed."""
        self.step = 0
        self.is_resumed = False
        """Whether this is no first attempt."""
        self.disturbances = 0
        """How often baselines were kept from learning or put back: what was foreseen before is void."""
        self.rows = Rows(Chunk.empty())
        self.profiles: Profiles | None = None
        self._at = 0
        self.skipped = False
        """Whether a GradScaler skipped this step: its gradient tells of the scale, not of training."""
        self.loss_base = Baseline(detrend=True)
        self.grad_base = Baseline(clip=LOG4, of=math.exp)
        """Of log grad_norm."""
        self.others = {"update_ratio": Baseline(), "step_time": Baseline()}
        self.bases = {"loss": self.loss_base, "grad_norm": self.grad_base, **self.others}
        self.loss_cusum, self.grad_ewma = Cusum(), Ewma(0.2, 0.0)
        self.loss_drift = Cusum(slack=0.5, limit=15.0)
        """The slow sister of `loss_cusum`: a shift of one sigma within about 27 rows."""
        self.ratio_ewma = Ewma(0.1)
        """Of log10 update_ratio: about twenty samples of memory."""
        self.blocks = Blocks()
        self.validations: deque[tuple[int, float]] = deque(maxlen=1024)
        """Step and value of each validation, the newest last."""
        self._holders: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self.attempt_rows = 0
        self.turns.clear()
        self.loss_rows = 0
        self.first_losses: list[float] = []
        self.loss_start: float | None = None
        """Median of the first three finite losses."""
        self.lowest = math.inf
        """Lowest finite loss so far, and its step."""
        self.lowest_step = 0
        self.loss_rise = (math.nan, math.nan)
        """Median and scale of the loss when its CUSUM last left zero: the reference of a spike."""
        self.block_full = False
        self.validations.clear()
        self.activations.clear()
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
        self.last_grad = math.nan
        self.last_lr: float | None = None
        self.last_scale: float | None = None
        self.was_strange = self.loss_stirs = self.grad_stirs = False
        """Whether the row before, the value before was out of the ordinary."""
        self.update_stirs = 0
        """Update ratios more that are of interest because one was high."""
        self.few_changed = False
        """Whether the last step that was measured changed but few of the weights."""
        self.filling: list[float] = []
        self.window: tuple[float, ...] = ()
        """The last 128 finite losses, when they are just complete (WINDOW_FULL)."""
        self.loss_alarm_row = self.grad_alarm_row = self.update_alarm_row = self.turned_row = LONG_AGO
        self.loss_leapt = 0  # the step at which the loss began to rise, when it was last in alarm
        for cusum in (self.loss_cusum, self.loss_drift):
            cusum.clear()
        self.grad_ewma.clear()

    def load(self, chunk: Chunk) -> None:
        """Have the columns of a stretch at hand, for `row` to walk through."""
        self.seen |= {name for name, there in chunk.present.items() if name not in self.seen and there.any()}
        self.rows = Rows(chunk)
        self.profiles = self.layers.profiles(chunk.tensors) if len(chunk.tensors) else None

    def value(self, name: str) -> float | None:
        """What was measured under this name in this row; one of WATCHED."""
        return self.rows.column(name)[self._at]

    def row(self, at: int, step: int) -> int:
        """Move to a row of the stretch that is loaded; why it may matter, as bits."""
        self.step, self._at = step, at
        self.attempt_rows += 1
        held = bool(self._holders) and self._held < HOLD
        self._held += 1
        rows = self.rows
        wakes = rows.wakes[at]
        lr = self.lr = rows.lr[at]
        tokens = rows.tokens[at]
        if rows.turns[at] or (tokens is not None and self.turns.is_new):
            self._turn(lr, tokens)
        if lr is not None:
            self.rates.add(step, lr)
            if lr != self.last_lr:
                wakes |= self._lr_moves(lr)
        scale = rows.scale[at]
        if scale != self.last_scale and scale is not None:
            self.last_scale, wakes = scale, wakes | SCALE
        strange = rows.strange[at]
        if strange or self.was_strange:
            wakes |= STIR
            self.was_strange = strange
        self.skipped = strange and self.value("skipped") == 1
        loss = self.loss = rows.loss[at]
        self.z, self.block_full = None, False
        self.window = ()
        if loss is not None:
            wakes |= self._see_loss(step, loss, held)
        grad = self.grad = None if self.skipped else rows.grad[at]
        self.grad_times = None
        if grad is not None:
            wakes |= self._see_gradient(step, grad, held)
        ratio = self.ratio = None if self.skipped else rows.ratio[at]
        if ratio is not None:
            wakes |= self._see_update(step, ratio, held)
        validation = rows.validation[at]
        if validation is not None:
            wakes |= VALIDATION
            self.validations.append((step, validation))
        changed = rows.changed[at]
        if changed is not None:
            few = not FEW_CHANGED <= changed <= 1
            if few or self.few_changed:
                wakes |= CHANGED
                self.few_changed = few or self.stands_still
        took = rows.took[at]
        if took is not None and 0 <= took < LEARNABLE and not held:
            self.others["step_time"].learn(step, took)
        return wakes | PACE if self.pace.take((step, took, rows.waited[at], tokens, rows.speed[at])) else wakes

    def pass_over(self, count: int, at: int, step: int) -> None:
        """Be at a row of the stretch that lies so many further, all of them calm; what was measured is `outlook`'s."""
        self.step, self._at = step, at
        self.attempt_rows += count
        self._held += count
        self.skipped = self.was_strange = self.block_full = False
        self.loss = self.grad = self.ratio = self.lr = self.z = self.grad_times = None
        self.window = ()

    def profile(self, i: int) -> Profile | None:
        """Move to one of the per-tensor rows of the stretch that is loaded; None where they are not this run's."""
        self.tensor_rows += 1
        if self.profiles is None:
            return None
        found = self.profiles.row(i)
        self.layers.recent.append(found)
        return found

    def pass_profiles(self, i: int, j: int) -> None:
        """Have seen the per-tensor rows i to j, j left out, at which nobody looks."""
        self.tensor_rows += j - i
        if self.profiles is not None:
            self.layers.pass_over(self.profiles, i, j)

    def mark(self, mark: Mark) -> None:
        """A break in the run: an attempt starts anew, a rollback puts baselines back, an override leaves them alone."""
        if mark.kind == "attempt":
            self.is_resumed = self.step > 0
            self.rollback(LONG_AGO)
        elif mark.kind == "override":
            self.turns.overridden(self.attempt_rows)
        elif mark.kind == "rollback":
            self.rollback(mark.whole("to_step", mark.step))

    def rollback(self, to_step: int) -> None:
        """Be as if `to_step` had been the last row; where that is out of memory, start anew."""
        self._holders.clear()
        self.disturbances += 1
        self.pace.clear()
        for base in self.bases.values():
            base.forget_after(to_step)
            base.note(self.step)
        self.ratio_ewma.clear()
        if self.loss_base.count == 0 and self.grad_base.count == 0:
            self.blocks.clear()
            self.rates.clear()
            self._clear()
        else:
            self.blocks.forget_after(to_step)
            self.activations.rollback(to_step)
            self._quiet()

    def hold(self, who: str, onset: int) -> None:
        """Take the values since `onset` out of the baselines, and keep them as they are until `release`."""
        self.disturbances += 1
        if not self._holders:
            self._held = 0
        self._holders.add(who)
        for base in self.bases.values():
            base.forget_after(onset - 1)
            base.note(self.step)

    @property
    def stands_still(self) -> bool:
        """Whether this step changed no weights by intention: it was skipped, or its learning rate is zero."""
        return self.skipped or self.lr == 0

    @property
    def is_held(self) -> bool:
        """Whether somebody keeps the baselines from learning."""
        return bool(self._holders)

    def release(self, who: str) -> None:
        """Let the baselines learn again."""
        self._holders.discard(who)

    def usual(self) -> dict[str, Usual]:
        """Where each metric usually is; only those that are known."""
        return {name: usual for name, base in self.bases.items() if (usual := base.usual()) is not None}

    def _turn(self, lr: float | None, tokens: float | None) -> None:
        """What is usual of the loss, after another size of the steps also of gradients, is learned anew."""
        row, last = self.attempt_rows, self.last_lr
        resized = tokens is not None and self.turns.of_size(row, tokens)
        turned = lr is not None and last is not None and self.turns.of_rate(row, last, lr, self.rates.peak)
        if self._holders or not (resized or turned):
            return
        self.turned_row, self.z_spell = row, 0
        self.disturbances += 1
        self.loss_base.clear()
        self.loss_base.note(self.step)
        self.loss_cusum.clear()
        self.loss_drift.clear()
        if resized:
            self.grad_base.clear()
            self.grad_base.note(self.step)
            self.grad_ewma.clear()
            self.grad_rose = None

    def _lr_moves(self, lr: float) -> int:
        last, self.last_lr = self.last_lr, lr
        if not lr > 0 or not math.isfinite(lr):
            return LR
        return LR if last is not None and not 0.8 * last <= lr <= 1.2 * last else 0

    def _see_loss(self, step: int, loss: float, held: bool) -> int:
        self.loss_rows += 1
        wakes = EARLY_ROW if self.loss_rows <= EARLY else 0
        finite = -LEARNABLE < loss < LEARNABLE
        base, stirs = self.loss_base, False
        if base.count >= READY:
            z = self.z = (loss - base.middle) / base.scale if finite or loss == -math.inf else math.inf
            if self.loss_cusum.add(step, z):
                self.loss_rise = (base.middle, base.scale)
            self.loss_drift.add(step, z)
            self.z_spell = self.z_spell + 1 if z > 3 else 0
            if self.loss_alarm:
                self.loss_alarm_row, self.loss_leapt = self.attempt_rows, self.loss_cusum.rose or step
            stirs = not -3 < z < 2.5 or self.loss_cusum.alarm or self.loss_drift.alarm
        if stirs or self.loss_stirs:
            wakes |= STIR
            self.loss_stirs = stirs
        if not finite:
            return wakes
        if self.loss_start is None:
            self.first_losses.append(loss)
            if len(self.first_losses) == 3:
                self.loss_start = sorted(self.first_losses)[1]
        if loss < self.lowest:
            self.lowest, self.lowest_step = loss, step
        if self.blocks.add(step, loss):
            self.block_full = True
            wakes |= BLOCK
        self.filling.append(loss)
        if len(self.filling) == WINDOW:
            self.window, self.filling = tuple(self.filling), []
            wakes |= WINDOW_FULL
        if not held:
            base.learn(step, loss)
        return wakes

    @property
    def signed(self) -> bool:
        """Whether the loss has been negative: no likelihood of classes, but a return, an advantage, a density.

        Such a loss may move as it likes in good health.
        """
        return self.lowest < 0

    def grad_limit(self, times: float, sigmas: float) -> float:
        """Times its usual that the gradient norm must reach: so many, or so many standard deviations of its noise."""
        return max(times, math.exp(min(sigmas * self.grad_base.scale, 50.0)))

    @property
    def loss_alarm(self) -> bool:
        """Whether the loss is significantly above its baseline: CUSUM over 8, or three in a row beyond 3 sigma."""
        return self.loss_cusum.value > self.loss_cusum.limit or self.z_spell >= 3

    def _see_gradient(self, step: int, grad: float, held: bool) -> int:
        if math.isnan(grad):
            return 0
        self.grad_climb = self.grad_climb + 1 if grad > self.last_grad else 0
        self.last_grad = grad
        base, stirs, wakes = self.grad_base, False, 0
        log = math.log(grad) if 0 < grad < LEARNABLE else math.inf if grad > 0 else -math.inf
        if base.count >= READY:
            over = log - base.middle
            self.grad_times = math.exp(over) if over < 700 else math.inf
            smooth = self.grad_ewma.add(max(-LOG4, min(over, LOG4)))
            if over <= LOG2:
                self.grad_rose = None
            else:
                stirs = True
                if self.grad_rose is None:
                    self.grad_rose = step
            if over > max(LOG5, OUTLYING * base.scale) or smooth > max(LOG2, OUTLYING * SMOOTHED * base.scale):
                self.grad_alarm_row = self.attempt_rows
            stirs = stirs or smooth > LOG2
        if stirs or self.grad_stirs:
            wakes = STIR
            self.grad_stirs = stirs
        if math.isfinite(log) and not held:
            base.learn(step, log)
        return wakes

    def _see_update(self, step: int, ratio: float, held: bool) -> int:
        stirs = not ratio <= HIGH_UPDATE
        if 0 <= ratio < LEARNABLE:
            if not held:
                self.others["update_ratio"].learn(step, ratio)
            if self.attempt_rows > FIRST_ADAM:
                stirs = self.ratio_ewma.add(math.log10(max(ratio, 1e-30))) > LOG_HIGH_UPDATE or stirs
                if ratio > HIGH_UPDATE:
                    self.update_alarm_row = self.attempt_rows
        wakes = UPDATE | STEEP if stirs or self.update_stirs else UPDATE
        self.update_stirs = DIP if stirs else max(0, self.update_stirs - 1)
        return wakes
