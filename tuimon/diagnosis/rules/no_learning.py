"""no-learning (T108): the loss is where it began, or where guessing by frequency would be, and stays there.

Symptom: after two hundred steps the loss has not fallen by 2 %; or it fell quickly to a level that is still more
than half of ln V and has been flat since.

Why it happens: labels shifted, shuffled or masked; the wrong loss; a learning rate near zero; parameters that the
optimizer does not hold; a model whose early layers get no gradient. A flat loss at the entropy of single tokens
means that only the output bias is learned: inputs and labels do not belong together.

What to try: train on one batch of 16 sequences: it must go to zero. Print a batch with its labels. Check that
optimizer.step() is called on model.parameters(), and that the learning rate is not zero.

Confused with: warm-up (waited for, up to 1,000 rows); converged training, whose loss is far below where it began;
noise, in which slow progress hides: both tests are equivalence tests and stay silent when they cannot tell.

Rule: (a) from 200 rows on, the upper 99 % bound of the improvement since the first losses is below 2 %, or that over a
blind guess among V classes, which is known more exactly than any first loss, where the run began with one (V: the
vocabulary, else as many as the last layer has biases, if the first loss is within 10 % of ln V); (b) the
upper 99 % bound of the improvement over the last half of the run, 300 rows or more, is below 2 %, the loss is above
half of ln V (of the first loss where V is unknown and that loss is 4 or more) and the learning rate above 30 % of
its peak.

Source: reference 2.4, sub-type "never learned".
"""

from __future__ import annotations

import math

from tuimon.diagnosis.model import NEAR_GUESS, Evidence
from tuimon.diagnosis.rows import BLOCK
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number, rate

ROWS = 200
PATIENCE = 1000
"""Rows for which a rising learning rate excuses everything."""
WINDOW = 19
"""Blocks of 16: the 300 rows over which a loss must be flat."""


class NoLearning(Rule):
    """T108."""

    slug, code, category, needs = "no-learning", "T108", "loss", ("loss",)
    wakes = follows = BLOCK

    def clear(self) -> None:
        """No state besides the episode."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Two hundred losses."""
        if "loss" in now.seen and now.loss_rows < ROWS:
            return (f"{ROWS} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Asked whenever sixteen more losses are in."""
        start, means = now.loss_start, now.blocks.means
        if not now.block_full or start is None or start <= 0 or now.loss_rows < ROWS or len(means) < 12:
            return
        level = sum(means[-4:]) / 4
        if self.episode:
            n = self.episode.numbers
            n["level"] = level
            if level < n["mark"]:
                self.close(now)
            return
        if now.rates.warming and now.loss_rows < PATIENCE:
            return
        sigma = now.loss_base.scale
        if not math.isfinite(sigma):
            return
        bound = start - now.blocks.lowest + 2.33 * sigma * math.sqrt(1 / 3 + 1 / 16)
        guess = self.context.guess(start)
        guessed = abs(start - guess) <= NEAR_GUESS * guess
        if guessed:
            over = guess - now.blocks.lowest + 2.33 * sigma * math.sqrt(1 / 16)
            guessed = over / guess < bound / start
            start, bound = (guess, over) if guessed else (start, bound)
        if bound < 0.02 * start and level < 1.1 * start:
            self.open(
                now,
                now.blocks.steps[0],
                "warning",
                "medium",
                level=level,
                start=start,
                mark=0.96 * start,
                bound=100 * bound / start,
                stuck=0.0,
                guessed=float(guessed),
            )
        elif self._is_stuck(now, level):
            half = max(WINDOW, len(means) // 2)
            self.open(
                now,
                now.blocks.steps[-half],
                "warning",
                "low",
                level=level,
                start=start,
                mark=0.98 * level,
                bound=2.0,
                stuck=float(16 * half),
            )

    def _is_stuck(self, now: Signals, level: float) -> bool:
        """Flat over the last half, at a level that knows of frequencies only."""
        means, vocab = now.blocks.means, self.context.vocab_size
        top = math.log(vocab) if vocab and vocab > 1 else now.loss_start if (now.loss_start or 0) >= 4 else None
        if top is None or not 0.5 * top < level <= 1.1 * top or now.rates.decayed:
            return False
        size = max(WINDOW, len(means) // 2)
        if len(means) < size + 4:
            return False
        rise, error = now.blocks.slope(size)
        return abs(rise * size) + 2.33 * error * size < 0.02 * level

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        vocab = self.context.vocab_size
        guess = f"; ln V is {number(math.log(vocab))}" if vocab and vocab > 1 else ""
        if n["stuck"]:
            why = (
                f"Loss {'was' if over else 'is'} {number(n['level'])}, more than half of where it began "
                f"({number(n['start'])}{guess}), "
                f"and moved less than {number(n['bound'])} % in {count(int(n['stuck']))} steps."
            )
        else:
            origin = f"it began at {number(n['start'])}{guess}"
            if n["guessed"]:
                origin = f"a blind guess among {count(round(math.exp(n['start'])))} is {number(n['start'])}"
            why = (
                f"Loss {'was' if over else 'is'} {number(n['level'])}, and {origin}: "
                f"at best {number(max(0.0, n['bound']))} % better after {count(episode.detected)} steps."
            )
        if over:
            why += f" It is falling by step {count(episode.last)}."
        lr = n.get("lr", math.nan)
        first = "print one batch with its labels: are they shifted, shuffled or masked?"
        second = f"check the learning rate ({rate(lr)})" if math.isfinite(lr) else "check the learning rate"
        advice = (first, second) if n["stuck"] else (second, first)
        return Story(
            "Not learning",
            why,
            (
                *advice,
                "train on one small batch alone: its loss must go to zero",
                "check that the optimizer holds the model's parameters",
            ),
            (Evidence("loss", n["level"], n["mark"], n["start"]),),
            "not learning",
        )
