"""straggler (T504): one rank computes longer than the others, and all of them wait for it.

Symptom: of the ranks of a distributed run one and the same needs a third more time for its own part of each step.

Why it happens: a device that is throttled, faulty or shared; a slower link or a busy host; a rank that gets longer
sequences, or does the logging, the evaluation or the saving of all.

What to try: look at clocks, temperature and errors of that device, and at what else runs on its host; exchange hosts
and see whether the slowness moves with the device or with the rank; give every rank work of the same size.

Confused with: noise, by which each rank is the slowest now and then; a step in which all wait for the network, where
no rank computes longer.

Rule: medians of sixteen steps: the slowest rank's own time at least 1.3 times the median over ranks, and the same rank
the slowest in at least 14 of the 16 steps; in four such stretches in a row and for a minute of training. Over when four
in a row are below 1.15 times, or name another rank. A single process has no such thing.

Source: reference 2.20; Megatron-LM's straggler detector compares the ranks' own times likewise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.pace import typical
from tuimon.diagnosis.rows import RANKS
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, fold, seconds
from tuimon.record.paces import CALM, SIZE, SLOW

SAME = 14
"""Steps out of sixteen at which the same rank must be the slowest."""
FEWEST = 4
LASTS = 60.0
"""Seconds of training that it must last."""

Row = tuple[int, float, float, int]
"""Step, the slowest rank's time, the median over ranks, which rank."""


class Straggler(Rule):
    """T504."""

    slug, code, category = "straggler", "T504", "throughput"
    needs = ("slowest_step_time", "median_step_time", "slowest_rank")
    wakes = follows = RANKS

    def clear(self) -> None:
        """No rank is under suspicion."""
        self.filling: list[Row] = []
        self.before: list[Row] = []
        """The sixteen rows looked at last."""
        self.looked = False
        self.rank: int | None = None
        self.stretches, self.lasted, self.onset, self.calm = 0, 0.0, 0, 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A distributed run."""
        if super().waits_for(now):
            return ("what several ranks log",)
        return () if self.looked or self.episode else (f"{SIZE} values of slowest_step_time",)

    def row(self, now: Signals) -> None:
        """Collect; look at sixteen."""
        slow, middle, rank = (now.value(name) for name in self.needs)
        if slow is None or middle is None or rank is None:
            return
        if not (0 < slow < math.inf and 0 < middle < math.inf and 0 <= rank < 1 << 30):
            return
        self.filling.append((now.step, slow, middle, int(rank)))
        if len(self.filling) == SIZE:
            rows, self.filling = self.filling, []
            self.looked = True
            self._look(rows, now)
            self.before = rows

    def _look(self, rows: list[Row], now: Signals) -> None:
        slow, middle = typical([row[1] for row in rows]), typical([row[2] for row in rows])
        rank, times = Counter(row[3] for row in rows).most_common(1)[0]
        same = times >= SAME
        if self.episode:
            self._follow(rows, slow / middle, rank if same else None, now, self.episode)
            return
        if slow < SLOW * middle or not same:
            self.rank, self.stretches, self.lasted = None, 0, 0.0
            return
        if rank != self.rank:
            self.rank, self.stretches, self.lasted = rank, 0, 0.0
            self.onset = began((*self.before, *rows), rank)
        self.stretches += 1
        self.lasted += slow * max(SIZE, (rows[-1][0] - rows[0][0]) * SIZE / (SIZE - 1))
        if self.stretches >= FEWEST and self.lasted >= LASTS:
            self.open(now, self.onset, "warning", "high", rank=float(rank), slow=slow, middle=middle,
                      worst=slow / middle)

    def _follow(self, rows: list[Row], times: float, rank: int | None, now: Signals, episode: Episode) -> None:
        n = episode.numbers
        calm = times < CALM or rank != int(n["rank"])
        self.calm = self.calm + 1 if calm else 0
        if self.calm == 1:
            episode.calm_since = rows[0][0]
        if not calm:
            n["slow"], n["middle"] = typical([row[1] for row in rows]), typical([row[2] for row in rows])
            n["worst"] = max(n["worst"], times)
        if self.calm >= FEWEST:
            self.close(now)
            self.rank, self.stretches, self.lasted, self.calm = None, 0, 0.0, 0

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        rank, lost = int(n["rank"]), 100 * (1 - n["middle"] / n["slow"])
        why = (f"Rank {rank} {'computed' if over else 'computes'} {seconds(n['slow'])} per step since step "
               f"{count(episode.onset)}, {fold(n['slow'], n['middle'])} the median of all ranks "
               f"({seconds(n['middle'])}): the others {'waited' if over else 'wait'} {lost:.0f} % of their time.")
        if over:
            why += f" No longer so since step {count(episode.calm_since)}."
        return Story(
            "One rank holds up the others", why,
            (f"look at the device of rank {rank}: clocks, temperature, errors, what else runs on its host",
             "exchange hosts: does the slowness move with the device or with the rank?",
             f"check that rank {rank} has no more to do: longer sequences, logging, evaluation, saving"),
            (Evidence("slowest_step_time", n["slow"], SLOW * n["middle"], n["middle"]),), "straggling",
        )


def began(rows: Sequence[Row], rank: int) -> int:
    """The step from which on this rank has been the slowest, but for a step now and then."""
    since, strangers = rows[-1][0], 0
    for step, slow, middle, which in reversed(rows):
        if which == rank and slow >= CALM * middle:
            since, strangers = step, 0
        elif strangers:
            break
        else:
            strangers = 1
    return since
