"""loss-scale-collapse (T202): the GradScaler halves its scale again and again, and skips step after step.

Symptom: many skipped steps; the loss scale falls towards one; the loss stands still, because nothing is updated.

Why it happens: activations or gradients overflow in float16, whatever the scale: attention logits beyond 65,504, a
learning rate that is too high, a layer norm or softmax computed in half precision. Or something is NaN already, and no
scale can help.

What to try: bfloat16, which needs no scaler; softmax and norms in float32; a lower learning rate; clipping after
unscale_.

Confused with: the start of a run, where the scaler looks for its scale by some ten skips; the skip every two thousand
steps with which it tries a larger one.

Rule: after the first 20 rows, five halvings without a doubling in between, or more than 5 % of the last 200 steps
skipped; critical when 20 steps in a row are skipped or the scale is 1 or less. The onset is the first halving after the
last doubling. Over after 200 steps without a skip.

Source: reference 2.17.
"""

from __future__ import annotations

import math
from collections import deque

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import SCALE, STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number

START = 20
WINDOW = 200
HALVINGS = 5
SHARE = 0.05
IN_A_ROW = 20


class LossScaleCollapse(Rule):
    """T202."""

    slug, code, category, needs = "loss-scale-collapse", "T202", "numerics", ("loss_scale",)
    wakes = SCALE | STIR
    rescue_helps = True

    def clear(self) -> None:
        """Nothing counted."""
        self.scale = math.nan
        self.halvings = 0
        self.since = 0
        self.skips: deque[int] = deque()
        """Rows of the skipped steps within the window."""
        self.run = 0
        self.last_skip = -1

    def row(self, now: Signals) -> None:
        """Count halvings and skips."""
        scale, at = now.value("loss_scale"), now.attempt_rows
        halved = scale is not None and scale < self.scale
        if scale is not None and scale != self.scale:
            if not halved:
                self.halvings = 0
            elif at > START:
                self.since = self.since if self.halvings else now.step
                self.halvings += 1
            self.scale = scale
        skipped = now.skipped or (halved and now.value("skipped") is None)
        if skipped and at > START:
            self.run = self.run + 1 if self.last_skip == at - 1 else 1
            self.skips.append(at)
            self.last_skip = at
        while self.skips and self.skips[0] <= at - WINDOW:
            self.skips.popleft()
        share = len(self.skips) / WINDOW
        fatal = self.run >= IN_A_ROW or (self.halvings > 0 and self.scale <= 1)
        if self.episode:
            n = self.episode.numbers
            n["scale"], n["share"], n["run"] = self.scale, share, max(n["run"], float(self.run))
            if fatal:
                self.worsen(now, "high")
            if not self.skips:
                self.close(now)
        elif fatal or self.halvings >= HALVINGS or share > SHARE:
            onset = self.since or now.step
            self.open(now, onset, "critical" if fatal else "warning", "high" if fatal else "medium", scale=self.scale,
                      share=share, run=float(self.run), halvings=float(self.halvings))

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        if over:
            why = (f"The loss scale had fallen to {number(n['scale'])}, {count(int(n['run']))} steps in a row were "
                   f"skipped; none in the {WINDOW} before step {count(episode.last)}.")
        elif episode.severity == "critical":
            why = (f"{count(int(n['run']))} steps in a row were skipped and the loss scale is {number(n['scale'])}: "
                   "training stands still.")
        else:
            why = (f"{number(100 * n['share'])} % of the last {WINDOW} steps were skipped; the loss scale is "
                   f"{number(n['scale'])} and falling since step {count(episode.onset)}.")
        return Story(
            "Loss scale collapsing", why,
            ("use bfloat16, which needs no loss scale", "compute softmax and norms in float32", rate_cut(episode, 3.0),
             clip_advice(self.context)),
            (Evidence("loss_scale", n["scale"], 1.0),), "overflowing",
        )
