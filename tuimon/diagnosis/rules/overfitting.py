"""overfitting (T119): the validation loss turned around while the training loss went on falling.

Symptom: the validation loss has a lowest point behind it and rises, the training loss falls.

Why it happens: the model remembers the training data: too few of them, seen too often, by a model that is too large, or
with too little regularisation.

What to try: stop, or go back to the checkpoint at the turning point; more or other data; dropout, weight decay, a
smaller model, fewer epochs.

Confused with: noise between two validations; a gap between the two losses, which dropout, augmentation and label
smoothing make in both directions; a divergence, where both losses rise.

Rule: at three validations in a row or more, the validation loss lies more than three standard errors above its lowest,
while the training loss has fallen since then. The standard error comes from the run itself: the median second
difference of the validation losses. Five validations at least. The onset is the turning point. Over when the validation
loss is back within one standard error of its lowest.

Source: reference 2.14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import VALIDATION
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number

FEWEST = 5
IN_A_ROW = 3


class Overfitting(Rule):
    """T119."""

    slug, code, category, needs = "overfitting", "T119", "generalisation", ("val_loss", "loss")
    wakes = follows = VALIDATION

    def clear(self) -> None:
        """No validation yet."""
        self.lowest = math.inf
        self.turned = 0
        self.train = math.nan
        """The training loss at the turning point, and its noise."""
        self.noise = math.nan

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Several validations."""
        if "val_loss" in now.seen and len(now.validations) < FEWEST:
            return (f"{FEWEST} values of val_loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Look at a validation."""
        if not now.validations or now.validations[-1][0] != now.step:
            return
        value = now.validations[-1][1]
        if not math.isfinite(value):
            return
        error = standard_error([v for _, v in now.validations])
        base = now.loss_base
        if value < self.lowest:
            self.lowest, self.turned, self.train, self.noise = value, now.step, base.middle, base.scale
        above = in_a_row([v for _, v in now.validations], self.lowest + 3 * error)
        if self.episode:
            n = self.episode.numbers
            n["val"], n["train"] = value, base.middle
            if value - self.lowest <= error:
                self.close(now)
        elif len(now.validations) >= FEWEST and above >= IN_A_ROW and self.train - base.middle > 0.3 * self.noise:
            self.open(now, self.turned, "warning", "high" if above > IN_A_ROW else "medium", lowest=self.lowest,
                      val=value, train=base.middle, train_then=self.train, error=error)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        why = (f"Validation loss was lowest at step {count(episode.onset)} ({number(n['lowest'])}) and is "
               f"{number(n['val'])} now, while the training loss fell from {number(n['train_then'])} to "
               f"{number(n['train'])}.")
        if over:
            why = f"Validation loss had turned at step {count(episode.onset)}; back at its lowest ({number(n['val'])})."
        return Story(
            "Overfitting", why,
            (f"go back to the checkpoint nearest step {count(episode.onset)}, or stop here",
             "more data, or fewer passes over them", "dropout 0.1 to 0.2, weight decay 0.1, or a smaller model"),
            (Evidence("val_loss", n["val"], n["lowest"] + 3 * n["error"], n["lowest"]),), "overfitting",
        )


def in_a_row(values: Sequence[float], limit: float) -> int:
    """How many of the last values are above the limit, without a break."""
    return next((i for i, v in enumerate(reversed(values)) if not v > limit), len(values))


def standard_error(values: Sequence[float]) -> float:
    """Noise of one validation: 1.4826 x the median size of the second differences / sqrt(6), at least 1e-3 of it."""
    finite = np.array([v for v in values if math.isfinite(v)][-64:])
    if len(finite) < 3:
        return math.inf
    bends = np.abs(np.diff(finite, 2))
    return max(1.4826 * float(np.median(bends)) / math.sqrt(6), 1e-3 * abs(float(finite[-1])))
