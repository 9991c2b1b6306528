"""bad-init (T118): the first losses are far above what knowing nothing costs.

Symptom: training begins at a loss well above the logarithm of the number of classes, the loss of a uniform guess.

Why it happens: the initial weights, usually of the embedding or of the output layer, are drawn too large, so that the
model begins by being confidently wrong; or the loss is a sum over tokens or samples instead of their mean.

What to try: draw the weights with a standard deviation of 0.02, or scale the output layer down; check the reduction of
the loss.

Confused with: losses that are no cross-entropy; a resumed or fine-tuned model; auxiliary losses that are added. Such
runs usually recover by themselves: this is never an emergency.

Rule: the first two losses both above ln V + max(1, 0.15 ln V), V the size of the vocabulary; looked at once, in the
first ten steps of a run that starts anew. Over when thirty losses in a row are below. Healthy starts lie within 0.2 of
ln V. Without a known vocabulary: above 14.4, which is that limit for a vocabulary of 262,144, and as information only.

Source: reference 2.11.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import EARLY_ROW
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, fold, number

LARGEST = 262_144
"""No vocabulary in use is larger."""
FIRST = 10
"""Steps within which a loss still tells of the initial weights."""


class BadInit(Rule):
    """T118."""

    slug, code, category, needs = "bad-init", "T118", "loss", ("loss",)
    wakes = EARLY_ROW

    def clear(self) -> None:
        """Nothing seen."""
        self.first: float | None = None

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """The first two losses; of a log that begins later nothing can be said."""
        if "loss" in now.seen and now.loss_rows < 2:
            return ("2 values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Look at the first two losses; follow what was found."""
        loss = now.loss
        if loss is None:
            return
        limit = limit_of(self.context.vocab_size)
        if self.episode:
            self.episode.numbers["current"] = loss
            if self.episode.tick(now.step, calm=loss <= limit):
                self.close(now)
        elif now.loss_rows == 1:
            self.first = loss if now.step <= FIRST and now.attempt_rows <= FIRST else None
        elif now.loss_rows == 2 and self.first is not None and min(self.first, loss) > limit:
            known = self.context.vocab_size is not None
            self.open(now, 1, "warning" if known else "info", "high" if known else "low",
                      first=self.first, limit=limit, current=loss)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n, vocab = episode.numbers, self.context.vocab_size
        uniform = math.log(vocab) if vocab else math.nan
        if vocab:
            why = (f"The loss began at {number(n['first'])}; a uniform guess among {vocab:,} costs {number(uniform)}, "
                   f"so the first predictions were confidently wrong ({fold(n['first'], uniform)}).")
        else:
            why = (f"The loss began at {number(n['first'])}; a uniform guess costs at most {number(math.log(LARGEST))} "
                   "with any vocabulary in use. If this loss is no cross-entropy, that is as it should be.")
        if over:
            why += f" It recovered: below {number(n['limit'])} since step {count(episode.calm_since)}."
        return Story(
            "Weights start too large", why,
            ("draw the weights with a standard deviation of 0.02, or scale the output layer down",
             "check that the loss is a mean over tokens, not a sum",
             "go on if it falls: such runs recover, they only lose time"),
            (Evidence("loss", n["first"], n["limit"], uniform),), "high start",
        )


def limit_of(vocab: int | None) -> float:
    """The highest first loss that is no reason to speak."""
    uniform = math.log(vocab) if vocab and vocab > 1 else math.log(LARGEST)
    return uniform + max(1.0, 0.15 * uniform)
