"""memory-growth (T503): the memory that training holds grows on and on.

Symptom: memory rises in a straight line, step after step, and does not level off.

Why it happens: tensors that are kept with their graph (losses appended to a list without .item() or .detach());
figures, hooks or caches that are never released; a dataset whose Python objects are copied page by page into each
process; a state that is saved into a growing dictionary.

What to try: keep float(loss), not loss; look at what is appended to at every step; compare gc.get_objects() or
tracemalloc snapshots a thousand steps apart; save a checkpoint before it ends, for a run out of memory is lost.

Confused with: the first minutes, in which allocators, caches and workers fill and then level off; batches of changing
size, whose largest sets a record now and then, and ever more rarely; a step up that stays, such as a first evaluation.

Rule: medians of 8 measurements, evenly spaced over the run, 64 of them or more. The best broken line, level before its
knee and rising after it; from the knee on, 20 of them or more, rising by Mann and Kendall's test (4 standard
deviations), by 5 % or more in all, and evenly: of five parts each lies above the one before by 0.6 to 1.6 times the
mean. A warning when memory has grown by half, or will double before the declared end of the run; else for information.
Over when the newest 32 rise at less than a quarter of that pace, by the upper 99 % bound.

Source: reference 2.20; Mann (1945), Kendall (1975), as in the table of change detectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tuimon.diagnosis.model import Evidence, Severity
from tuimon.diagnosis.pace import FULL, Course, typical
from tuimon.diagnosis.rows import MEMORY
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import line, rising
from tuimon.diagnosis.wording import bytes_, count, fold

SIZE = 8
FEWEST = FULL // 2
"""Medians from which it can be told: with a measurement a second, eight minutes and a half."""
RAMP = 20
"""Of them after the knee."""
SURE = 4.0
SHARE = 0.05
EVEN = (0.6, 1.6)
LEVELLED = 0.25
BOUND = 2.33
LARGE = 1.5
"""Times the memory at the onset that make it a warning."""


class MemoryGrowth(Rule):
    """T503."""

    slug, code, category, needs = "memory-growth", "T503", "throughput", ("memory",)
    wakes = follows = MEMORY

    def clear(self) -> None:
        """Nothing measured."""
        self.filling: list[tuple[int, float]] = []
        self.course = Course()
        self.recent: list[tuple[int, float]] = []
        """The newest medians, as many as a quarter of the course: what tells that it has levelled off."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Long enough to have levelled off."""
        if "memory" in now.seen and len(self.course) < FEWEST and self.episode is None:
            return (f"{SIZE * FEWEST} values of memory",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Collect; look whenever eight more are in."""
        memory = now.value("memory")
        if memory is None or not 0 < memory < math.inf:
            return
        self.filling.append((now.step, memory))
        if len(self.filling) < SIZE:
            return
        step, level = self.filling[0][0], typical([value for _, value in self.filling])
        self.filling = []
        kept = self.course.add(step, level)
        self.recent = [*self.recent, (step, level)][-FULL // 4:]
        if self.episode:
            self._follow(now, self.episode)
        elif kept and len(self.course) >= FEWEST:
            self._judge(now)

    def _judge(self, now: Signals) -> None:
        knee = knee_of(self.course.steps, self.course.values)
        steps, values = self.course.steps[knee:], self.course.values[knee:]
        if len(values) < RAMP or not is_even(values) or rising(values) < SURE:
            return
        pace, _ = line(steps, values)
        start = values[-1] - pace * (steps[-1] - steps[0])
        if start > 0 and values[-1] - start >= SHARE * start:
            episode = self.open(now, steps[0], "info", "high", start=start, pace=pace, level=values[-1])
            self._measure(now, episode)

    def _follow(self, now: Signals, episode: Episode) -> None:
        n = episode.numbers
        steps, values = [step for step, _ in self.recent], [value for _, value in self.recent]
        n["level"] = values[-1]
        late, error = line(steps, values)
        if late + BOUND * error < LEVELLED * n["pace"] and steps[0] > episode.detected:
            self.close(now)
            self.course.clear()
            self.recent = []
        else:
            self._measure(now, episode)

    def _measure(self, now: Signals, episode: Episode) -> None:
        n, total = episode.numbers, self.context.total_steps
        if total is not None and total > now.step:
            n["total"], n["end"] = float(total), n["level"] + n["pace"] * (total - now.step)
        n["doubled"] = now.step + n["level"] / n["pace"]
        large = n["level"] >= LARGE * n["start"] or n.get("end", 0.0) >= 2 * n["level"]
        severity: Severity = "warning" if large else episode.severity
        episode.severity = severity

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        pace = f"{bytes_(1000 * n['pace'])} per 1,000 steps"
        levels = f"{bytes_(n['start'])} then, {bytes_(n['level'])}"
        if over:
            why = (f"Memory grew by {pace} from step {count(episode.onset)}: {levels} by step {count(episode.last)}, "
                   "where it has levelled off.")
        else:
            why = f"Memory has grown by {pace} since step {count(episode.onset)}, in a straight line: {levels} now"
            if n.get("end", math.inf) < 2 * n["level"]:
                why += f"; at this pace {bytes_(n['end'])} at the end of the run (step {count(int(n['total']))})."
            else:
                why += f"; at this pace it will have doubled by step {count(round(n['doubled']))}."
        return Story(
            "Memory keeps growing", why,
            ("look at what is appended to at every step: keep float(loss), never a loss with its graph",
             "compare two tracemalloc snapshots a thousand steps apart (on the device: torch.cuda.memory_snapshot)",
             "write a checkpoint in time: a run out of memory is lost"),
            (Evidence("memory", n["level"], LARGE * n["start"], n["start"]),),
            f"memory {fold(n['level'], n['start'])}" if n["level"] >= LARGE * n["start"] else "memory grows",
        )


def is_even(values: Sequence[float]) -> bool:
    """Whether they rise in a straight line: from each fifth to the next by about the same."""
    parts = [typical(part.tolist()) for part in np.array_split(np.asarray(values, np.float64), 5)]
    rises = [b - a for a, b in pairwise(parts)]
    mean = sum(rises) / len(rises)
    return mean > 0 and EVEN[0] * mean <= min(rises) and max(rises) <= EVEN[1] * mean


def knee_of(steps: Sequence[int], values: Sequence[float]) -> int:
    """Where a line that is level before and rises after fits best, as an index."""
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    ramps = np.maximum(0.0, x - x[: 3 * len(x) // 4, None])
    ramps -= ramps.mean(1, keepdims=True)
    explained = (ramps @ (y - y.mean())) ** 2 / np.maximum((ramps**2).sum(1), 1e-300)
    return int(np.argmax(explained))
