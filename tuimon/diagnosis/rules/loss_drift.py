"""loss-drift (T105): the loss creeps up, too slowly for a spike.

Symptom: the loss is about one standard deviation of its noise above where it was, and stays there or goes on rising.

Why it happens: the learning rate is a little too high for this phase; the data have become harder; weights or logits
grow without bound; a checkpoint was resumed with another mix of data.

What to try: look at what changed at its onset; lower the learning rate by a third; clip at 1.0.

Confused with: a loss spike, which is faster; a curriculum that becomes harder on purpose; overfitting, which shows in
the validation loss; losses that have been negative (returns, advantages, densities), which wander in good health and
are left out.

Rule: a one-sided CUSUM of the standardised loss with cap 3, slack 0.5 and limit 15, while the faster one (slack 1,
limit 8) has been silent for 128 steps. A shift by one sigma is found within about 27 steps, a ramp of three sigma over
200 steps within 86. Over when the sum has been below a third of its limit for 30 steps. False alarms: 1 in 136,000
healthy steps.

Source: reference 2.3.
"""

from __future__ import annotations

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import READY, WINDOW
from tuimon.diagnosis.wording import count, number


class LossDrift(Rule):
    """T105."""

    slug, code, category, needs = "loss-drift", "T105", "loss", ("loss",)
    wakes = STIR
    rescue_helps = True

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A baseline of the loss."""
        if "loss" in now.seen and not now.loss_base.ready:
            return (f"{READY} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Open at the slow alarm where the fast one is silent."""
        if now.loss is None or now.z is None:
            return
        base = now.loss_base
        if self.episode:
            n = self.episode.numbers
            n["current"], n["peak"] = base.middle, max(n["peak"], base.middle)
            if self.episode.tick(now.step, calm=now.loss_drift.value < now.loss_drift.limit / 3):
                self.close(now)
        elif now.loss_drift.alarm and not now.signed and now.attempt_rows - now.loss_alarm_row > WINDOW:
            self.open(now, now.loss_drift.rose or now.step, "warning", "medium", middle=base.middle, scale=base.scale,
                      current=now.loss, peak=now.loss)
        self.confirm(now.grad_alarm_row, now.update_alarm_row, now=now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        level = n["peak"] if over else n["current"]
        verb = "rose" if over else "has been rising"
        why = (f"Loss {verb} slowly since step {count(episode.onset)}: {number(level)}, against {number(n['middle'])} "
               f"before (noise {number(n['scale'])}).")
        if over:
            why += f" Back at its level since step {count(episode.calm_since)}."
        why = f"{why} {rate_cause(episode)}".strip()
        return Story(
            "Loss drifting up", why,
            (f"look at what changed around step {count(episode.onset)}: data, learning rate, batch size",
             rate_cut(episode, 1.5) if "lr" in n else "lower the learning rate by a third", clip_advice(self.context)),
            (Evidence("loss", level, n["middle"] + n["scale"], n["middle"]),), "drifting",
        )
