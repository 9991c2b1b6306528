"""detached-layer (T117): layers that training does not reach: no gradient at all, step after step.

Symptom: the gradient of some trained layers is exactly zero, or absent, while the layers behind them have one. The loss
falls all the same, only less far.

Why it happens: a detach(), .data, .item() or no_grad() in the middle of the model; an output that the loss does not
use; a branch that is never taken; a gate or an initial value of exactly zero.

What to try: look at what stands between the layer named and the one behind it; leave out of the optimizer what is meant
to be frozen, or set requires_grad to False before attaching.

Confused with: layers that are frozen on purpose; experts that get no tokens; adapters whose first gradient is zero;
gradients that fade until they underflow, which is vanishing-gradients.

Rule: all tensors of a layer without a gradient, or with one of exactly zero and the neighbour behind it ordinary, over
20 steps and at least three per-tensor rows. An exact test: no statistics. The layer named is the one nearest the
output.

Source: reference 2.15.
"""

from __future__ import annotations

import numpy as np

from tuimon.diagnosis.layers import Profile, Profiles, cut_off
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count
from tuimon.record.chunk import Bools

STEPS = 20
ROWS = 3
SHARE = 1e-3
IDLE = "expert"
"""In the name of a layer that may well be without work for a while."""


class DetachedLayer(Rule):
    """T117."""

    slug, code, category, needs = "detached-layer", "T117", "layers", ("tensors",)
    wakes = follows = 0

    def clear(self) -> None:
        """No layer is under suspicion."""
        self.since: dict[int, tuple[int, int]] = {}
        """Layer -> first step and rows of its stretch without a gradient."""
        self.rows = 0
        self.behind = ""
        """The layer behind the cut; "" where that is the loss."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Per-tensor rows, and the table that groups them into layers."""
        if not now.tensor_rows:
            return ("per-tensor gradients",)
        if len(now.layers.names) < 2:
            return ("two or more layers",)
        return () if self.rows >= ROWS or self.episode else (f"{ROWS} rows of per-tensor gradients",)

    def profile(self, row: Profile, now: Signals) -> None:
        """Look for layers without a gradient."""
        rms = row.rms
        if now.skipped or not (rms > 0).any():
            return
        self.rows += 1
        missing = np.array([not row.seen[where].any() for where in now.layers.tensors])
        absent = missing & self.context.misses_mean_none
        largest = float(np.max(rms, initial=0.0, where=np.isfinite(rms)))
        dead = absent | cut_off(np.where(absent, 0.0, rms), SHARE * largest)
        found = [i for i in np.flatnonzero(dead).tolist() if IDLE not in now.layers.names[i]]
        self.since = {i: (self.since.get(i, (row.step, 0))[0], self.since.get(i, (0, 0))[1] + 1) for i in found}
        convicted = [i for i, (first, rows) in self.since.items() if rows >= ROWS and row.step - first >= STEPS]
        if not convicted:
            if self.episode:
                self.close(now)
            return
        top = max(convicted)
        onset = min(self.since[i][0] for i in convicted)
        if self.episode is None:
            self.open(now, onset, "warning", "high")
        assert self.episode is not None
        self.episode.layer = now.layers.names[top]
        self.episode.numbers |= {"layers": float(len(convicted)), "of": float(len(rms)), "absent": float(absent[top])}
        self.behind = now.layers.names[top + 1] if top + 1 < len(rms) else ""

    def unusual(self, rows: Profiles) -> Bools | None:
        """Those in which a layer has no gradient or one of zero."""
        return np.asarray(~(rows.rms > 0).all(1)) if self.episode is None else None

    def pass_profiles(self, rows: Profiles, i: int, j: int) -> None:
        """No layer is under suspicion any more."""
        del rows
        self.rows += j - i
        self.since = {}

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        others = int(n["layers"]) - 1
        more = f" and {count(others)} more" if others else ""
        kind = "no gradient" if n["absent"] else "a gradient of exactly zero"
        verb = "had" if over else "have" if others else "has"
        why = f"{episode.layer}{more} of {count(int(n['of']))} layers {verb} {kind} since step {count(episode.onset)}"
        why += f", while {self.behind}, right behind, has an ordinary one." if self.behind else "."
        if over:
            why += f" Reached again by step {count(episode.last)}."
        look = f"look between {episode.layer} and {self.behind}" if self.behind else "look at how the loss is computed"
        return Story(
            "Layers cut off from training", why,
            (f"{look}: is there a detach(), .data or no_grad()?",
             "if they are meant to be frozen, set requires_grad_(False) on them before attaching",
             "check that their output is used by the loss"),
            (Evidence("layer_grad_norm", 0.0, 0.0),), "cut off",
        )
