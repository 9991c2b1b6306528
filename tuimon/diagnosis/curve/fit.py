"""Two laws of descent through a curve, by profile likelihood: L = a + b exp(-t/tau) and L = a + b (t + c)^-alpha.

Given tau, or alpha and c, the rest is a weighted straight-line fit in closed form, so the search is a grid that
zooms in, and what the grid shows around its lowest point is the interval. Noise is taken as white within a block
(measured: lag-1 autocorrelation of language-model losses is -0.04 to 0.00); what the law misses beyond that shows as
autocorrelation of block residuals and widens the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.curve.model import Fit, Form, Interval, Laws
from tuimon.diagnosis.curve.points import Blocks, blocks_of
from tuimon.record.chunk import Floats

LEAST: Final = 24
"""Points before a law is fitted."""
ALPHA: Final = (0.05, 4.0)
"""Searched exponents."""
GAIN: Final = 6.0
"""Difference of the Bayesian information criterion that decides ("strong evidence" on the usual scale)."""
ZOOMS: Final = 6
OFFSETS: Final = 13


@dataclass(frozen=True, slots=True)
class _Profile:
    """The lowest weighted sum of squares over the inner parameters, for each value of the constant."""

    constants: Floats
    sse: Floats
    offsets: Floats
    """(G,) the offset at which each was reached; ones for the exponential."""

    @property
    def best(self) -> int:
        """Index of the lowest."""
        return int(self.sse.argmin())

    def below(self, limit: float) -> tuple[float, float]:
        """The stretch of constants around the lowest point with a sum under `limit`, its ends interpolated."""
        over = self.sse > limit
        left = int(np.flatnonzero(over[: self.best])[-1]) if over[: self.best].any() else -1
        after = np.flatnonzero(over[self.best :])
        right = self.best + int(after[0]) if len(after) else len(over)
        log = np.log(self.constants)

        def crossing(outside: int, inside: int) -> float:
            share = (limit - self.sse[inside]) / (self.sse[outside] - self.sse[inside])
            return math.exp(log[inside] + share * (log[outside] - log[inside]))

        low = crossing(left, left + 1) if left >= 0 else float(self.constants[0])
        high = crossing(right, right - 1) if right < len(over) else float(self.constants[-1])
        return low, high


def fit_laws(steps: Floats, losses: Floats, noise: float) -> Laws:
    """Fit both to one stretch (clipped losses) and say which describes it."""
    n = len(steps)
    if n < LEAST:
        return Laws(None, None, None, f"a law of descent needs {LEAST} points, there are {n}")
    if not noise > 0:
        return Laws(None, None, "neither", "the loss does not change")
    blocks = blocks_of(steps, losses)
    t = blocks.steps - steps[0]
    span = float(t[-1])
    line = float(_sse(t[None, :] / span, blocks)[0])
    found = {form: _fit(form, t, blocks, float(steps[0]), noise) for form in ("exponential", "power")}
    exponential, power = found["exponential"], found["power"]
    if exponential is None and power is None:
        return Laws(None, None, "neither", "the loss does not fall")
    return _compare(exponential, power, line, blocks, noise)


def _sse(shapes: Floats, blocks: Blocks) -> Floats:
    """(G, B) shapes -> (G,) weighted squares that remain after the best a + b shape."""
    w = blocks.counts / blocks.counts.sum()
    y = blocks.losses - float(w @ blocks.losses)
    centred = shapes - (shapes @ w)[:, None]
    cross = centred @ (w * y)
    power = (centred * centred) @ w
    explained = np.where(power > 1e-300, cross**2 / np.maximum(power, 1e-300), 0.0)
    out: Floats = np.maximum((float(w @ (y * y)) - explained), 0.0) * blocks.counts.sum()
    return out


def _shape(form: Form, t: Floats, constant: Floats, offset: Floats) -> Floats:
    """(G,) constants and offsets -> (G, B), 1 at t = 0."""
    if form == "exponential":
        return np.exp(-t[None, :] / constant[:, None])
    return np.exp(-constant[:, None] * np.log1p(t[None, :] / offset[:, None]))


def _lowest(form: Form, t: Floats, blocks: Blocks, constants: Floats, step: float) -> _Profile:
    """For each constant the lowest sum of squares; for the power law, over an offset that zooms in for each apart."""
    ones = np.ones(len(constants))
    if form == "exponential":
        return _Profile(constants, _sse(_shape(form, t, constants, ones), blocks), ones)
    low, high = math.log(step / 4), math.log(10 * float(t[-1]))
    middle, half = np.full(len(constants), (low + high) / 2), (high - low) / 2
    for _ in range(6):
        offsets = np.clip(middle[:, None] + np.linspace(-half, half, OFFSETS)[None, :], low, high)
        shapes = _shape(form, t, np.repeat(constants, OFFSETS), np.exp(offsets.ravel()))
        sse = _sse(shapes, blocks).reshape(offsets.shape)
        pick = sse.argmin(axis=1)
        middle = np.take_along_axis(offsets, pick[:, None], 1)[:, 0]
        half *= 2.5 / (OFFSETS - 1)
    return _Profile(constants, sse.min(axis=1), np.exp(middle))


def _profile(form: Form, t: Floats, blocks: Blocks, level: float) -> _Profile:
    """Zoom in until the constants whose profile lies below `(1 + level)` times its lowest point are well resolved."""
    step = float(np.median(np.diff(t[: max(3, len(t) // 8)])))
    low, high = (step / 4, 30 * float(t[-1])) if form == "exponential" else ALPHA
    for _ in range(ZOOMS):
        found = _lowest(form, t, blocks, np.geomspace(low, high, 30), step)
        inside = np.flatnonzero(found.sse <= found.sse[found.best] * (1 + 1.5 * level) + 1e-300)
        first, last = max(0, int(inside[0]) - 1), min(len(found.sse) - 1, int(inside[-1]) + 1)
        if last - first >= 12:
            break
        low, high = float(found.constants[first]), float(found.constants[last])
    return found


def _fit(form: Form, t: Floats, blocks: Blocks, origin: float, noise: float) -> Fit | None:
    extra = 3 if form == "exponential" else 4
    free = max(1, len(t) - extra)
    profile = _profile(form, t, blocks, 3.84 / free)
    constant, offset = float(profile.constants[profile.best]), float(profile.offsets[profile.best])
    shape = _shape(form, t, np.array([constant]), np.array([offset]))[0]
    w = blocks.counts / blocks.counts.sum()
    mean, middle = float(w @ shape), float(w @ blocks.losses)
    spread = float(w @ (shape - mean) ** 2)
    if spread <= 0:
        return None
    b = float(w @ ((shape - mean) * (blocks.losses - middle))) / spread
    a = middle - b * mean
    if b <= 0:
        return None
    rest = blocks.losses - a - b * shape
    level = 3.84 / free * _inflation(rest * np.sqrt(blocks.counts))
    if level > 5 / free:
        profile = _profile(form, t, blocks, level)
    interval = _open(form, *profile.below(float(profile.sse[profile.best]) * (1 + level)), t)
    excess = float(w @ (rest * rest)) - noise**2 * len(t) / float(blocks.counts.sum())
    if form == "power":
        b *= offset**constant
    return Fit(form, constant, interval, a, b, offset if form == "power" else 0.0, origin, math.sqrt(max(0.0, excess)))


def _open(form: Form, low: float, high: float, t: Floats) -> Interval:
    """Ends that lie at the edge of what was searched are open."""
    if form == "exponential":
        return Interval(0.0 if low < np.diff(t).min() / 3 else low, math.inf if high > 29 * float(t[-1]) else high)
    return Interval(0.0 if low < ALPHA[0] * 1.02 else low, math.inf if high > ALPHA[1] * 0.98 else high)


def _inflation(rest: Floats) -> float:
    """By how much autocorrelated residuals shrink their number: (1 + r) / (1 - r), at least 1."""
    r = float(rest[1:] @ rest[:-1]) / max(float(rest @ rest), 1e-300)
    r = min(max(r, 0.0), 0.95)
    return (1 + r) / (1 - r)


def _compare(exponential: Fit | None, power: Fit | None, line: float, blocks: Blocks, noise: float) -> Laws:
    n = len(blocks.losses)
    w = blocks.counts
    scores: dict[Form, float] = {}
    falls: dict[Form, float] = {}
    repeat = math.inf
    for fit in (exponential, power):
        if fit is None:
            continue
        values = fit.at(blocks.steps)
        rest = (blocks.losses - values) * np.sqrt(w)
        repeat = min(repeat, _inflation(rest))
        scores[fit.form] = float(rest @ rest)
        falls[fit.form] = float(values[0] - values[-1])
    effective = n / repeat
    floor = noise**2 * 1e-6

    def criterion(sse: float, parameters: int) -> float:
        return effective * math.log(max(sse / n, floor)) + parameters * math.log(max(effective, 2.0))

    judged = {form: criterion(sse, 3 if form == "exponential" else 4) for form, sse in scores.items()}
    best = min(judged, key=judged.__getitem__)
    chosen = exponential if best == "exponential" else power
    assert chosen is not None
    if judged[best] > criterion(line, 2) - GAIN:
        fall = _line_fall(blocks)
        if math.sqrt(max(0.0, line / float(w.sum()) - noise**2 * n / float(w.sum()))) > max(0.5 * noise, 0.05 * fall):
            return Laws(exponential, power, "neither", "both laws miss its shape, and so does a straight line")
        return Laws(exponential, power, "line", "a straight line describes it as well")
    if chosen.misfit > max(0.5 * noise, 0.05 * falls[best]):
        return Laws(exponential, power, "neither", "both laws miss its shape")
    if len(judged) == 2 and abs(judged["exponential"] - judged["power"]) < GAIN:
        return Laws(exponential, power, "either", "the data do not tell the two laws apart")
    return Laws(exponential, power, best, "clearly closer to the curve than the other")


def _line_fall(blocks: Blocks) -> float:
    """By how much the least-squares line through the blocks moves over the stretch, whichever way."""
    w = blocks.counts / blocks.counts.sum()
    t = blocks.steps - float(w @ blocks.steps)
    slope = float(w @ (t * blocks.losses)) / max(float(w @ (t * t)), 1e-300)
    return abs(slope) * float(blocks.steps[-1] - blocks.steps[0])
