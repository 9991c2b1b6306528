"""learning-rate-too-low (T114): steps are so small that the model hardly moves; the loss falls slowly or not at all.

Symptom: the update ratio |dw|/|w| is below 1e-4 and the loss either creeps down in a straight line, at a pace that
does not slacken, or does not move.

Why it happens: a learning rate that is far too low; a warm-up that never ends; a scheduler that is stepped too often.

What to try: a learning rate ten times higher; then watch the update ratio: 1e-3 or so is a good sign for a
transformer.

Confused with: warm-up (excluded while the rate rises), the tail of a decay (excluded below 30 % of the peak),
fine-tuning, where ratios of 1e-6 to 1e-4 are right and the loss starts low (bands 20 times lower when it starts below
60 % of ln V; where V is unknown and it starts below 4, what only the usual band convicts is for information), a
plateau, where the ratio is in its band, weight decay alone, which moves weights without learning.

Rule: the exponentially weighted log10 of the ratio, over twenty samples or more, below 1e-4, from 200 rows on; and
(a) the second half of the run so far (its first 100 rows left out: the output bias is learned in them) has improved
the loss by at least half of what the first half did and by more than 3 standard errors, while all of it is no more than
10 % per 100 rows; or (b) the loss is within 2 % of where it began. Below 1e-5 the evidence is strong. Both signs are
needed.

Source: reference 2.7; the notebook's ratio |g|/|w| is not used: it is inverted.
"""

from __future__ import annotations

import math

import numpy as np

from tuimon.diagnosis.limits import EARLY
from tuimon.diagnosis.model import Evidence, RunContext
from tuimon.diagnosis.outlook import Outlook
from tuimon.diagnosis.rows import BLOCK
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number, rate
from tuimon.record.chunk import Bools

LOW = 1e-4
STRONG = 1e-5
SAMPLES = 20
FINE_TUNING = 0.05
"""What the bands are multiplied by for a model that knows something already."""
LOW_START = 4.0
"""First loss below which a model of unknown vocabulary may be one: a byte-level model begins at 5.5."""
ROWS = 200
SLOW = 0.1 / 100
"""Share of the loss gained per row up to which progress is slow."""


class LearningRateTooLow(Rule):
    """T114."""

    slug, code, category, needs = "learning-rate-too-low", "T114", "updates", ("update_ratio", "loss")
    wakes = BLOCK

    def clear(self) -> None:
        """Not low."""
        self.limit = math.nan
        self.low = False
        """Whether the ratio was below it when it was last looked at."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A stretch long enough to see slow progress."""
        missing = super().waits_for(now)
        if missing:
            return missing
        if now.ratio_ewma.count < SAMPLES:
            return (f"{SAMPLES} values of update_ratio after the first 10 steps",)
        return (f"{ROWS} values of loss",) if now.loss_rows < ROWS else ()

    def row(self, now: Signals) -> None:
        """Low ratio, and slow or no progress; asked whenever sixteen more losses are in."""
        ewma = now.ratio_ewma
        self.limit = math.log10(LOW * band(self.context, now))
        low = self.low = ewma.count >= SAMPLES and ewma.value < self.limit
        if self.episode:
            if now.ratio is not None:
                self.episode.numbers["ratio"] = now.ratio
            if self.episode.tick(now.step, calm=not (low or now.rates.decayed or ewma.count < SAMPLES)):
                self.close(now)
            return
        if not (low and now.block_full and now.loss_rows >= ROWS) or now.rates.warming or now.rates.decayed:
            return
        sign, first, second = creep(now)
        if sign:
            strong = ewma.value < math.log10(STRONG * band(self.context, now))
            unsure = may_be_tuned(self.context, now) and ewma.value > math.log10(LOW * FINE_TUNING)
            self.open(
                now,
                now.blocks.steps[0],
                "info" if unsure else "warning",
                "high" if strong else "medium",
                ratio=10**ewma.value,
                first=first,
                second=second,
                start=now.loss_start or math.nan,
                flat=float(sign == "flat"),
                limit=LOW * band(self.context, now),
                recent=now.blocks.means[-1],
            )

    def singles(self, ahead: Outlook) -> Bools | None:
        """As long as the ratio stays low, none; from where it does not, all."""
        found = np.zeros(len(ahead), np.bool_)
        if self.episode is None or self.episode.clean or not self.low:
            return None
        if ahead.measured("update_ratio") is not None:
            if ahead.mean_ratios is None:
                return None
            at, means = ahead.mean_ratios
            high = np.flatnonzero(~(means < self.limit))
            if len(high):
                found[at[high[0]]:] = True
        return found

    def pass_over(self, ahead: Outlook, at: int, upto: int) -> None:
        """Remember the last ratio."""
        ratios = ahead.measured("update_ratio")
        if ratios is not None and self.episode is not None:
            i, j = ratios.within(at, upto)
            if i < j:
                self.episode.numbers["ratio"] = ratios.plain[j - 1]

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        ratio = n["ratio"]
        if n["flat"]:
            sign = f"the loss has not moved from {number(n['start'])}"
        else:
            sign = (
                f"the loss falls slowly in a straight line: by {number(n['first'])}, then by {number(n['second'])} "
                f"in the two halves of the first {count(episode.detected - episode.onset + 1)} steps"
            )
        verb = "changed" if over else "changes"
        size = f"{number(100 * ratio)} % (update ratio {number(ratio)}, usual 1.0e-4 to 0.020)"
        why = f"Each step {verb} the weights by {size} and {sign}."
        if over:
            why = f"Updates were too small and {sign}; update ratio back in its band by step {count(episode.last)}."
        lr = n.get("lr", math.nan)
        change = f" from {rate(lr)} to {rate(lr * 10)}" if math.isfinite(lr) and lr > 0 else " tenfold"
        far = " or more at once: it is off by several orders of magnitude" if ratio < 0.01 * n["limit"] else ""
        advice = (
            f"raise the learning rate{change}{far}",
            "check that the scheduler is stepped once per optimizer step",
            "check that warm-up ends",
        )
        return Story("Learning rate too low", why, advice, (Evidence("update_ratio", ratio, n["limit"]),), "too small")


def band(context: RunContext, now: Signals) -> float:
    """1 for training from scratch, less where the first loss shows a model that already knows something."""
    if context.vocab_size and context.vocab_size > 1 and now.loss_start is not None:
        return FINE_TUNING if now.loss_start < 0.6 * math.log(context.vocab_size) else 1.0
    return 1.0


def may_be_tuned(context: RunContext, now: Signals) -> bool:
    """Whether nothing says that this is no fine-tuning."""
    return not context.vocab_size and now.loss_start is not None and now.loss_start < LOW_START


def creep(now: Signals) -> tuple[str, float, float]:
    """Whether the progress is "steady", "flat" or neither (""), and how much the loss fell in each half of the run."""
    means, start, sigma = now.blocks.means, now.loss_start, now.loss_base.scale
    skip = EARLY // 16
    size = len(means) - skip
    if size < 6 or start is None or not math.isfinite(sigma):
        return "", 0.0, 0.0
    half = skip + size // 2
    begin, middle, end = sum(means[skip : skip + 2]) / 2, sum(means[half - 1 : half + 1]) / 2, sum(means[-2:]) / 2
    first, second = begin - middle, middle - end
    error = sigma / math.sqrt(16)  # each of the two ends is a mean of 32 losses
    slow = first + second <= SLOW * abs(begin) * 16 * size
    if slow and second > 3 * error and second >= 0.5 * first > 0:
        return "steady", first, second
    if abs(start - end) + 2.33 * error < 0.02 * abs(start):
        return "flat", first, second
    return "", first, second
