"""gradient-instability (T111): the gradient norm has doubled and stays there.

Symptom: the gradient norm is about twice its usual size for many steps; the loss may still look well.

Why it happens: the learning rate is near the edge of what the model bears; the data have changed; attention logits
grow. It precedes explosions and loss spikes by some steps.

What to try: watch the loss; clip at 1.0; lower the learning rate by a third if it goes on for more than a few
hundred steps.

Confused with: a single odd batch; slow growth over thousands of steps, which healthy runs show; the first
hundred steps.

Rule: the mean of log(norm / median of the last 128), exponentially weighted with 0.2 and winsorised at log 4, above
log 2 and above four of its own standard deviations, eight rows in a row, from step 100 on. Over when below log 1.5 for
30 steps, at less than twice the norm before. False alarms: 0 in 19,432 healthy steps.

Source: reference 2.5.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.limits import LOG2, OUTLYING, SMOOTHED
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, fold, number

SETTLED = 100
"""Rows until gradient norms have found their level."""
LASTS = 8


class GradientInstability(Rule):
    """T111."""

    slug, code, category, needs = "gradient-instability", "T111", "gradients", ("grad_norm",)
    wakes = STIR
    rescue_helps = True

    def clear(self) -> None:
        """No streak."""
        self.streak = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """The first hundred rows are no baseline."""
        if "grad_norm" in now.seen and now.grad_base.count < SETTLED:
            return (f"{SETTLED} values of grad_norm",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Follow the smoothed ratio."""
        if now.grad_times is None or now.grad is None:
            return
        level = now.grad_ewma.value
        if self.episode is None:
            high = level > max(LOG2, OUTLYING * SMOOTHED * now.grad_base.scale)
            self.streak = self.streak + 1 if high and now.attempt_rows >= SETTLED else 0
            if self.streak >= LASTS:
                usual = math.exp(now.grad_base.middle)
                self.open(
                    now,
                    now.grad_rose or now.step,
                    "warning",
                    "medium",
                    usual=usual,
                    current=now.grad,
                    peak=math.exp(level),
                    times=math.exp(level),
                )
        else:
            n = self.episode.numbers
            middle = now.grad_base.middle
            n["current"], n["times"] = now.grad, math.exp(min(level + middle, 700.0)) / n["usual"]
            n["peak"] = max(n["peak"], n["times"])
            if self.episode.tick(now.step, calm=level < math.log(1.5) and not middle > math.log(n["usual"]) + LOG2):
                self.close(now)
        self.confirm(now.loss_alarm_row, now.update_alarm_row, now=now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        times = n["peak"] if over else n["times"]
        why = f"Gradient norm {'was' if over else 'is'} on average {fold(times)} its usual {number(n['usual'])}"
        why += f"; calm since step {count(episode.calm_since)}." if over else f" (now {number(n['current'])})."
        why = f"{why} {rate_cause(episode)}".strip()
        advice = (clip_advice(self.context), "watch the loss: if it follows, " + rate_cut(episode, 3.0))
        return Story(
            "Unstable gradients",
            why,
            advice,
            (Evidence("grad_norm", n["current"], 2 * n["usual"], n["usual"]),),
            "unstable",
        )
