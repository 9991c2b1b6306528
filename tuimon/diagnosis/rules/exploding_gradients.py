"""exploding-gradients (T110): the gradient norm is an order of magnitude above what this run usually shows, and stays.

Symptom: the gradient norm grows tenfold and more within a few steps; the loss follows, then NaN.

Why it happens: backpropagation multiplies by one Jacobian per layer; when their norms pass 1 the product grows with
depth. A learning rate that is too high drives the weights there; bad initialisation or missing normalisation start
there.

What to try: go back to a healthy checkpoint, lower the learning rate tenfold, clip at 1.0, warm up again. If the
learning rate had jumped, mend the schedule first.

Confused with: the first fifty steps, when norms are high and fall; one odd batch (a single tenfold step happens in
7 % of healthy runs, so one step never counts); slow growth over a run, which is normal; a norm logged after
clipping, which hides all.

Rule: r is the norm over the median of the last 128. Critical: r > 10 on three rows in a row, or r > 3 and rising
for three rows while the loss alarm stands; where the norm is noisier than a factor of two or so, also above 3.5 and 2.5
standard deviations of its logarithm. No absolute limit works: in 1,205 successful AlgoPerf runs the median
norm spans 0.007 to 182. False alarms: 0 in 349 healthy runs' first 100 steps.

Source: reference 2.5.
"""

from __future__ import annotations

import math

import numpy as np

from tuimon.diagnosis.layers import Profile, Profiles
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import READY
from tuimon.diagnosis.wording import count, fold, number
from tuimon.record.chunk import Bools

TENFOLD, THREEFOLD = 3.5, 2.5
"""Standard deviations of the log norm that stand for a factor of ten, of three, where the noise is large."""


class ExplodingGradients(Rule):
    """T110."""

    slug, code, category, needs = "exploding-gradients", "T110", "gradients", ("grad_norm",)
    wakes = STIR
    holds = True
    rescue_helps = True

    def clear(self) -> None:
        """No streak."""
        self.tenfold = 0
        self.threefold = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A baseline of the gradient norm."""
        if "grad_norm" in now.seen and not now.grad_base.ready:
            return (f"{READY} values of grad_norm",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Compare the norm with its usual."""
        times = now.grad_times
        if now.grad is None:
            return
        if self.episode:
            self._follow(now.grad, now)
        elif times is not None:
            self.tenfold = self.tenfold + 1 if times > now.grad_limit(10, TENFOLD) else 0
            self.threefold = self.threefold + 1 if times > now.grad_limit(3, THREEFOLD) else 0
            rising = self.threefold >= 3 and now.grad_climb >= 2 and now.loss_alarm
            if self.tenfold >= 3 or rising:
                usual = math.exp(now.grad_base.middle)
                episode = self.open(
                    now,
                    now.grad_rose or now.step,
                    "critical",
                    "medium",
                    usual=usual,
                    limit=(10 if self.tenfold >= 3 else 3) * usual,
                    current=now.grad,
                    peak=now.grad,
                )
                self._blame(episode, now)
                self._companions(now)
        self.confirm(now.loss_alarm_row, now.update_alarm_row, now=now)

    def profile(self, row: Profile, now: Signals) -> None:
        """Name the layer that has grown most, each time that the norm is as large as never before."""
        if self.episode and row.step >= self.episode.onset:
            self._blame(self.episode, now)

    def _blame(self, episode: Episode, now: Signals) -> None:
        layer = now.layers.worst(episode.onset)
        if layer and now.grad is not None and now.grad >= episode.badness:
            episode.blame(layer, now.grad)

    def unusual(self, rows: Profiles) -> Bools | None:
        """None, unless something is going on."""
        return np.zeros(len(rows), np.bool_) if self.episode is None else None

    def _follow(self, grad: float, now: Signals) -> None:
        assert self.episode is not None
        n = self.episode.numbers
        n["current"] = grad
        if math.isnan(grad):
            self.episode.clean = 0
            return
        n["peak"] = max(n["peak"], grad)
        calm = grad <= 3 * n["usual"]
        if not calm:
            self._companions(now)
        if self.episode.tick(now.step, calm=calm):
            self.close(now)

    def _companions(self, now: Signals) -> None:
        """Keep the other channels' numbers of the worst moment for the story."""
        assert self.episode is not None
        n = self.episode.numbers
        if now.ratio is not None:
            n["ratio"] = now.ratio
            n["ratio_usual"] = now.others["update_ratio"].middle
        if now.loss is not None:
            n["loss"] = now.loss
            n["loss_usual"] = now.loss_base.middle

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        level = n["peak"] if over else n["current"]
        verb = "reached" if over else "is"
        parts = [f"Gradient norm {verb} {number(level)}, {fold(level, n['usual'])} its usual {number(n['usual'])}"]
        if math.isnan(level):
            parts = [f"Gradient norm is NaN; its usual is {number(n['usual'])}, its highest was {number(n['peak'])}"]
        evidence = [Evidence("grad_norm", level, n["limit"], n["usual"])]
        if not over and n.get("ratio", 0.0) > 2e-2:
            parts.append(f"update ratio {number(n['ratio'])} (usual {number(n['ratio_usual'])})")
            evidence.append(Evidence("update_ratio", n["ratio"], 2e-2, n["ratio_usual"]))
        if not over and n.get("loss", -math.inf) > n.get("loss_usual", math.inf):
            parts.append(f"loss {number(n['loss'])} (usual {number(n['loss_usual'])})")
            evidence.append(Evidence("loss", n["loss"], n["loss_usual"], n["loss_usual"]))
        why = f"{'; '.join(parts)}. {rate_cause(episode)}".strip()
        if over:
            why += f" Back in its usual range since step {count(episode.calm_since)}."
        advice = (
            f"go back to a healthy checkpoint from before step {count(episode.onset)}",
            rate_cut(episode),
            clip_advice(self.context),
            "warm up again over 20 steps or more",
        )
        return Story("Exploding gradients", why, advice, tuple(evidence), "exploding")
