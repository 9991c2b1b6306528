"""sudden-drop (T109): the loss fell within a few steps to a level that learning does not explain.

Symptom: after a quiet stretch the loss falls by a quarter or more within about thirty steps, and stays there. It may
leap first: a model that has learned without the answer does not use it at once.

Why it happens: the labels have leaked into the inputs (a mask that no longer hides the future, a shifted target); the
same data come again after a resume, and are remembered; padding or easy samples fill the batches; the loss is divided
by something else. Sometimes it is real: a model can break through.

What to try: look at the validation loss, which must fall as well; print one batch with its labels; check the mask;
check where the data were resumed.

Confused with: a decay of the learning rate, which lowers the loss within the same time; a loss that comes back from a
spike or an explosion to where it was; a change of the data on purpose; the first descent of a run; losses that have
been negative.

Rule: the mean of the last 16 losses is at least a quarter below each of the three means up to 32 steps earlier, by more
than six times what the trend before promised and six standard errors. Within 256 steps of a loss alarm it must be as
far below the level from before the loss rose; in the first 128 of them that alone is asked, and a leap within 48 steps
before the fall is its first sign, and its onset. While the learning rate has fallen by more than a tenth within 64
steps at least half of the loss must go; where the rate has more than halved, only after a leap. Not within the first
200 losses, nor within 160 after the learning rate jumped or the number of tokens per step changed by more than a fifth.
Over after 256 steps: it then is the new level. The onset is where a CUSUM of what it is below its level was last zero.

Source: reference 2.21.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import BLOCK
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import Blocks, Cusum
from tuimon.diagnosis.wording import count, number

ROWS = 200
SHARE = 0.25
STEADY = 0.9
"""Share of its highest that a learning rate has kept which does not fall."""
HALF = 0.5
"""What must have gone of the loss while the learning rate falls: no decay that leaves half of itself does that."""
STAYS = 256
"""Rows after which it is the new level."""
TURNED = 10 * Blocks.SIZE
"""Rows in which a loss from before a turn of the run may be among the means compared."""
LEAP = 3 * Blocks.SIZE
"""Steps between a leap and the fall that it is the first sign of."""


SOON = 8
"""Blocks since before a leap in which a fall may take its time."""


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
        means, kept = now.blocks.means, now.rates.kept
        if now.loss_rows < ROWS or len(means) < 12 or not math.isfinite(now.loss_base.scale):
            return
        if now.signed or now.attempt_rows - now.turned_row <= TURNED:
            return  # another size of the steps, another phase of the schedule
        alarmed = now.attempt_rows - now.loss_alarm_row <= STAYS
        end = len(means) - 2
        if alarmed:
            end = min(end, max(6, bisect_right(now.blocks.steps, now.loss_leapt) - 1))
        usual = min(means[end - 3:end])  # the lowest: one odd batch lifts the mean of its block
        before = usual if len(means) - end <= SOON else min(usual, *means[-5:-2])
        trend = max(0.0, (means[end - 6] - usual) / 5)  # per block, over the five blocks before
        fall, after = before - means[-1], means[-1]
        share = SHARE if kept >= STEADY else HALF
        promised = 3 * (len(means) - end + 2) * trend
        if not fall > max(share * abs(before), promised, 6 * now.loss_base.scale * math.sqrt(2 / Blocks.SIZE)):
            return
        onset = fell_at(now, before)
        leapt = alarmed and 0 <= onset - now.loss_leapt <= LEAP
        if kept >= HALF or leapt:
            self.open(now, now.loss_leapt if leapt else onset, "warning", "medium", before=before, after=after,
                      current=after, leapt=float(leapt), val=now.validations[-1][1] if now.validations else math.nan)

    def _follow(self, now: Signals, episode: Episode) -> None:
        n = episode.numbers
        n["rows"] = n.get("rows", 0.0) + 1
        if n["rows"] >= STAYS or n["current"] > 0.5 * (n["before"] + n["after"]):
            self.close(now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share = 100 * (n["before"] - n["after"]) / abs(n["before"])
        fall = f"from {number(n['before'])} to {number(n['after'])} ({number(share)} %)"
        if n["leapt"]:
            why = (f"Loss leapt at step {count(episode.onset)}, and by step {count(episode.detected)} it had fallen "
                   f"far below where it was before: {fall}.")
        else:
            why = f"Loss fell {fall} within about thirty steps, which the trend before does not explain."
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


def fell_at(now: Signals, before: float) -> int:
    """When a loss that is far below that level by now left it."""
    blocks, scale = now.blocks, now.loss_base.scale
    first = len(blocks.means) - 1
    while first > 1 and blocks.means[first - 1] < before - 2 * scale / math.sqrt(Blocks.SIZE):
        first -= 1
    many = Blocks.SIZE * (len(blocks.means) - first + 1)
    losses = (now.window or now.filling)[-many:]
    fell = Cusum()
    if len(losses) == many:
        for place, loss in enumerate(losses):
            fell.add(place, (before - loss) / scale)
    if fell.rose is None:
        return blocks.steps[first]
    apart = (blocks.steps[first] - blocks.steps[first - 1]) / Blocks.SIZE
    return blocks.steps[first - 1] + round(fell.rose * apart)
