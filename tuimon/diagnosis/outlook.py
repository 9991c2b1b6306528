"""What the rows ahead will show if no rule steps in, column by column; and passing over those at which nobody looks.

Law: passing rows over leaves `Signals` exactly as taking them one by one would. So a row at which anything is out of
the ordinary, begins, ends or is full is `single`: it is never passed over. [A calm row costs a tenth of one that is
taken by itself; most rows of most runs are calm.] Pure but for the signals that it moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from tuimon.diagnosis.baseline import KEPT, SETTLED, Baseline
from tuimon.diagnosis.limits import DIP, EARLY, FEW_CHANGED, HIGH_UPDATE, LOG2, LOG4, LOG_HIGH_UPDATE
from tuimon.diagnosis.pace import SIZE as STRETCH
from tuimon.diagnosis.pace import is_timed
from tuimon.diagnosis.rows import RARE, UPDATE
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import WINDOW, Blocks
from tuimon.record.chunk import Bools, Chunk, Floats, Ints

SPAN: Final = KEPT
"""Rows that are foreseen at once: what a rule's stepping in makes void is soon made up for."""
SHORTEST: Final = 48
"""Rows for which it is worth while."""
_SINGLE: Final = ("val_loss", *RARE)
"""Columns whose values are taken singly."""


class Measured:
    """The values of one column in the rows ahead."""

    def __init__(self, chunk: Chunk, name: str, first: int, last: int) -> None:
        there = chunk.present[name][first:last]
        self.at: Ints = np.flatnonzero(there)
        """Rows, counted from `first`, in which it was measured."""
        self.values: Floats = chunk.columns[name][first:last][self.at]
        self.steps: Ints = chunk.steps[first:last][self.at]
        n, self._first = last - first, first
        self._before: Sequence[int] = range(n + 1) if len(self.at) == n else [0, *np.cumsum(there).tolist()]

    @cached_property
    def plain(self) -> list[float]:
        """The values as plain numbers."""
        found: list[float] = self.values.tolist()
        return found

    @cached_property
    def step_list(self) -> list[int]:
        """Their steps."""
        found: list[int] = self.steps.tolist()
        return found

    def within(self, at: int, upto: int) -> tuple[int, int]:
        """Which of the values stand in the rows from `at` to `upto`, the last left out."""
        return self._before[at - self._first], self._before[upto - self._first]

    def is_in(self, row: int) -> bool:
        """Whether it was measured in this row."""
        return bool(self._before[row + 1 - self._first] > self._before[row - self._first])


class Course(Protocol):
    """What one column will have done to the signals."""

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Be past the rows from `at` to `upto`, the last left out; none of them is single."""


class Outlook:
    """Rows `first` to `last` of a chunk, the last left out, as they will be if the baselines go on learning."""

    def __init__(self, now: Signals, first: int, last: int) -> None:
        chunk = now.rows.chunk
        self.first, self.last = first, last
        self.disturbances = now.disturbances
        self.attempt_rows = now.attempt_rows
        """Rows of this attempt before the first of these."""
        self.steps: list[int] = chunk.steps[first:last].tolist()
        self.single: Bools = np.zeros(last - first, np.bool_)
        """(n,) whether a row has to be taken by itself."""
        self.single[now.rows.turns[first:last]] = True
        self.single[0] |= now.was_strange
        self._chunk = chunk
        self._measured: dict[str, Measured] = {}
        self._courses: list[Course] = []
        for name, course in _COURSES:
            found = self.measured(name)
            if found is None:
                continue
            if course.is_settled(now):
                self._courses.append(course(now, found, self.single))
            else:
                self.single[found.at] = True
        sizes = self.measured("tokens")
        if sizes is not None and now.turns.is_new:
            self.single[sizes.at[0]] = True
        self._courses.append(PaceCourse(now, self))
        for name in _SINGLE:
            self._mark(self.single, name)
        _mark_few(self.measured("changed"), now.few_changed, self.single)
        _mark_moves(self.measured("loss_scale"), now.last_scale, self.single)

    def __len__(self) -> int:
        return self.last - self.first

    def measured(self, name: str) -> Measured | None:
        """The values of a column in these rows; None where there is none."""
        if name not in self._measured and name in self._chunk.columns:
            self._measured[name] = Measured(self._chunk, name, self.first, self.last)
        found = self._measured.get(name)
        return found if found is not None and len(found.at) else None

    def singles(self, asked: int) -> Bools:
        """(n,) the rows that have to be taken by themselves where somebody asks for these bits."""
        found: Bools = self.single.copy()
        if asked & UPDATE:
            self._mark(found, "update_ratio")
        return found

    @property
    def mean_ratios(self) -> tuple[Ints, Floats] | None:
        """Rows (m,) in which update_ratio was measured, and its mean of lately (m,) then; None if not foreseen."""
        found = next((course for course in self._courses if isinstance(course, RatioCourse)), None)
        return None if found is None else (found.at, found.means)

    def _mark(self, rows: Bools, name: str) -> None:
        found = self.measured(name)
        if found is not None:
            rows[found.at] = True

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Move from row `at` to just before row `upto` of the chunk."""
        now.pass_over(upto - at, upto - 1, self.steps[upto - 1 - self.first])
        for course in self._courses:
            course.pass_over(now, at, upto)


def _mark_moves(column: Measured | None, last: float | None, single: Bools) -> None:
    """Mark where a value differs from the one before it."""
    if column is not None:
        before = np.concatenate(([math.nan if last is None else last], column.values[:-1]))
        single[column.at[column.values != before]] = True


def _mark_few(column: Measured | None, few: bool, single: Bools) -> None:
    """Mark where a step changed but few of the weights, or did when it was last measured."""
    if column is not None:
        stirs = ~((column.values >= FEW_CHANGED) & (column.values <= 1))
        single[column.at[_with_next(stirs, few)]] = True


def _with_next(stirs: Bools, more: int, reach: int = 1) -> Bools:
    """Where something stirs, or did so up to `reach` values before; the first `more` because of values before those."""
    found: Bools = stirs.copy()
    for behind in range(1, reach + 1):
        found[behind:] |= stirs[:-behind]
    found[:more] = True
    return found


def _can_foresee(base: Baseline) -> bool:
    return base.count >= SETTLED


class LrCourse:
    """The learning rate; what is no positive number ends the outlook."""

    def __init__(self, now: Signals, column: Measured, single: Bools) -> None:
        self._column = column
        values = column.values
        before = np.concatenate(([values[0] if now.last_lr is None else now.last_lr], values[:-1]))
        single[column.at[~((0.8 * before <= values) & (values <= 1.2 * before))]] = True

    @staticmethod
    def is_settled(now: Signals) -> bool:
        """From the first row on."""
        del now
        return True

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Remember the rates."""
        i, j = self._column.within(at, upto)
        if i == j:
            return
        values = self._column.plain
        now.rates.pass_over(self._column.step_list[i:j], values[i:j])
        now.last_lr = values[j - 1]
        now.lr = values[j - 1] if self._column.is_in(upto - 1) else None


class LossCourse:
    """The loss against its baseline: no z beyond its usual, no CUSUM in alarm, no block that is full."""

    def __init__(self, now: Signals, column: Measured, single: Bools) -> None:
        self._column = column
        self._middles, self._scales = now.loss_base.foresee(column.steps, column.values)
        z = (column.values - self._middles) / self._scales
        self._z: list[float] = z.tolist()
        self._sums, self._lifts = now.loss_cusum.foresee(z)
        self._drifts, self._drift_lifts = now.loss_drift.foresee(z)
        stirs = ~((z > -3) & (z < 2.5))
        stirs |= (np.array(self._sums) > now.loss_cusum.limit) | (np.array(self._drifts) > now.loss_drift.limit)
        marked = _with_next(stirs, now.loss_stirs)
        marked[now.blocks.room - 1::Blocks.SIZE] = True
        marked[WINDOW - len(now.filling) - 1::WINDOW] = True
        single[column.at[marked]] = True

    @staticmethod
    def is_settled(now: Signals) -> bool:
        """Beyond the early rules' rows, with a baseline."""
        return _can_foresee(now.loss_base) and now.loss_rows >= EARLY and now.loss_start is not None

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Learn what a calm stretch of losses teaches."""
        column = self._column
        i, j = column.within(at, upto)
        if i == j:
            return
        losses, steps = column.plain[i:j], column.step_list[i:j]
        now.loss_rows += j - i
        now.z_spell, now.loss_stirs = 0, False
        if column.is_in(upto - 1):
            now.loss, now.z = losses[-1], self._z[j - 1]
        lifted = now.loss_cusum.pass_over(self._sums, self._lifts, i, j, column.step_list)
        if lifted is not None:
            now.loss_rise = (float(self._middles[lifted]), float(self._scales[lifted]))
        now.loss_drift.pass_over(self._drifts, self._drift_lifts, i, j, column.step_list)
        low = min(losses)
        if low < now.lowest:
            now.lowest, now.lowest_step = low, steps[losses.index(low)]
        now.blocks.pass_over(steps, losses)
        now.filling.extend(losses)
        now.loss_base.pass_over(j - i)


class GradCourse:
    """The gradient norm against its baseline: never twice its usual, nor so on the mean."""

    def __init__(self, now: Signals, column: Measured, single: Bools) -> None:
        self._column = column
        logs = np.array(list(map(math.log, column.plain)))  # numpy's rounds otherwise in the last bit
        middles, _ = now.grad_base.foresee(column.steps, logs)
        over = logs - middles
        self._over: list[float] = over.tolist()
        self._smooth = now.grad_ewma.foresee(np.clip(over, -LOG4, LOG4).tolist())
        stirs = (over > LOG2) | (np.array(self._smooth) > LOG2)
        single[column.at[_with_next(stirs, now.grad_stirs)]] = True
        every = np.arange(len(logs))
        rises = column.values > np.concatenate(([now.last_grad], column.values[:-1]))
        fell = np.maximum.accumulate(np.where(rises, -1, every))
        self._climbs: list[int] = np.where(fell < 0, every + 1 + now.grad_climb, every - fell).tolist()

    @staticmethod
    def is_settled(now: Signals) -> bool:
        """With a baseline."""
        return _can_foresee(now.grad_base)

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Learn what a calm stretch of norms teaches."""
        i, j = self._column.within(at, upto)
        if i == j:
            return
        grad = self._column.plain[j - 1]
        now.grad_climb, now.last_grad = self._climbs[j - 1], grad
        now.grad_rose, now.grad_stirs = None, False
        now.grad_ewma.pass_over(j - i, self._smooth[j - 1])
        now.grad_base.pass_over(j - i)
        if self._column.is_in(upto - 1):
            now.grad, now.grad_times = grad, math.exp(self._over[j - 1])


class RatioCourse:
    """The update ratio: nowhere high, nor so on the mean."""

    def __init__(self, now: Signals, column: Measured, single: Bools) -> None:
        self._column = column
        now.others["update_ratio"].foresee(column.steps, column.values)
        self._smooth = now.ratio_ewma.foresee([math.log10(max(ratio, 1e-30)) for ratio in column.plain])
        self.at, self.means = column.at, np.array(self._smooth)
        high = (column.values > HIGH_UPDATE) | (self.means > LOG_HIGH_UPDATE)
        single[column.at[_with_next(high, now.update_stirs, DIP)]] = True

    @staticmethod
    def is_settled(now: Signals) -> bool:
        """Beyond the first Adam steps, with a baseline."""
        return _can_foresee(now.others["update_ratio"]) and now.ratio_ewma.count > 0

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Learn what a calm stretch of ratios teaches."""
        i, j = self._column.within(at, upto)
        if i == j:
            return
        now.update_stirs = 0
        now.others["update_ratio"].pass_over(j - i)
        now.ratio_ewma.pass_over(j - i, self._smooth[j - 1])
        if self._column.is_in(upto - 1):
            now.ratio = self._column.plain[j - 1]


class TookCourse:
    """The step time, which is but learned."""

    def __init__(self, now: Signals, column: Measured, single: Bools) -> None:
        del single  # nothing of it is out of the ordinary
        self._column = column
        now.others["step_time"].foresee(column.steps, column.values)

    @staticmethod
    def is_settled(now: Signals) -> bool:
        """With a baseline."""
        return _can_foresee(now.others["step_time"])

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Learn it."""
        i, j = self._column.within(at, upto)
        now.others["step_time"].pass_over(j - i)


class PaceCourse:
    """How fast training goes: rows are collected; the one that completes a stretch is single."""

    def __init__(self, now: Signals, ahead: Outlook) -> None:
        self._first, self._steps = ahead.first, ahead.steps
        timed = np.zeros(len(ahead), np.bool_)
        for name in ("step_time", "throughput"):
            column = ahead.measured(name)
            if column is not None:
                timed[column.at] = True
        at = np.flatnonzero(timed)
        waiting = now.pace.filling
        first = STRETCH - 1 - len(waiting)
        again = first + sum(not is_timed(row) for row in waiting)  # those are dropped when it is asked, and it waits on
        ahead.single[at[[i for i in (first, *range(again, len(at), STRETCH)) if i < len(at)]]] = True

    def pass_over(self, now: Signals, at: int, upto: int) -> None:
        """Collect."""
        rows, steps = now.rows, self._steps[at - self._first:upto - self._first]
        columns = (column[at:upto] for column in (rows.took, rows.waited, rows.tokens, rows.speed))
        now.pace.filling += [row for row in zip(steps, *columns, strict=True) if (row[1], row[4]) != (None, None)]


_COURSES: Final = (
    ("lr", LrCourse), ("loss", LossCourse), ("grad_norm", GradCourse), ("update_ratio", RatioCourse),
    ("step_time", TookCourse),
)
