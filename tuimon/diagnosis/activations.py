"""What sampled forward passes tell of a run, lately and against its own beginning. Pure but for what it remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.statistics import median
from tuimon.record.chunk import Chunk
from tuimon.record.metrics import METRICS
from tuimon.record.probes import QUANTITIES, ProbeEntry, ProbeLayers

LASTING: Final = 3
"""Sampled rows in a row: one sample tells of its batch."""
EARLY: Final = 5
"""The first rows, which tell where the run began."""
RECENT: Final = 20
"""Rows over which growth is judged."""
LOUD: Final = 100.0
"""Attention logit from which on the softmax is nearly a choice; QK-clip's limit. The bound from norms that is measured
is 1.9 to 2.1 times the largest logit at initialisation; from logits of 5 on 1.1 times in the median, 1.3 at the 95th
percentile and 4.8 at most (the demo's GPT at learning rates of 3e-4 to 1e-1, 449 values)."""
FLAT: Final = 0.05
"""Share of its maximum below which the entropy of an attention has collapsed."""
DEAD: Final = 0.9
"""Share of silent units above which a layer hardly computes anything."""
SETTLING: Final = 200
"""Steps after the first row in which units may fall silent and wake again: a healthy run with weights drawn at 1e-4 had
98 % of a layer silent from step 110 to 190."""
RISE: Final = 0.2
"""How far the share of silent units must have risen above its own beginning."""

_SCALARS: Final = tuple(name for name in QUANTITIES if name in METRICS)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One row of probes: what each quantity was, layer by layer."""

    step: int
    values: Mapping[str, Mapping[str, float]]
    """Quantity -> layer ("" for the model as a whole) -> value; only what was measured."""

    def of(self, quantity: str) -> Mapping[str, float]:
        """Layer -> value; empty where it was not measured in this row."""
        return self.values.get(quantity, _NONE)


_NONE: Final[Mapping[str, float]] = {}


class Streaks:
    """How many rows in a row something has been so, layer by layer, and since which step."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def clear(self) -> None:
        """Nothing has been so."""
        self._found.clear()

    def add(self, step: int, so: Mapping[str, bool]) -> None:
        """Take in one row; a layer that was not looked at in it keeps its streak."""
        for layer, is_so in so.items():
            if is_so:
                count, since = self._found.get(layer, (0, step))
                self._found[layer] = count + 1, since
            else:
                self._found.pop(layer, None)

    def lasting(self, rows: int = LASTING) -> dict[str, int]:
        """Layer -> step since which it has been so, where that is at least so many rows."""
        return {layer: since for layer, (count, since) in self._found.items() if count >= rows}


class Activations:
    """The probes of one run: who is measured for what, the recent rows, and what has lasted."""

    def __init__(self, probes: Sequence[ProbeEntry]) -> None:
        self._layers = ProbeLayers(probes)
        self._scalars = tuple(name for name in _SCALARS if name not in self._layers.quantities)
        """Quantities that no probe of the table measures: a log of another tool may have them as columns."""
        self.clear()

    def clear(self) -> None:
        """The run starts anew."""
        self.rows = self.first = 0
        """Rows taken in, and the step of the first."""
        self.seen: set[str] = set()
        """Quantities that were measured at least once."""
        self.early: dict[tuple[str, str], list[float]] = {}
        """(quantity, layer) -> its first EARLY values."""
        self.recent: dict[tuple[str, str], deque[tuple[int, float]]] = {}
        """(quantity, layer) -> steps and values of its newest rows."""
        self.saturated, self.dying = Streaks(), Streaks()
        """Layers whose attention has become a choice; layers most of whose units have fallen silent."""

    def rollback(self, to_step: int) -> None:
        """Be as if `to_step` had been the last row; the beginning stays what it was."""
        self.saturated.clear()
        self.dying.clear()
        for values in self.recent.values():
            while values and values[-1][0] > to_step:
                values.pop()

    # ------------------------------------------------------------------ taking in

    def samples(self, chunk: Chunk) -> list[Sampled]:
        """The rows of a stretch, in order; none where they are of another probe table."""
        found = [Sampled(step, values) for step, values in self._layers.rows(chunk.probes)]
        scalars = [name for name in self._scalars if name in chunk.present and chunk.present[name].any()]
        if not scalars:
            return found
        there = np.any([chunk.present[name] for name in scalars], axis=0)
        found += [
            Sampled(int(chunk.steps[i]), {
                name: {"": float(chunk.columns[name][i])} for name in scalars if chunk.present[name][i]})
            for i in np.flatnonzero(there).tolist()
        ]
        return sorted(found, key=lambda row: row.step) if len(chunk.probes) else found

    def take(self, row: Sampled) -> None:
        """The next row."""
        self.first = self.first if self.rows else row.step
        self.rows += 1
        self.seen.update(row.values)
        for quantity, layers in row.values.items():
            for layer, value in layers.items():
                early = self.early.setdefault((quantity, layer), [])
                if len(early) < EARLY:
                    early.append(value)
                self.recent.setdefault((quantity, layer), deque(maxlen=RECENT)).append((row.step, value))
        self.saturated.add(row.step, self._saturated(row))
        self.dying.add(row.step, {
            layer: self.tells(row, share) and share > DEAD and self.has_risen(layer, share)
            for layer, share in row.of("dead_units").items()})

    def tells(self, row: Sampled, share: float) -> bool:
        """Whether so large a share of silent units says anything yet, and is a share at all."""
        return self.first + SETTLING <= row.step and share <= 1

    def turned(self, quantity: str, layer: str, step: int, is_off: Callable[[float], bool]) -> int:
        """First step of the unbroken stretch of recent rows that are off, up to now; `step` where that is earlier."""
        for at, value in reversed(self.recent.get((quantity, layer), ())):
            if not is_off(value):
                break
            step = min(step, at)
        return step

    def wants(self, *quantities: str) -> tuple[str, ...]:
        """What is still missing of the beginning that these are compared with; empty where nothing is."""
        most = max((len(values) for (name, _), values in self.early.items() if name in quantities), default=0)
        return () if most >= EARLY else (f"{EARLY} sampled rows of {' or '.join(quantities)}",)

    @property
    def is_upset(self) -> bool:
        """Whether attention has collapsed, or units have fallen silent, in a layer that began otherwise."""
        return bool(self.saturated.lasting() or self.dying.lasting())

    def _saturated(self, row: Sampled) -> dict[str, bool]:
        """Of each layer that tells, whether its attention is nearly a choice and was not so in the beginning.

        Where both logits and entropies are measured, both must say so; logits alone must be three times as large.
        """
        logits, entropies = row.of("attention_logit"), row.of("attention_entropy")
        if {"attention_logit", "attention_entropy"} <= self.seen:
            return {layer: logits[layer] > LOUD and self._has_collapsed(layer, entropy)
                    for layer, entropy in entropies.items() if layer in logits}
        return ({layer: self._has_collapsed(layer, entropy) for layer, entropy in entropies.items()}
                or {layer: self._has_grown(layer, logit) for layer, logit in logits.items()})

    def _has_collapsed(self, layer: str, entropy: float) -> bool:
        return entropy < FLAT and entropy < max(self.early["attention_entropy", layer]) / 2

    def _has_grown(self, layer: str, logit: float) -> bool:
        began = self.early["attention_logit", layer]
        return len(began) == EARLY and logit > 3 * LOUD and logit > 2 * median(began)

    def has_risen(self, layer: str, share: float) -> bool:
        """Whether so large a share of silent units is far above what the layer began with."""
        began = self.early["dead_units", layer]
        return len(began) == EARLY and share > median(began) + RISE
