"""sudden-drop (T109): the loss fell within a few steps to a level that learning does not explain.

Symptom: after a quiet stretch the loss falls by a quarter or more within about thirty steps, and stays there.

Why it happens: the labels have leaked into the inputs (a mask that no longer hides the future, a shifted target); the
same data come again after a resume, and are remembered; padding or easy samples fill the batches; the loss is divided
by something else. Sometimes it is real: a model can break through.

What to try: look at the validation loss, which must fall as well; print one batch with its labels; check the mask;
check where the data were resumed.

Confused with: a decay of the learning rate, which lowers the loss within the same time; a loss that comes back from a
spike or an explosion; a change of the data on purpose; the first descent of a run; losses that have been negative.

Rule: the mean of the last 16 losses is at least a quarter below each of the three means up to 32 steps earlier, by more
than six times what the trend before promised and six standard errors; not within the first 200 losses, not while the
learning rate falls, not within 256 steps of a loss alarm, nor within 160 after the learning rate jumped or the number
of tokens per step changed by more than a fifth. Over after 256 steps: it then is the new level.

Source: reference 2.21.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import BLOCK
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number

ROWS = 200
SHARE = 0.25
STAYS = 256
"""Rows after which it is the new level."""


TURNED = 10 * 16
"""Rows in which a loss from before a turn of the run may be among the means compared."""


class SuddenDrop(Rule):
    """T109."""

    slug, code, category, needs = "sudden-drop", "T109", "loss", ("loss",)
    wakes = BLOCK

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """The first descent of a run is no drop."""
        if "loss" in now.seen and now.loss_rows < ROWS:
            return (f"{ROWS} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Compare blocks of sixteen losses."""
        if self.episode:
            if now.block_full:
                self.episode.numbers["current"] = now.blocks.means[-1]
            self._follow(now, self.episode)
            return
        means = now.blocks.means
        if now.loss_rows < ROWS or len(means) < 12 or now.rates.falling or not math.isfinite(now.loss_base.scale):
            return
        if now.signed or now.attempt_rows - now.loss_alarm_row <= STAYS:
            return  # it comes back from where it should not have been
        if now.attempt_rows - now.turned_row <= TURNED:
            return  # another size of the steps, another phase of the schedule
        before, after = min(means[-5:-2]), means[-1]  # the lowest: one odd batch lifts the mean of its block
        trend = max(0.0, (means[-8] - before) / 5)  # per block, over the five blocks before
        fall = before - after
        if fall > max(SHARE * abs(before), 12 * trend, 6 * now.loss_base.scale * math.sqrt(2 / 16)):
            self.open(now, now.blocks.steps[-2], "warning", "medium", before=before, after=after, current=after,
                      val=now.validations[-1][1] if now.validations else math.nan)

    def _follow(self, now: Signals, episode: Episode) -> None:
        n = episode.numbers
        n["rows"] = n.get("rows", 0.0) + 1
        if n["rows"] >= STAYS or n["current"] > 0.5 * (n["before"] + n["after"]):
            self.close(now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share = 100 * (n["before"] - n["after"]) / abs(n["before"])
        why = (f"Loss fell from {number(n['before'])} to {number(n['after'])} ({number(share)} %) within about thirty "
               f"steps, which the trend before does not explain.")
        if math.isfinite(n["val"]):
            why += f" The last validation loss was {number(n['val'])}."
        if over:
            why += f" It is {number(n['current'])} by step {count(episode.last)}."
        return Story(
            "Loss fell suddenly", why,
            ("compare with the validation loss: it must fall as well",
             "print one batch with its labels: can the model see the answer?",
             "if the run was resumed, check that it does not see the same data again"),
            (Evidence("loss", n["after"], (1 - SHARE) * n["before"], n["before"]),), "sudden drop",
        )
