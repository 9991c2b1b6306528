"""early-divergence (T101): the loss runs away within the first hundred steps.

Symptom: the loss climbs above where it began, before there is any baseline to compare with.

Why it happens: a learning rate far too high, no warm-up, an initialisation or a loss reduction (sum for mean) that
makes the first updates huge.

What to try: a learning rate 3 to 10 times lower, 100 steps or more of warm-up, clipping at 1.0; check the scale of the
initial weights and that the loss is a mean.

Confused with: a bad initial output scale, where the loss starts high and falls by itself; a single hard batch; losses
that have been negative, of which one is no measure for another.

Rule: loss > max(2 x lowest so far, 1.5 x first loss) on two rows in a row, within the first 100 rows; the first loss is
the median of the first three, and the second row counts where it is above twice the very first. And beyond the noise of
the losses before: log(loss) more than four standard deviations above the median of the last eight, the deviation taken
from the second differences of log(loss), in which a steady rise does not count as noise; where one loss is all that
came before, tenfold. Tiny batches of a squared error jump tenfold in good health: of losses that are pure noise,
log-normal with a deviation of 0.7, one run in 17 is still called so. False alarms: 0 in 349 healthy AlgoPerf runs
(34,900 steps), before the second loss counted, and none in 44 healthy labelled curves and 120 healthy runs of the zoo
since; without the noise gate it caught 25 of 28 diverging ones, in the median 7 steps before they died.

Source: reference 2.2, rule B.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from tuimon.diagnosis.limits import EARLY
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import EARLY_ROW
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import MAD_TO_SIGMA, median
from tuimon.diagnosis.wording import count, fold, number

FEW, UNKNOWN = 3, 0.4
"""With fewer second differences of log(loss) than this, its noise is taken for at least so much: fivefold jumps."""


class EarlyDivergence(Rule):
    """T101."""

    slug, code, category, needs = "early-divergence", "T101", "loss", ("loss",)
    wakes = EARLY_ROW
    holds = True
    rescue_helps = True

    def clear(self) -> None:
        """No streak."""
        self.streak = 0
        self.doubtful = 0
        """1 while the newest logarithm is of a streak that still lasts: of the second loss, which rose at once."""
        self.recent: deque[float] = deque(maxlen=CLEAN)
        self.logs: list[float] = []
        """log(loss) of the rows before the streak, as far as they were positive and finite."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Three losses to know where it began."""
        if now.loss_start is not None or "loss" not in now.seen:
            return super().waits_for(now)
        return ("3 finite values of loss",)

    def row(self, now: Signals) -> None:
        """Compare with the lowest and with the first loss."""
        loss, start = now.loss, now.loss_start
        if loss is None or start is None or start <= 0 or (self.episode is None and now.loss_rows > EARLY):
            return
        if now.signed and self.episode is None:
            return
        limit = max(2 * now.lowest, 1.5 * start)
        if not self.logs:
            self.logs = [math.log(first) for first in now.first_losses[:2] if first > 0]
            self.streak = int(now.first_losses[1] > 2 * now.first_losses[0] > 0 and loss > limit)
            self.doubtful = self.streak
        if self.episode is None:
            self.streak = self.streak + 1 if loss > limit else 0
            self.doubtful = self.doubtful if self.streak else 0
            if not self.streak and 0 < loss < math.inf:
                self.logs.append(math.log(loss))
            if self.streak >= 2 and beyond_noise(loss, self.logs[:len(self.logs) - self.doubtful]):
                self.open(
                    now,
                    max(now.lowest_step + 1, 1),
                    "critical",
                    "medium",
                    limit=limit,
                    start=now.first_losses[0] if 0 < now.first_losses[0] < start else start,
                    peak=loss,
                    low=now.lowest,
                    current=loss,
                )
        else:
            numbers = self.episode.numbers
            numbers["current"] = loss
            numbers["peak"] = max(numbers["peak"], loss)
            self.recent.append(loss)
            if len(self.recent) == CLEAN and max(median(self.recent), loss) <= 1.1 * numbers["start"]:
                self.close(now)
        self.confirm(now.grad_alarm_row, now.update_alarm_row, now=now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        was = n["peak"] if over else n["current"]
        if math.isfinite(was):
            level = f"{number(was)}, {fold(was, n['start'])} where it began ({number(n['start'])})"
        else:
            level = f"{number(was)}; it began at {number(n['start'])}"
        verb = "reached" if over else "is"
        why = f"Loss {verb} {level}; its lowest was {number(n['low'])}. {rate_cause(episode)}".strip()
        if over:
            why += f" Back where it began by step {count(episode.last)}."
        advice = (
            rate_cut(episode),
            "warm up over 100 steps or more",
            clip_advice(self.context),
            "check the scale of the initial weights and that the loss is a mean, not a sum",
        )
        return Story(
            "Diverging from the start", why, advice, (Evidence("loss", was, n["limit"], n["start"]),), "diverging"
        )


def beyond_noise(loss: float, logs: Sequence[float]) -> bool:
    """Whether a loss is too high to be one of these, whose logarithms are given, in order."""
    bends = [abs(a - 2 * b + c) for a, b, c in zip(logs, logs[1:], logs[2:], strict=False)]
    if not (logs and loss < math.inf):
        return True
    noise = max(MAD_TO_SIGMA * median(bends) * (1 + 4 / len(bends)), *bends) / math.sqrt(6) if bends else 0.0
    if len(bends) < FEW:
        noise = max(noise, UNKNOWN)
    lone = math.sqrt(2) if len(logs) == 1 else 1.0  # it may be as far from the middle as the one that is judged
    return math.log(loss) - median(logs[-8:]) > 4 * noise * lone
