"""vanishing-gradients (T112): gradients fade on their way back through the layers; early layers do not learn.

Symptom: the gradient of a layer is a thousand times smaller than that of the others, while the global norm looks
ordinary.

Why it happens: a product of Jacobians whose norms are below 1: sigmoid or tanh activations, weights drawn too
small, no residual connections, no normalisation, great depth.

What to try: residual connections and normalisation before each block; a larger initial scale; GELU or ReLU instead of
sigmoid; fewer layers. If only Adam's epsilon is in the way (RMS near it), lower it to 1e-15.

Confused with: a pre-norm profile, where the first layer's gradient is 3 to 5 times that of the last; a frozen or
detached layer, whose gradient is exactly zero although its neighbour's is not; late training, where all gradients
are small; a low global norm, which says nothing about depth.

Rule: over per-layer gradient RMS, on five per-tensor rows in a row: below 1e-3 of the median over layers, or below ten
times Adam's epsilon (critical); more than two decades below the layer's own level of its steps 50 to 150, beyond what
the median over layers has fallen (warning). No false alarm on 21 other small GPT runs that have per-layer gradients and
are not labelled so.

Source: reference 2.6.
"""

from __future__ import annotations

import numpy as np

from tuimon.diagnosis.layers import Profile, Profiles, cut_off
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rule import CLEAN, Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number
from tuimon.record.chunk import Bools, Floats

ROWS = 5
"""Per-tensor rows in a row."""
SHARE = 1e-3
FADED = 1e-2
SETTLED = 150
"""The last step that a layer's own level is learned from."""


class VanishingGradients(Rule):
    """T112."""

    slug, code, category, needs = "vanishing-gradients", "T112", "gradients", ("tensors",)
    wakes = follows = 0

    def clear(self) -> None:
        """No streaks; the layers' own levels are learned anew."""
        self.streak: Floats | None = None
        self.warned: Floats | None = None
        self.since: dict[int, int] = {}
        self.early: list[Floats] = []
        self.level: Floats | None = None
        """Their median, when it was last asked for."""
        self.rows = 0
        self.clean_from = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Per-tensor rows, and the table that groups them into layers."""
        if not now.tensor_rows:
            return ("per-tensor gradients",)
        if len(now.layers.names) < 3:
            return ("three or more layers",)
        return () if self.rows >= ROWS or self.episode else (f"{ROWS} rows of per-tensor gradients",)

    def profile(self, row: Profile, now: Signals) -> None:
        """Look for layers that have faded."""
        rms = row.rms
        known = np.isfinite(rms)
        if len(rms) < 3 or known.sum() < 3:
            return
        self.rows += 1
        middle = float(np.median(rms[known]))
        cut = cut_off(rms, SHARE * max(middle, float(np.nanmax(rms))))
        with np.errstate(all="ignore"):
            dead = known & (rms < SHARE * middle) & ~cut
            if self._is_adam():
                dead |= known & (rms < 10 * float(self.context.eps or 0)) & ~cut
            faded = known & self._faded(row, middle) & (rms > 0)
        if self.streak is None or self.warned is None:
            self.streak, self.warned = np.zeros(len(rms)), np.zeros(len(rms))
        for i in np.flatnonzero((dead | faded) & (self.warned == 0)):
            self.since[int(i)] = row.step
        self.streak = np.where(dead, self.streak + 1, 0)
        self.warned = np.where(dead | faded, self.warned + 1, 0)
        self._judge(rms, middle, now, row.step)

    def unusual(self, rows: Profiles) -> Bools | None:
        """Those in which a layer comes within twice of a limit or has no gradient; all while levels are learned."""
        if self.episode is not None or rows.rms.shape[1] < 3 or rows.rows.steps[0] <= SETTLED:
            return None
        rms = rows.rms
        with np.errstate(all="ignore"):
            middles = np.sort(rms, axis=1)[:, rms.shape[1] // 2, None]
            found = ~np.isfinite(rms) | (rms < 2 * SHARE * middles)
            if self._is_adam():
                found |= rms < 2 * 10 * float(self.context.eps or 0)
            if len(self.early) >= 3:
                found |= rms < 2 * self._limits(middles)
        return np.asarray(found.any(1))

    def pass_profiles(self, rows: Profiles, i: int, j: int) -> None:
        """No layer fades."""
        self.rows += j - i
        shape = rows.rms.shape[1]
        self.streak, self.warned = np.zeros(shape), np.zeros(shape)

    def _is_adam(self) -> bool:
        return bool(self.context.eps) and (self.context.optimizer or "Adam").lower().find("adam") >= 0

    def _judge(self, rms: Floats, middle: float, now: Signals, step: int) -> None:
        assert self.streak is not None
        assert self.warned is not None
        dying = np.flatnonzero(self.warned >= ROWS)
        if len(dying) == 0:
            if self.episode:
                self.clean_from = self.clean_from or step
                self.episode.clean += 1
                if self.episode.clean >= ROWS and step - self.clean_from >= CLEAN:
                    self.close(now)
            return
        self.clean_from = 0
        worst = int(dying[np.argmin(rms[dying])])
        critical = bool((self.streak >= ROWS).any())
        onset = min(self.since[int(i)] for i in dying)
        if self.episode is None:
            self.open(now, onset, "critical" if critical else "warning", "medium")
        elif critical:
            self.worsen(now, self.episode.confidence)
        assert self.episode is not None
        below_eps = bool(self.context.eps) and float(rms[worst]) < 10 * float(self.context.eps or 0)
        if critical and below_eps:
            self.episode.confidence = "high"
        self.episode.clean = 0
        level = float(rms[worst])
        self.episode.blame(now.layers.names[worst], -level, rms=level, middle=middle, layers=float(len(dying)),
                           of=float(len(rms)), below_eps=float(below_eps))

    def _faded(self, row: Profile, middle: float) -> Bools:
        """More than two decades below the layer's own early level, over and above the common fall."""
        if 50 <= row.step <= SETTLED:
            self.early.append(np.append(row.rms, middle))
            self.level = None
        if row.step <= SETTLED or len(self.early) < 3:
            return np.zeros(len(row.rms), np.bool_)
        return np.asarray(row.rms < self._limits(np.array(middle)), np.bool_)

    def _limits(self, middles: Floats) -> Floats:
        if self.level is None:
            self.level = np.median(np.stack(self.early), 0)
        limits: Floats = FADED * np.minimum(1.0, middles / max(self.level[-1], 1e-300)) * self.level[:-1]
        return limits

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        level = n["rms"]
        share = (
            f"{number(level / n['middle'])} of the median over layers" if n["middle"] > 0 else "and so are the others"
        )
        why = (
            f"The gradient of {episode.layer} {'was' if over else 'is'} {number(level)} (RMS), {share} "
            f"({number(n['middle'])}); {count(int(n['layers']))} of {count(int(n['of']))} layers fade."
        )
        if n["below_eps"]:
            eps = number(float(self.context.eps or 0))
            why += f" That is below ten times Adam's epsilon ({eps}): the layer hardly moves."
        if over:
            why += f" Back among the others by step {count(episode.last)}."
        advice = (
            "add residual connections and normalise before each block",
            "draw the weights larger (0.02 rather than 0.001), or use GELU or ReLU instead of sigmoid or tanh",
            "use fewer layers",
            *(("lower Adam's epsilon to 1e-15",) if n["below_eps"] else ()),
        )
        return Story(
            "Vanishing gradients",
            why,
            advice,
            (Evidence("layer_grad_rms", level, SHARE * n["middle"], n["middle"]),),
            "vanishing",
        )
