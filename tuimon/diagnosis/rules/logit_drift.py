"""logit-drift (T303): the output logits grow without end, which the loss does not show until precision runs out.

Symptom: the mean |logsumexp| of the output logits passes 50 and keeps doubling, while the loss looks ordinary. Or it
doubles fast, and the loss breaks away while it does.

Why it happens: softmax sees only differences, so nothing holds the logits' common level, or, where the output layer is
not decayed, their scale. In bfloat16 numbers between 64 and 128 are 0.5 apart: the differences drown, and the loss
begins to spike, late in training.

What to try: a z-loss, 1e-4 times the squared logsumexp, added to the loss; logits and loss in float32; weight decay on
the output layer; a look at whether it is tied to the embedding.

Confused with: a level that is large but stands (GPT-2's logits lie around -30 to -100, and are fine); the first
hundred steps, in which logits grow from nothing; CLIP's temperature, which is often logged as logit_scale, too.

Rule: mean |logsumexp| above 50 and above twice the largest of its first five rows; over the last 20 rows it rises
(Mann-Kendall, p < 1e-3) and will double twice before the run ends; in three rows in a row. Or, in three rows in a row,
above twice the largest of its first five, each higher than the one before, and twice what it was eight rows ago, while
the loss is in alarm or was within 30 steps: in 25 healthy runs of small models it has never come to more than 1.6 times
its beginning, nor grown by more than 1.4 times within eight rows. The onset is when it left its beginning by a half,
for good. Over when neither has been so for 20 rows, or it has come down below 40, or, if it was never above 50, back.

Source: reference 2.10.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.activations import EARLY, RECENT, Sampled, Streaks
from tuimon.diagnosis.growth import Growth, growth
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number

LARGE = 50.0
CALM = 40.0
FAST = 8
"""Rows within which what runs away has doubled."""
LEFT = 1.5
"""Times its beginning from which on it has left that."""


class LogitDrift(Rule):
    """T303."""

    slug, code, category, needs = "logit-drift", "T303", "activations", ("logit_scale",)
    wakes = follows = 0

    def clear(self) -> None:
        """No streak."""
        self.drifting, self.running = Streaks(), Streaks()

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A series long enough to see it grow."""
        if "logit_scale" not in now.activations.seen:
            return ("logit_scale (activation probes)",)
        most = max(len(values) for (name, _), values in now.activations.recent.items() if name == "logit_scale")
        return () if most == RECENT else (f"{RECENT} sampled rows of logit_scale",)

    def probes(self, row: Sampled, now: Signals) -> None:
        """Look whether the logits run away."""
        for layer, scale in row.of("logit_scale").items():
            found = self._drift(layer, scale, row.step, now)
            runs = self._runs_away(layer, now)
            self.drifting.add(row.step, {layer: found is not None})
            self.running.add(row.step, {layer: runs is not None})
            if self.episode is None:
                self._begin(layer, scale, now)
            if self.episode is None or (self.episode.layer or "") != layer:
                continue
            episode, found = self.episode, found or runs
            is_over = episode.pause(RECENT) if found is None else episode.pause(0, calm=False)
            n = episode.numbers
            n |= {"scale": scale, "peak": max(n["peak"], scale),
                  "began": max(now.activations.early["logit_scale", layer]),
                  "mean": row.of("logit_mean").get(layer, math.nan)}
            if found is not None:
                n["doubles_in"] = found.doubles_in
            if is_over or scale < (CALM if n["peak"] > LARGE else LEFT * n["began"]):
                self.close(now)

    def _begin(self, layer: str, scale: float, now: Signals) -> None:
        """Open, where it has drifted for three rows, or run away for three and the loss has broken away."""
        since = self.drifting.lasting().get(layer)
        if since is None and now.attempt_rows - now.loss_alarm_row <= CLEAN:
            since = self.running.lasting().get(layer)
        if since is not None:
            left = LEFT * max(now.activations.early["logit_scale", layer])
            since = now.activations.turned("logit_scale", layer, since, lambda value: value > left)
            self.open(now, since, "warning", "medium", peak=scale).layer = layer or None

    def _runs_away(self, layer: str, now: Signals) -> Growth | None:
        """How it grows, where it has doubled since the beginning and within a few rows, and has just grown again."""
        began, recent = now.activations.early["logit_scale", layer], list(now.activations.recent["logit_scale", layer])
        if len(began) < EARLY or len(recent) <= FAST:
            return None
        (_, last), (_, scale) = recent[-2:]
        if not scale > 2 * max(began) or not scale > 2 * recent[-1 - FAST][1] or not scale > last:
            return None
        return growth(*zip(*recent[-1 - FAST:], strict=True))

    def _drift(self, layer: str, scale: float, step: int, now: Signals) -> Growth | None:
        """How it grows, where it is large, has doubled since the beginning and keeps growing."""
        began, recent = now.activations.early["logit_scale", layer], now.activations.recent["logit_scale", layer]
        if not scale > LARGE or len(began) < EARLY or not scale > 2 * max(began) or len(recent) < RECENT:
            return None
        found = growth(*zip(*recent, strict=True))
        return found if found.is_fast(step, self.context.total_steps) else None

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        scale = n["peak"] if over else n["scale"]
        why = (f"The output logits have grown: their mean |logsumexp| {'reached' if over else 'is'} {number(scale)}, "
               f"at first at most {number(n['began'])}, ")
        why += (f"and it stands at {number(n['scale'])} now." if over
                else f"and it doubles about every {count(round(n['doubles_in']))} steps.")
        if math.isfinite(n["mean"]) and abs(n["mean"]) > 0.5 * scale:
            why += f" Most of it is a common shift (mean logit {number(n['mean'])}), which softmax does not see."
        apart = 2.0 ** (math.floor(math.log2(scale)) - 7) if 0 < scale < math.inf else math.inf
        why += f" Near {number(scale)} numbers in bfloat16 are {number(apart)} apart."
        return Story(
            "Output logits drift away", why,
            ("add a z-loss to the loss: 1e-4 times the mean squared logsumexp of the logits",
             "compute the logits and the loss in float32",
             "put weight decay on the output layer, and look whether it is tied to the embedding"),
            (Evidence("logit_scale", scale, LARGE, n["began"]),), "drifting",
        )
