"""lr-schedule-fault (T115): the learning rate does what no schedule means to do.

Symptom: the learning rate leaps or runs away above the level it had settled at, is zero while training goes on, is
negative or no number, or has reached its floor long before the end of the run.

Why it happens: a schedule that is stepped once per micro-batch, or counts epochs as steps; a warm-up that begins again
after a resume; a factor applied twice; a wrong number of total steps.

What to try: print the schedule before the run; step it once per optimizer step; check total steps and what a resume
restores.

Confused with: warm-up, warm restarts, which come back to a level that was there before, and a second phase of training
that is meant to be hotter; a small rate that a log has rounded to zero, which the loss gives away.

Rule: above 1.5 times the highest level at which it had settled (50 steps without rising); or zero, negative or not
finite for 20 steps in a row outside of the last tenth of the run (where it has never been anything else for 200, and
the loss has not fallen by 2 %); or at a thousandth of its peak before 60 % of the declared steps. Deterministic: it
judges what was asked for, not what came of it. A rate that a rescue or a person has overridden is learned anew.

Source: reference 2.19.
"""

from __future__ import annotations

import math

import numpy as np

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.outlook import Outlook
from tuimon.diagnosis.rows import ROW
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, fold, rate
from tuimon.record.chunk import Bools, Mark

SETTLED = 50
LEAP = 1.5
NOTHING = 20
EVER = 200
"""Rows where it has never been anything else."""
FLOOR = 1e-3


class LrScheduleFault(Rule):
    """T115."""

    slug, code, category, needs = "lr-schedule-fault", "T115", "updates", ("lr",)
    wakes = ROW

    def clear(self) -> None:
        """No level yet."""
        self.last = math.nan
        self.quiet = 0
        """Rows in a row without a rise."""
        self.settled = math.nan
        self.peak = 0.0
        self.nothing = 0

    def mark(self, mark: Mark, now: Signals) -> None:
        """A rate that somebody has overridden is not the schedule's: its level is learned anew."""
        super().mark(mark, now)
        if mark.kind == "override":
            if self.episode:
                self.close(now, "The learning rate has been overridden since.")
            self.clear()

    def row(self, now: Signals) -> None:
        """Look at the rate of this step."""
        lr = now.lr
        if lr is None:
            return
        if self.episode is None and lr == self.last and self.quiet >= SETTLED and lr > 0 and lr <= 1.01 * self.settled:
            self.nothing = 0
            return  # the usual case, at the price of one comparison
        usable = math.isfinite(lr) and lr > 0
        self.nothing = 0 if usable else self.nothing + 1
        if self.episode:
            self._follow(lr, now, self.episode)
        elif self.nothing >= NOTHING and not self._is_ending(now) and not self._is_rounded(lr, now):
            self.open(now, now.step - self.nothing + 1, "warning", "high", kind=0.0, value=lr, limit=0.0,
                      from_=self.peak)
        elif usable and self.settled > 0 and lr > LEAP * self.settled:
            self.open(now, now.step, "warning", "high", kind=1.0, value=lr, limit=LEAP * self.settled,
                      from_=min(self.settled, self.last))
        elif usable and lr <= FLOOR * self.peak and self._is_early(now):
            self.open(now, now.step, "warning", "medium", kind=2.0, value=lr, limit=FLOOR * self.peak, from_=self.peak)
        if usable:
            self._learn(lr)

    def _learn(self, lr: float) -> None:
        self.quiet = 0 if lr > 1.001 * self.last else self.quiet + 1
        self.peak = max(self.peak, lr)
        if self.quiet >= SETTLED and self.episode is None:
            self.settled = self.peak
        self.last = lr

    def singles(self, ahead: Outlook) -> Bools | None:
        """Rates that may be a leap above the level, which only rises, or a fall to nothing."""
        rates = ahead.measured("lr")
        if self.episode is not None:
            return None
        found = np.zeros(len(ahead), np.bool_)
        if rates is None:
            return found
        level = self.settled if self.settled > 0 else self.peak or rates.plain[0]
        odd = rates.values > LEAP * level
        if self.context.total_steps is not None:
            odd |= rates.values <= FLOOR * np.maximum(self.peak, np.maximum.accumulate(rates.values))
        found[rates.at] = odd
        return found

    def pass_over(self, ahead: Outlook, at: int, upto: int) -> None:
        """Learn the level."""
        rates = ahead.measured("lr")
        if rates is None:
            return
        i, j = rates.within(at, upto)
        for lr in rates.plain[i:j]:
            self.nothing = 0
            self._learn(lr)

    def _is_rounded(self, lr: float, now: Signals) -> bool:
        """Of a rate that has never been but zero: whether the loss falls all the same, or it is too early to say."""
        means = now.blocks.means
        falls = bool(means) and min(means) < 0.98 * means[0]
        return lr == 0 == self.peak and (self.nothing < EVER or falls)

    def _is_ending(self, now: Signals) -> bool:
        total = self.context.total_steps
        return total is not None and now.step > 0.9 * total

    def _is_early(self, now: Signals) -> bool:
        total = self.context.total_steps
        return total is not None and now.step < 0.6 * total

    def _follow(self, lr: float, now: Signals, episode: Episode) -> None:
        n = episode.numbers
        n["value"] = max(n["value"], lr) if n["kind"] == 1 else lr
        n["now"] = lr
        calm = lr <= n["limit"] if n["kind"] == 1 else lr > max(n["limit"], 0.0)
        if episode.tick(now.step, calm=calm):
            self.close(now)
            self.settled = math.nan  # what is usual is learned anew
            self.peak, self.quiet = lr, 0

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        value, before = rate(n["value"]), rate(n["from_"])
        if n["kind"] == 1:
            headline = "Learning rate ran away from its schedule"
            why = (f"It was {before} and {'reached' if over else 'is'} {value} "
                   f"({fold(n['value'], n['from_'])}) since step {count(episode.onset)}.")
            first = f"bring it back to {before}: print the schedule around step {count(episode.onset)}"
        elif n["kind"] == 2:
            headline = "Learning rate at its floor too early"
            total = self.context.total_steps or 0
            why = (f"It {'was' if over else 'is'} {value}, a thousandth of its peak {before}, since step "
                   f"{count(episode.onset)} of {count(total)}: the rest of the run learns next to nothing.")
            first = "step the schedule once per optimizer step, not per micro-batch, and check its total steps"
        else:
            headline = "Learning rate is zero" if n["value"] == 0 else "Learning rate is no positive number"
            why = f"It {'was' if over else 'is'} {value} from step {count(episode.onset)}: such steps teach nothing."
            first = "check the schedule's total steps and what was restored on resuming"
        if over and episode.calm_since:
            why += f" Usual again since step {count(episode.calm_since)}."
        return Story(
            headline, why, (first, "check that warm-up does not begin again after a resume"),
            (Evidence("lr", n["value"], n["limit"], n["from_"]),), "schedule",
        )


assert CLEAN < SETTLED, "an episode must end before a level can settle"
