"""plateau (T107): the loss has stopped falling, and that is not for want of looking.

Symptom: over a long stretch the loss has moved by less than half a percent, with 99 % confidence.

Why it happens: one of three. Converged: the validation loss is flat as well; model, data and learning rate give no
more. Standing still: the updates are too small to matter (a ratio below 1e-5): the learning rate, or the precision of
the weights. Stalled: the weights move as they should, and it helps nothing: the learning rate is too high for the
end-game, or the model too small. A fourth, a loss that never fell at all, is no-learning.

What to try: decay the learning rate; look at the validation loss; stop here, if both are flat.

Confused with: noise in which progress hides, so the test asks how much may hide; the end of a decay, where a plateau is
meant; a run that never learned anything, which is no-learning.

Rule: an equivalence test. The slope of the means of 16 losses over a window, and its 99 % bounds: both within half a
percent of the loss over the window, in three looks in a row half a window apart. The window is what the noise asks for,
12 (2.33 sigma / (0.005 loss))^2 steps, at least 1,000. Not during warm-up, not after the learning rate has decayed
below 30 % of its peak. For information where the run has converged or its end is unknown or near (95 %), else a
warning.

Source: reference 2.4.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import BLOCK
from tuimon.diagnosis.rule import Episode, Rule, Story, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import Blocks, slope
from tuimon.diagnosis.wording import count, number

EQUAL = 0.005
"""Share of the loss within which it counts as not having moved."""
FEWEST = 1000
LOOKS = 3
BOUND = 2.33
"""Standard errors of a one-sided bound at 99 %."""
STILL = 1e-5
"""Update ratio below which weights do not move enough to matter."""
FEW_RATIOS = 20
VALIDATIONS = 5
FLAT = 0.02
"""Share of the validation loss within which that counts as flat: it is measured far more rarely."""
Kind = Literal["stalled", "standing still", "converged", "unknown"]
KINDS: Final[tuple[Kind, ...]] = ("unknown", "stalled", "standing still", "converged")


class Plateau(Rule):
    """T107."""

    slug, code, category, needs = "plateau", "T107", "loss", ("loss",)
    wakes = follows = BLOCK

    def clear(self) -> None:
        """No look yet."""
        self.flat = 0
        self.next = 0
        self.window = FEWEST
        self.first = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """As many losses as the noise asks for."""
        if "loss" in now.seen and now.loss_rows < self.window:
            return (f"{count(self.window - now.loss_rows)} more values of loss, to tell a plateau from noise",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Look every half window."""
        base, means = now.loss_base, now.blocks.means
        if not now.block_full or not math.isfinite(base.scale):
            return
        level = abs(base.middle)
        noise = BOUND * base.scale / (EQUAL * level) if level > 1e-9 * base.scale else math.inf
        self.window = int(min(max(FEWEST, 12 * min(noise, 1e4) ** 2), 1e7))
        if now.loss_rows < max(self.window, self.next):
            return
        if now.rates.warming or now.rates.decayed:
            self._forget(now)
            return
        size = self.window // Blocks.SIZE
        rise, error = slope(means[-size:])
        moved, doubt = rise * size, BOUND * error * size
        level = abs(sum(means[-size:])) / size
        self.next = now.loss_rows + self.window // 2
        if abs(moved) + doubt >= EQUAL * level:
            self._forget(now)
            return
        self.first = self.first if self.flat else now.blocks.steps[-size]
        self.flat += 1
        if self.flat < LOOKS:
            return
        kind = self._kind(now)
        if self.episode is None:
            self.open(now, self.first, "info", "medium")
        assert self.episode is not None
        if kind != "converged" and self._is_far_from_its_end(now):
            self.episode.severity = "warning"
        self.episode.numbers |= {
            "level": level, "hidden": (abs(moved) + doubt) / level, "steps": float(now.step - self.first),
            "kind": float(KINDS.index(kind)), "ratio": 10 ** now.ratio_ewma.value,
            "val": now.validations[-1][1] if now.validations else math.nan,
        }

    def _forget(self, now: Signals) -> None:
        self.flat = 0
        if self.episode:
            self.close(now)

    def _kind(self, now: Signals) -> Kind:
        values = [v for step, v in now.validations if step >= self.first and math.isfinite(v)]
        if len(values) >= VALIDATIONS:
            rise, error = slope(values)
            if (abs(rise) + BOUND * error) * len(values) < FLAT * abs(values[-1]):
                return "converged"
        if now.ratio_ewma.count < FEW_RATIOS:
            return "unknown"
        return "standing still" if now.ratio_ewma.value < math.log10(STILL) else "stalled"

    def _is_far_from_its_end(self, now: Signals) -> bool:
        total = self.context.total_steps
        return total is not None and now.step < 0.95 * total

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        kind = KINDS[int(n["kind"])]
        why = (f"Loss {'stood' if over else 'stands'} at {number(n['level'])}: over {count(int(n['steps']))} steps it "
               f"moved by less than {number(100 * n['hidden'])} % (99 % bound).")
        reason, headline, advice = _told(kind, n, rate_cut(episode, 3.0))
        why = f"{why} {reason}".strip()
        if over:
            why += f" It moves again, or the learning rate decays, by step {count(episode.last)}."
        return Story(headline, why, advice, (Evidence("loss", n["hidden"], EQUAL, n["level"]),), "plateau")


def _told(kind: Kind, n: dict[str, float], cut: str) -> tuple[str, str, tuple[str, ...]]:
    """What kind of plateau it is, why, and what to do."""
    if kind == "converged":
        return (f"The validation loss is flat as well ({number(n['val'])}).", "Loss has converged",
                ("stop here, or decay the learning rate to zero for the last of it",
                 "for more: a larger model, or more data"))
    if kind == "standing still":
        return (f"The weights hardly move (update ratio {number(n['ratio'])}).", "Loss on a plateau: standing still",
                ("raise the learning rate tenfold, and watch the update ratio: 1e-3 or so is a good sign",
                 "keep the weights in float32: steps this small round away in half precision"))
    if kind == "stalled":
        return (f"The weights move as usual (update ratio {number(n['ratio'])}).", "Loss on a plateau: stalled",
                (f"{cut}: a decay often releases progress", "look at the validation loss",
                 "or a larger model, or more data"))
    return ("", "Loss on a plateau",
            ("look at the validation loss: if it is flat as well, this run has converged",
             f"{cut}: a decay often releases progress", "or a larger model, or more data"))
