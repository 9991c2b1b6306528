"""outlier-batch (T104): one batch was nothing like the others; the run did not mind.

Symptom: a single loss, usually with its gradient, far above everything around it; the next step is ordinary again.

Why it happens: a broken, empty, mislabelled or foreign batch. The loss of a step is computed before its update, so one
high loss tells of the data and not of the weights.

What to try: nothing at once. Look at the batch of that step; clip at 1.0, so that one batch cannot do harm.

Confused with: a loss spike, which lasts. Losses beyond six sigma occur four times in a thousand healthy steps: they are
no finding at all.

Rule: one loss more than 20 sigma above its baseline, or more than 8 with a gradient above five times its usual, and the
loss of the next step below 3 sigma. For information only; over at once.

Source: reference 2.3, 2.5.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.limits import OUTLYING
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import LEARNABLE, STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import READY
from tuimon.diagnosis.wording import count, fold, number

FAR = 20.0
"""Sigma at which a loss alone is odd enough."""
FAR_WITH_GRADIENT = 8.0


class OutlierBatch(Rule):
    """T104."""

    slug, code, category, needs = "outlier-batch", "T104", "loss", ("loss",)
    wakes = STIR

    def clear(self) -> None:
        """No candidate."""
        self.odd: dict[str, float] | None = None

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A baseline of the loss."""
        if "loss" in now.seen and not now.loss_base.ready:
            return (f"{READY} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Remember a candidate; the next loss decides."""
        if now.loss is None or now.z is None:
            return
        odd, self.odd = self.odd, None
        if odd is not None and now.z < 3 and not now.loss_alarm:
            self.open(now, int(odd["step"]), "info", "high", **odd)
            self.close(now)
        elif odd is None and now.z_spell == 1 and now.loss < LEARNABLE:
            times = now.grad_times or 0.0
            if now.z > FAR or (now.z > FAR_WITH_GRADIENT and times > now.grad_limit(5, OUTLYING)):
                base = now.loss_base
                self.odd = {"step": float(now.step), "loss": now.loss, "z": now.z, "times": times,
                            "middle": base.middle, "limit": base.middle + FAR_WITH_GRADIENT * base.scale}

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        del over  # it is over when it is told
        n = episode.numbers
        gradient = f", with a gradient {fold(n['times'])} its usual" if n["times"] > 2 else ""
        why = (f"The loss of step {count(episode.onset)} was {number(n['loss'])}, {number(n['z'])} sigma above its "
               f"level ({number(n['middle'])}){gradient}; the next step was ordinary again.")
        return Story(
            "Outlier batch", why,
            (f"look at the batch of step {count(episode.onset)} for broken or foreign samples",
             clip_advice(self.context), "go on: the run did not mind"),
            (Evidence("loss", n["loss"], n["limit"], n["middle"]),), "outlier" if math.isfinite(n["loss"]) else "inf",
        )
