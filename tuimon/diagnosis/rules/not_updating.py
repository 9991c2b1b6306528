"""not-updating (T116): gradients arrive, and the weights stay exactly where they are.

Symptom: after optimizer.step() a layer's weights are bit for bit what they were, although it has a gradient.

Why it happens: the layer is in a group with learning rate zero; a schedule has ended; the step is too small for the
precision of the weights, so that it rounds away; the optimizer works on copies that are never written back.

What to try: print the learning rate of each parameter group; keep float32 master weights; check that the optimizer was
made from this model's parameters, after it was moved or wrapped.

Confused with: steps that a GradScaler skips; a warm-up that begins at zero; weights that are all zero, whose relative
change cannot be told.

Rule: a layer whose every measured tensor moved by exactly nothing at five measured steps in a row, with a gradient each
time and a learning rate above zero. An exact test: no statistics. For information where weights are in half precision
and the learning rate has decayed below 30 % of its peak: the last steps of such a run are too small for gains near 1.

Source: reference 2.15.
"""

from __future__ import annotations

import numpy as np

from tuimon.diagnosis.layers import Profile, Profiles
from tuimon.diagnosis.limits import HALF
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, rate
from tuimon.record.chunk import Bools, Ints

ROWS = 5


class NotUpdating(Rule):
    """T116."""

    slug, code, category, needs = "not-updating", "T116", "layers", ("tensors",)
    wakes = follows = 0

    def clear(self) -> None:
        """No layer is under suspicion."""
        self.since: dict[int, tuple[int, int]] = {}
        """Layer -> first step and rows of its stretch without a change."""
        self.measured = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Per-tensor changes of the weights."""
        if not now.tensor_rows:
            return ("per-tensor gradients",)
        return () if self.measured >= ROWS or self.episode else (f"{ROWS} measured updates per tensor",)

    def profile(self, row: Profile, now: Signals) -> None:
        """Look for layers that do not move."""
        if now.skipped or now.lr == 0 or not np.isfinite(row.update).any():
            return
        self.measured += 1
        still = [i for i, where in enumerate(now.layers.tensors) if is_still(row, where)]
        self.since = {i: (self.since.get(i, (row.step, 0))[0], self.since.get(i, (0, 0))[1] + 1) for i in still}
        convicted = [i for i, (_, rows) in self.since.items() if rows >= ROWS]
        if not convicted:
            if self.episode:
                self.close(now)
            return
        if self.episode is None:
            fading = now.rates.decayed and not set(HALF).isdisjoint(self.context.dtypes)
            self.open(now, min(self.since[i][0] for i in convicted), "info" if fading else "warning", "high")
        assert self.episode is not None
        self.episode.layer = now.layers.names[max(convicted)]
        self.episode.numbers |= {"layers": float(len(convicted)), "of": float(len(now.layers.tensors))}

    def unusual(self, rows: Profiles) -> Bools | None:
        """Those in which some tensor did not move."""
        return np.asarray((rows.rows.update == 0).any(1)) if self.episode is None else None

    def pass_profiles(self, rows: Profiles, i: int, j: int) -> None:
        """No layer is under suspicion any more, as soon as updates were measured."""
        measured = int(np.isfinite(rows.rows.update[i:j]).any(1).sum())
        if measured:
            self.measured += measured
            self.since = {}

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        others = int(n["layers"]) - 1
        if n["layers"] == n["of"]:
            who = f"No weight at all {'moved' if over else 'moves'}"
        else:
            more = f" and {count(others)} more layers" if others else ""
            who = f"{episode.layer}{more} {'did' if over else 'do' if others else 'does'} not move"
        why = f"{who} at any measured step since step {count(episode.onset)}, although gradients arrive."
        if over:
            why += f" It moves again by step {count(episode.last)}."
        lr = n.get("lr")
        rates = "" if lr is None else f" (the first has {rate(lr)})"
        return Story(
            "Weights do not move", why,
            (f"check the learning rate of each parameter group{rates}",
             "keep float32 master weights: steps this small may round away",
             "make the optimizer from this model's parameters, after moving or wrapping it"),
            (Evidence("update_ratio", 0.0, 0.0),), "not moving",
        )


def is_still(row: Profile, where: Ints) -> bool:
    """Whether none of these tensors moved, as far as that was measured, and one of them had a gradient."""
    moved, grad = row.update[where], row.grad[where]
    known = np.isfinite(moved)
    return bool(known.any() and (moved[known] == 0).all() and (grad[known] > 0).any())
