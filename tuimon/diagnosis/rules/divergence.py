"""divergence (T102): the loss has left its level for good and is not coming back.

Symptom: the loss stands half as high again as before, or far above where training began, and does not fall.

Why it happens: a learning rate that is, or has become, too high; Adam's second moment lagging behind gradients that
grew; attention logits without bound; a numerical fault that stays finite.

What to try: stop, go back to a healthy checkpoint at least 100 steps before the onset, lower the learning rate,
clip at 1.0; skip the batches in between; with AdamW lower beta2 to 0.95.

Confused with: a spike, which recovers; a pocket of hard data, during which the loss is high but falls; a resumed
run whose learning rate or data order differs; losses that have been negative (returns, advantages, densities), which
may move as they like and are left out.

Rule: after the loss alarm (CUSUM of robust z, cap 3, slack 1, limit 8, or three in a row beyond 3 sigma): all of
the last 32 losses above 1.5 x the level before and their slope not below -1 standard error; or, after the first 100
rows, two in a row that are beyond 3 sigma, above twice the lowest loss and above 1.5 x the first. False alarms of the
former: 0 in 272,000 healthy steps.

Source: reference 2.3 (ladder), 2.2 (rule B, here with a baseline).
"""

from __future__ import annotations

import math
from collections import deque

from tuimon.diagnosis.limits import EARLY
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import LEARNABLE, STIR
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import READY, median, slope
from tuimon.diagnosis.wording import count, fold, number

STAND = 32
"""Losses that must all be high."""


class Divergence(Rule):
    """T102."""

    slug, code, category, needs = "divergence", "T102", "loss", ("loss",)
    wakes = STIR
    holds = True
    rescue_helps = True

    def clear(self) -> None:
        """Nothing under way."""
        self.attending = False
        self.onset = 0
        self.reference = (math.nan, math.nan)
        self.streak = 0
        self.recent: deque[float] = deque(maxlen=STAND)

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A baseline of the loss."""
        if "loss" in now.seen and not now.loss_base.ready:
            return (f"{READY} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Follow the loss from the alarm on."""
        loss = now.loss
        if loss is None:
            return
        if self.episode:
            self._follow(loss, now)
        elif now.signed:
            self.attending = False
        else:
            far = loss > 2 * now.lowest > 0 and loss > 1.5 * (now.loss_start or math.inf) and now.loss_rows > EARLY
            self.streak = self.streak + 1 if far and now.z_spell else 0
            if (now.loss_alarm or self.streak >= 2) and not self.attending:
                self.attending = True
                self.onset = now.loss_cusum.rose or now.step
                self.reference = now.loss_rise
                self.recent.clear()
            if self.attending:
                self._watch(loss, now)
        self.confirm(now.grad_alarm_row, now.update_alarm_row, now=now)

    def _watch(self, loss: float, now: Signals) -> None:
        middle, scale = self.reference
        self.recent.append(loss)
        limit = middle + 0.5 * abs(middle)
        gone = self.streak >= 2 or (len(self.recent) == STAND and min(self.recent) > limit and not falling(self.recent))
        if gone:
            self.open(
                now, self.onset, "critical", "high", middle=middle, scale=scale, limit=limit, current=loss, peak=loss
            )
            self.recent.clear()
            self.attending = False
        elif len(self.recent) == STAND and median(self.recent) <= middle + 3 * scale and not now.loss_alarm:
            self.attending = False

    def _follow(self, loss: float, now: Signals) -> None:
        assert self.episode is not None
        numbers = self.episode.numbers
        numbers["current"] = loss
        numbers["peak"] = max(numbers["peak"], loss)
        self.recent.append(loss)
        back = max(1.1 * numbers["middle"], numbers["middle"] + 3 * numbers["scale"])
        if len(self.recent) >= CLEAN and math.isfinite(loss):
            last = list(self.recent)[-CLEAN:]
            fresh = "rolled_back" in numbers and not now.loss_base.ready
            if median(last) <= back or (fresh and max(last) < numbers["limit"]):
                self.close(now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        level = n["peak"] if over else n["current"]
        times = f", {fold(level, n['middle'])} its level before" if n["middle"] > 0 and math.isfinite(level) else ""
        why = f"Loss {'reached' if over else 'is'} {number(level)}{times} ({number(n['middle'])})"
        why += f"; back at that level by step {count(episode.last)}." if over else " and is not falling."
        why = f"{why} {rate_cause(episode)}".strip()
        advice = (
            f"go back to a healthy checkpoint from before step {count(episode.onset)}",
            rate_cut(episode),
            clip_advice(self.context),
            "if it comes again at another step, lower the learning rate by another third",
        )
        return Story("Loss diverging", why, advice, (Evidence("loss", level, n["limit"], n["middle"]),), "diverging")


def falling(values: deque[float]) -> bool:
    """Whether the least-squares slope is below -1 standard error; not where anything is non-finite."""
    if not all(-LEARNABLE < v < LEARNABLE for v in values):
        return False
    rise, error = slope(list(values))
    return rise < -error
