"""clip-saturated (T120): clipping cuts nearly every step, or the logged gradient norm is the clipped one.

Symptom: the gradient norm is above the clip limit at nearly every step; or it sits at one and the same ceiling.

Why it happens: the limit is far below what is usual for this model and batch, so that clipping acts as a normaliser and
the limit, not the gradient, sets the size of the steps. Or the norm is logged after clipping, which hides explosions.

What to try: log the norm before clipping (clip_grad_norm_ returns it); raise the limit to about the usual norm, or know
that the learning rate is what matters now. With SGD a gradient that is cut to a hundredth is a learning rate a hundred
times lower; Adam and its like take the size of gradients out again.

Confused with: training on purpose with normalised gradients; the first steps, where norms are large.

Rule: after the first 100 rows, of the last 256 norms more than 90 % above twice the limit in force, or the last 64 all
above ten times it; or at least 80 % within 0.5 % of their own maximum. For information only. The onset is the first of
the norms above twice the limit, not interrupted by eight in a row that are not. Over when less than half are.

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
from tuimon.diagnosis.wording import count, fold, number
from tuimon.record.chunk import Bools

ROWS = 256
LOOK = 64
"""Rows between two looks."""
FAR = 10.0
"""Times the limit beyond which a short stretch is enough."""
GAP = 8
"""Norms in a row that are not cut, and end a stretch of those that are."""


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
        self.cut_since: int | None = None
        """The first step of the stretch in which norms are cut."""
        self.uncut = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A window of norms."""
        if "grad_norm" in now.seen and len(self.norms) < ROWS:
            return (f"{ROWS} values of grad_norm after the first {EARLY}",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Collect; look now and then."""
        grad = now.grad
        if grad is None or not 0 < grad < math.inf:
            return
        limit = now.value("clipped")
        over = limit is not None and grad > 2 * limit > 0
        self._learn(now.step, over=over)
        if now.attempt_rows <= EARLY:
            return
        self.norms.append(grad)
        self.over.append(over)
        if now.attempt_rows % LOOK or len(self.norms) < LOOK:
            return
        norms = np.array(self.norms)
        top, cut = float(norms.max()), sum(self.over) / len(norms)
        ceiling = int((norms >= 0.995 * top).sum()) / len(norms)
        is_cut = cut > 0.9 and (len(norms) == ROWS or (limit is not None and bool((norms[-LOOK:] > FAR * limit).all())))
        if self.episode:
            n = self.episode.numbers
            n["share"], n["of"] = cut if n["cut"] else ceiling, len(norms)
            if n["share"] < 0.5:
                self.close(now)
        elif is_cut or (len(norms) == ROWS and ceiling >= 0.8 and min(self.norms) < 0.99 * top):  # a constant series is
            since = self.cut_since if is_cut else None                                            # another matter
            self.open(now, max(1, now.step - ROWS) if since is None else since, "info", "high",
                      share=cut if is_cut else ceiling, cut=float(is_cut), of=len(norms),
                      norm=float(np.sort(norms)[len(norms) // 2]), limit=limit if limit is not None else top)

    def _learn(self, step: int, *, over: bool) -> None:
        """See whether the stretch goes on in which norms are cut."""
        self.uncut = 0 if over else self.uncut + 1
        if over and self.cut_since is None:
            self.cut_since = step
        elif self.uncut >= GAP:
            self.cut_since = None

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
            over = self.ahead[i:j]
            self.over.extend(over)
            if not any(over):
                self.uncut += j - i
                self.cut_since = None if self.uncut >= GAP else self.cut_since
            else:
                for step, is_over in zip(norms.step_list[i:j], over, strict=True):
                    self._learn(step, over=is_over)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share, verb = number(100 * n["share"]), "were" if over else "are"
        norms = f"{count(int(n['of']))} gradient norms"
        if n["cut"]:
            headline = "Clipping cuts nearly every step"
            why = (f"{share} % of {norms} {verb} above twice the limit {number(n['limit'])} "
                   f"(usual {number(n['norm'])}): the limit sets the size of the steps, not the gradient.")
            if self.context.follows_gradients and not over:
                times = n["norm"] / n["limit"]
                why += f" With {self.context.optimizer} that is like a learning rate {fold(times)} lower."
            advice: tuple[str, ...] = (
                f"raise the clip limit to about {number(n['norm'])}, or go on knowing that it normalises",
                "judge the learning rate by the update ratio",
            )
        else:
            headline = "Gradient norm is logged after clipping"
            why = (f"{share} % of {norms} {verb} at the same ceiling, {number(n['limit'])}: that is the "
                   "norm after clipping, and an explosion would not show.")
            advice = ("log what clip_grad_norm_ returns: the norm before clipping",)
        if over:
            why += f" No longer so by step {count(episode.last)}."
        return Story(headline, why, advice, (Evidence("grad_norm", n["norm"], n["limit"]),), "clipped")
