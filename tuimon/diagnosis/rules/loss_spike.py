"""loss-spike (T103): the loss has jumped and stayed up for several steps.

Symptom: the loss stands clearly above its recent level for five steps or more.

Why it happens: a few bad batches on end; an update that was too large (Adam's second moment had shrunk and a large
gradient came); a learning rate at its peak; a resumed run that reads its data in another order.

What to try: wait 64 steps: most spikes recover. If this one does not, go back to the checkpoint before it, skip the
200 to 500 batches around it, and lower the learning rate by 10 to 30 %. Clip at 1.0; beta2 of 0.95 makes spikes
rarer.

Confused with: an outlier batch. The loss of one step is measured before that step's update, so a single high loss
says something about the batch and nothing about the model; it is not a spike. Divergence is a spike that does not
come back. A run that was resumed finds its level again by itself: its first 128 steps are left to divergence.

Rule: z is the distance from the median of the last 128 losses in robust standard deviations; S = max(0, S + min(z,
3) - 1) above 8, or three in a row beyond 3. Onset is where S left zero. Every 64 steps: recovered if the median of
the last 64 is below the level before + 3 sigma, else unrecovered. False alarms: 1 in 288,000 healthy steps, which
recovered.

What is usual is learned anew where the learning rate jumps by more than a fifth within what it has been (a restart, a
second phase), and where the number of tokens per step does. For information only where the loss has been negative: such
losses move in good health.

Source: reference 2.3; PaLM (arXiv:2204.02311) section 5.1 on skipping batches.
"""

from __future__ import annotations

import math
from collections import deque

from tuimon.diagnosis.model import RECOVERED, RISING, Evidence
from tuimon.diagnosis.rows import STIR
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import READY, WINDOW, median
from tuimon.diagnosis.wording import count, number

VERDICT = 64
"""Rows after which a spike is judged recovered or not, and judged again."""


class LossSpike(Rule):
    """T103."""

    slug, code, category, needs = "loss-spike", "T103", "loss", ("loss",)
    wakes = STIR
    rescue_helps = True

    def clear(self) -> None:
        """Nothing under way."""
        self.armed = True
        self.recent: deque[float] = deque(maxlen=VERDICT)

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A baseline of the loss."""
        if "loss" in now.seen and not now.loss_base.ready:
            return (f"{READY} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Open at the alarm, judge every 64 rows."""
        if now.loss is None:
            return
        if self.episode is None:
            if not now.loss_alarm:
                self.armed = True
            elif now.is_resumed and now.attempt_rows <= WINDOW:
                self.armed = False
            elif self.armed:
                middle, scale = now.loss_rise
                self.open(
                    now,
                    now.loss_cusum.rose or now.step,
                    "info" if now.signed else "warning",
                    "high",
                    middle=middle,
                    scale=scale,
                    limit=middle + 3 * scale,
                    current=now.loss,
                    peak=now.loss,
                    rows=0.0,
                )
                self.recent.clear()
        else:
            self._follow(now.loss, now)
        self.confirm(now.grad_alarm_row, now=now)

    def _follow(self, loss: float, now: Signals) -> None:
        assert self.episode is not None
        n = self.episode.numbers
        n["rows"] += 1
        n["current"] = loss
        n["peak"] = max(n["peak"], loss)
        self.recent.append(loss)
        size = CLEAN if "rolled_back" in n else VERDICT
        if len(self.recent) < size or (size == VERDICT and n["rows"] % VERDICT):
            return
        if median(list(self.recent)[-size:]) <= n["limit"] or ("rolled_back" in n and not now.loss_alarm):
            self.armed = False
            self.close(now)
        else:
            n["unrecovered"] = 1.0

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        high = n["peak"] if over else n["current"]
        sigma = (high - n["middle"]) / n["scale"]
        above = f", {number(sigma)} sigma above its level before" if math.isfinite(sigma) else "; its level before was"
        level = f"({number(n['middle'])})" if math.isfinite(sigma) else number(n["middle"])
        why = f"Loss {'reached' if over else 'is'} {number(high)}{above} {level}."
        evidence = (Evidence("loss", high, n["limit"], n["middle"]),)
        cause = rate_cause(episode)
        if over:
            why = f"{why} It recovered by step {count(episode.last)}. {cause}".strip()
            return Story(
                f"Loss spike, {RECOVERED}",
                why,
                ("go on; look at the batches of these steps if it repeats",),
                evidence,
                RECOVERED,
            )
        if "unrecovered" in n:
            why = f"{why} {count(int(n['rows']))} steps later it has not come back. {cause}".strip()
            advice = (
                f"go back to a checkpoint from before step {count(max(0, episode.onset - 100))}",
                "skip the 200 to 500 batches around it",
                rate_cut(episode) if cause else "lower the learning rate by 10 to 30 %",
                clip_advice(self.context),
            )
            return Story("Loss spike, not recovered", why, advice, evidence, "not recovered")
        first = (rate_cut(episode),) if cause else ()
        return Story(
            "Loss spike",
            f"{why} {cause}".strip(),
            (
                *first,
                f"wait: it is judged {VERDICT} steps after its detection; most spikes recover",
                clip_advice(self.context),
            ),
            evidence,
            RISING,
        )
