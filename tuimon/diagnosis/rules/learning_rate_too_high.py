"""learning-rate-too-high (T113): each step changes the weights too much, and it shows elsewhere.

Symptom: the update ratio |dw|/|w| is above 2e-2, where 1e-4 to 2e-2 is usual, and the loss or the gradient norm
misbehaves, or attention collapses, or units fall silent.

Why it happens: the learning rate is too high for this model, batch and optimizer; a schedule jumped; warm-up is
missing.

What to try: a learning rate 3 to 10 times lower, warm-up over 100 steps or more. Watch the update ratio: around
1e-3 to 1e-2 is where small transformers learn best with AdamW.

Confused with: the first Adam steps, which move every weight by the learning rate whatever the gradient (ignored here);
adapters or heads that start at zero; a run that simply bears large steps: a high ratio alone is never reported. The
ratio |g|/|w| says nothing about the learning rate: it is larger when the learning rate is lower.

Rule: the exponentially weighted log10 of the ratio, over twenty samples or more, above 2e-2, or three samples in a
row above 5e-2; and within 30 steps a loss alarm (CUSUM), a gradient alarm (five times usual, or doubled for long),
or a loss that swings with period two (lag-1 autocorrelation at most -0.5 in two windows of 128), or, as of the last
sampled row, a layer whose attention has collapsed or whose units have fallen silent (see attention-collapse,
dead-units). False alarms: reports of the companions, 1 in 288,000 steps, times those with a high ratio. Over when 30
steps have passed without a companion: a high ratio alone is borne. The onset is when the ratio became high; one or two
samples that are not do not end that stretch.

Source: reference 2.7, with its measured sweep of learning rates.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.limits import DIP, FIRST_ADAM, HIGH_UPDATE, LONG_AGO, NEAR
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import STEEP, STIR, WINDOW_FULL
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import lag_one, ranked
from tuimon.diagnosis.wording import count, number, rate

STRONG = 5e-2
SAMPLES = 20


class LearningRateTooHigh(Rule):
    """T113."""

    slug, code, category, needs = "learning-rate-too-high", "T113", "updates", ("update_ratio",)
    wakes = STIR | STEEP | WINDOW_FULL
    rescue_helps = True

    def clear(self) -> None:
        """Nothing high."""
        self.strong = self.low = 0
        self.high_since: int | None = None
        self.swings = 0
        self.swing_row = LONG_AGO

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Enough samples beyond the first Adam steps."""
        if "update_ratio" in now.seen and now.ratio_ewma.count < SAMPLES and self.strong < 3:
            return (f"{SAMPLES} values of update_ratio after the first 10 steps",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """High ratio, and a companion."""
        ratio = now.ratio
        if ratio is not None:
            self.strong = self.strong + 1 if ratio > STRONG and now.attempt_rows > FIRST_ADAM else 0
            self.low = self.low + 1 if ratio <= HIGH_UPDATE else 0
            if self.low >= DIP:
                self.high_since = None
            elif self.low == 0 and self.high_since is None:
                self.high_since = now.step
        self._look_for_swing(now)
        smooth = now.ratio_ewma.value
        high = (now.ratio_ewma.count >= SAMPLES and smooth > math.log10(HIGH_UPDATE)) or self.strong >= 3
        if self.episode is None:
            if high and self._has_companion(now, CLEAN):
                strong = max(smooth, math.log10(ratio or 1e-30)) > math.log10(STRONG)
                self.open(
                    now,
                    now.step if self.high_since is None else self.high_since,
                    "warning",
                    "high" if strong else "medium",
                    ratio=10**smooth,
                    peak=ratio or 10**smooth,
                    usual=self._usual(now),
                    loss_alarm=float(now.attempt_rows - now.loss_alarm_row <= CLEAN),
                    grad_alarm=float(now.attempt_rows - now.grad_alarm_row <= CLEAN),
                    collapsed=float(bool(now.activations.saturated.lasting())),
                    dead=float(bool(now.activations.dying.lasting())),
                )
            return
        n = self.episode.numbers
        if ratio is not None:
            n["ratio"] = ratio
            n["peak"] = max(n["peak"], ratio)
        if self.episode.tick(now.step, calm=not (high and self._has_companion(now, NEAR))):
            self.close(now)

    def _has_companion(self, now: Signals, rows: int) -> bool:
        """Whether within so many rows something else went wrong, or inside the model something is."""
        alarm = max(now.loss_alarm_row, now.grad_alarm_row, self.swing_row)
        return now.attempt_rows - alarm <= rows or now.activations.is_upset

    def _usual(self, now: Signals) -> float:
        base = now.others["update_ratio"]
        return base.middle if base.ready else math.nan

    def _look_for_swing(self, now: Signals) -> None:
        """Period-two ripple of the loss, in windows of 128 that follow each other."""
        if now.window:
            self.swings = self.swings + 1 if lag_one(ranked(now.window)) <= -0.5 else 0
            if self.swings >= 2:
                self.swing_row = now.attempt_rows

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        level = n["peak"] if over else n["ratio"]
        signs = [
            words
            for name, words in (
                ("loss_alarm", "the loss is rising"),
                ("grad_alarm", "the gradient norm is far above its usual"),
                ("collapsed", "attention has collapsed"),
                ("dead", "units have fallen silent"),
            )
            if n[name]
        ] or ["the loss swings from step to step"]
        if over:
            why = (
                f"Each step changed the weights by up to {number(100 * level)} %; now by {number(100 * n['ratio'])} %, "
            )
            why += f"and loss and gradients have been calm since step {count(episode.calm_since)}."
        else:
            why = (
                f"Each step changes the weights by {number(100 * level)} % (update ratio {number(level)}, "
                f"usual 1.0e-4 to 0.020) and {' and '.join(signs)}."
            )
        why = f"{why} {rate_cause(episode)}".strip()
        lr = n.get("lr", math.nan)
        trial = f", for example {rate(lr / 3)}" if math.isfinite(lr) and lr > 0 and n.get("lr_growth", 1) < 3 else ""
        advice = (rate_cut(episode) + trial, "warm up over 100 steps or more", clip_advice(self.context))
        return Story(
            "Learning rate too high", why, advice,
            (Evidence("update_ratio", level, HIGH_UPDATE, n["usual"]),), "too large",
        )
