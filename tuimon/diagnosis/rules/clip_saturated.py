"""clip-saturated (T120): clipping cuts nearly every step, or the logged gradient norm is the clipped one.

Symptom: the gradient norm is above the clip limit at nearly every step; or it sits at one and the same ceiling.

Why it happens: the limit is far below what is usual for this model and batch, so that clipping acts as a normaliser and
the limit, not the gradient, sets the size of the steps. Or the norm is logged after clipping, which hides explosions.

What to try: log the norm before clipping (clip_grad_norm_ returns it); raise the limit to about the usual norm, or know
that the learning rate is what matters now.

Confused with: training on purpose with normalised gradients; the first steps, where norms are large.

Rule: after the first 100 rows, of the last 256 norms more than 90 % above twice the limit in force; or at least 80 %
within 0.5 % of their own maximum. For information only. Over when less than half are.

Source: reference 2.5.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tuimon.diagnosis.limits import EARLY
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.outlook import Outlook
from tuimon.diagnosis.rows import ROW
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number
from tuimon.record.chunk import Bools

ROWS = 256
LOOK = 64
"""Rows between two looks."""


class ClipSaturated(Rule):
    """T120."""

    slug, code, category, needs = "clip-saturated", "T120", "gradients", ("grad_norm",)
    wakes = ROW

    def clear(self) -> None:
        """Nothing seen."""
        self.norms: deque[float] = deque(maxlen=ROWS)
        self.over: deque[bool] = deque(maxlen=ROWS)
        self.ahead: list[bool] = []
        """Of the norms ahead, whether they are above twice the limit."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A window of norms."""
        if "grad_norm" in now.seen and len(self.norms) < ROWS:
            return (f"{ROWS} values of grad_norm after the first {EARLY}",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Collect; look now and then."""
        grad = now.grad
        if grad is None or now.attempt_rows <= EARLY or not 0 < grad < math.inf:
            return
        limit = now.value("clipped")
        self.norms.append(grad)
        self.over.append(limit is not None and grad > 2 * limit > 0)
        if now.attempt_rows % LOOK or len(self.norms) < ROWS:
            return
        norms = np.array(self.norms)
        top, cut = float(norms.max()), sum(self.over) / ROWS
        ceiling = int((norms >= 0.995 * top).sum()) / ROWS
        if self.episode:
            n = self.episode.numbers
            n["share"] = cut if n["cut"] else ceiling
            if n["share"] < 0.5:
                self.close(now)
        elif cut > 0.9 or (ceiling >= 0.8 and min(self.norms) < 0.99 * top):  # a constant series is another matter
            middle = sorted(self.norms)[ROWS // 2]
            self.open(now, max(1, now.step - ROWS), "info", "high", share=cut if cut > 0.9 else ceiling,
                      cut=float(cut > 0.9), norm=middle, limit=limit if limit is not None else top)

    def singles(self, ahead: Outlook) -> Bools | None:
        """The rows of its looks."""
        norms, limits = ahead.measured("grad_norm"), ahead.measured("clipped")
        if norms is not None:
            limit = np.zeros(len(ahead))
            if limits is not None:
                limit[limits.at] = limits.values
            twice = 2 * limit[norms.at]
            self.ahead = ((twice > 0) & (norms.values > twice)).tolist()
        return np.asarray(np.arange(ahead.attempt_rows + 1, ahead.attempt_rows + 1 + len(ahead)) % LOOK == 0)

    def pass_over(self, ahead: Outlook, at: int, upto: int) -> None:
        """Collect."""
        norms = ahead.measured("grad_norm")
        if norms is not None:
            i, j = norms.within(at, upto)
            self.norms.extend(norms.plain[i:j])
            self.over.extend(self.ahead[i:j])

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share, verb = number(100 * n["share"]), "were" if over else "are"
        if n["cut"]:
            headline = "Clipping cuts nearly every step"
            why = (f"{share} % of {ROWS} gradient norms {verb} above twice the limit {number(n['limit'])} (usual "
                   f"{number(n['norm'])}): the limit sets the size of the steps, not the gradient.")
            advice: tuple[str, ...] = (
                f"raise the clip limit to about {number(n['norm'])}, or go on knowing that it normalises",
                "judge the learning rate by the update ratio",
            )
        else:
            headline = "Gradient norm is logged after clipping"
            why = (f"{share} % of {ROWS} gradient norms {verb} at the same ceiling, {number(n['limit'])}: that is the "
                   "norm after clipping, and an explosion would not show.")
            advice = ("log what clip_grad_norm_ returns: the norm before clipping",)
        if over:
            why += f" No longer so by step {count(episode.last)}."
        return Story(headline, why, advice, (Evidence("grad_norm", n["norm"], n["limit"]),), "clipped")
