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
200 steps within 86. Over when the sum has been below a third of its limit for 30 steps, at no more than one sigma above
the level before, or for 128 wherever it stands. False alarms: 1 in 136,000 healthy steps.

Source: reference 2.3.
"""

from __future__ import annotations

from bisect import bisect_right

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import READY, WINDOW, Blocks
from tuimon.diagnosis.wording import count, number

STANDS = 128
"""Rows without a rise that make a new level."""


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
            n["current"] = lately(now)
            n["peak"] = max(n["peak"], n["current"])
            back = n["current"] <= n["before"] + n["scale"] or now.turned_row != n["turned"]
            still = now.loss_drift.value < now.loss_drift.limit / 3
            n["stood"] = n["stood"] + 1 if still else 0.0
            if self.episode.tick(now.step, calm=back and still) or n["stood"] >= STANDS:
                self.close(now)
        elif now.loss_drift.alarm and not now.signed and now.attempt_rows - now.loss_alarm_row > WINDOW:
            onset, level = now.loss_drift.rose or now.step, lately(now)
            self.open(now, onset, "warning", "medium", before=level_before(now, onset), scale=base.scale, current=level,
                      peak=level, turned=float(now.turned_row), stood=0.0)
        self.confirm(now.grad_alarm_row, now.update_alarm_row, now=now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        level, before = n["peak"] if over else n["current"], n["before"]
        noise = f"noise {number(n['scale'])}"
        since = f"since step {count(episode.onset)}"
        if level > before:
            why = (f"Loss {'rose' if over else 'has been rising'} slowly {since}: {number(level)}, "
                   f"{number(level - before)} above its level before ({number(before)}; {noise}).")
        else:
            why = (f"Loss {'was' if over else 'has been'} above its course more often than chance allows {since}; by "
                   f"now it is {number(level)}, and was {number(before)} before ({noise}).")
        if over:
            back = f" Back at its level since step {count(episode.calm_since)}."
            why += " It stands at a new level." if n["stood"] >= STANDS else back
        why = f"{why} {rate_cause(episode)}".strip()
        return Story(
            "Loss drifting up", why,
            (f"look at what changed around step {count(episode.onset)}: data, learning rate, batch size",
             rate_cut(episode, 1.5) if "lr" in n else "lower the learning rate by a third", clip_advice(self.context)),
            (Evidence("loss", level, before + n["scale"], before),), "drifting",
        )


def lately(now: Signals) -> float:
    """The mean of the last sixteen losses, or, while those are not at hand, of the last block of sixteen."""
    newest = now.filling[-Blocks.SIZE:]
    if len(newest) == Blocks.SIZE:
        return sum(newest) / Blocks.SIZE
    return now.blocks.means[-1] if now.blocks.means else now.loss_base.middle


def level_before(now: Signals, onset: int) -> float:
    """The mean of the last four blocks that were over by then; the median where there are none."""
    blocks = now.blocks
    ended = bisect_right(blocks.steps, onset) - 1
    means = blocks.means[max(0, ended - 4):max(0, ended)]
    return sum(means) / len(means) if means else now.loss_base.middle
