"""Walking through a run: row by row where a rule wants to look, in one go between. Pure.

Law: however it is walked, the same state; `row`, `profile` and `mark` are the truth, and whatever is passed over leaves
what they would have left. A rule is asked which rows it must see; in doubt it names too many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from tuimon.diagnosis.activations import Sampled
from tuimon.diagnosis.baseline import SETTLED
from tuimon.diagnosis.outlook import SHORTEST, SPAN, Outlook
from tuimon.diagnosis.rows import ROW
from tuimon.diagnosis.rule import Rule
from tuimon.diagnosis.signals import Signals
from tuimon.record.chunk import Chunk, Mark

ASKED: Final = 64
"""Per-tensor rows for which rules are asked at once which of them they must see."""


class State:
    """All that the engine knows. Owned by whoever holds it."""

    def __init__(self, signals: Signals, rules: tuple[Rule, ...]) -> None:
        self.signals = signals
        self.rules = rules
        self.taken_singly = 0
        """Rows at which rules had to be asked, or might have been."""
        self._wants = {rule: rule.wants for rule in rules}
        self._episodes = {rule: rule.episode for rule in rules}
        self._asked: dict[int, tuple[Rule, ...]] = {}
        """Who looks at a row, by why it matters. [Most rows matter to nobody.]"""
        self._outlook: Outlook | None = None
        self._singles: Sequence[int] | None = None
        """Rows of the outlook that have to be taken one by one."""
        self._passing: tuple[Rule, ...] = ()
        """Rules that want every row, and take in those that are passed over."""
        self._look_at = 0
        """The row before which looking ahead is not worth while."""
        self._profiling = tuple(rule for rule in rules if type(rule).profile is not Rule.profile)
        self._waiting = 0
        """The first of the per-tensor rows that have not been taken in yet."""
        self._unusual: Sequence[int] | None = None
        """Per-tensor rows that have to be looked at one by one, as far as somebody was asked."""
        self._steps: list[int] = []
        self._tensor_steps: list[int] = []
        self._stops: list[int] = []
        """The row before which each of the per-tensor rows stands, as far as they lie in the stretch that is walked."""
        self._probing = tuple(rule for rule in rules if type(rule).probes is not Rule.probes)
        self._samples: deque[Sampled] = deque()
        """The probe rows that have not been taken in yet."""

    def load(self, chunk: Chunk) -> None:
        """Have a stretch of the run at hand, for `take` to walk through."""
        self.signals.load(chunk)
        self._steps, self._tensor_steps = chunk.steps.tolist(), chunk.tensors.steps.tolist()
        self._outlook, self._look_at = None, 0 if len(chunk) >= SHORTEST else len(chunk)
        self._waiting, self._unusual, self._stops = 0, None, []
        self._samples = deque(self.signals.activations.samples(chunk))

    def take(self, at: int, end: int, last: int | None) -> None:
        """Take in the rows from `at` to before `end`, and what else was measured up to step `last`; None: all."""
        place = _Places(self._steps, at, end, last)
        self._stops += place.of(self._tensor_steps[self._waiting:])
        sampled = deque(place.of([row.step for row in self._samples]))
        while True:
            odd = self._next_unusual(len(self._stops))
            stop = end if odd is None else self._stops[odd]
            until = min(stop, sampled[0]) if sampled else stop
            at = self._walk(at, until)
            if at < until or self._is_anew():
                continue
            self._pass_profiles(bisect_right(self._stops, until) if odd is None or stop > until else odd)
            if odd is not None and stop == until:
                if self._waiting == odd:
                    self.profile(odd)
            elif self._is_anew():
                continue
            elif sampled:
                sampled.popleft()
                self.sampled(self._samples.popleft())
            else:
                return

    def _walk(self, at: int, end: int) -> int:
        """Take in rows up to `end`, or to the first after which somebody wants other per-tensor rows; where that is."""
        now = self.signals
        while at < end:
            upto = self._calm_until(at, end)
            if upto == at or now.stands_still:
                self._pass_profiles(bisect_right(self._stops, at, self._waiting))
                if self._is_anew():
                    break
            if upto > at:
                assert self._outlook is not None
                self._outlook.pass_over(now, at, upto)
                for rule in self._passing:
                    rule.pass_over(self._outlook, at, upto)
                at = upto
            else:
                self.row(at, self._steps[at])
                at += 1
                if self._is_anew():
                    break
        return at

    def row(self, at: int, step: int) -> None:
        """Look at the next row."""
        self.taken_singly += 1
        now = self.signals
        wakes = now.row(at, step)
        called = self._asked.get(wakes)
        if called is None:
            called = self._asked[wakes] = tuple(rule for rule, wants in self._wants.items() if wants & wakes)
        for rule in called:
            rule.row(now)
        self.look_around(called)

    def look_around(self, called: Sequence[Rule]) -> None:
        """See whether somebody of those that were called wants other rows from here on, or has news of an episode."""
        for rule in called:
            if rule.episode is not None:
                rule.note(self.signals)
            if rule.wants != self._wants[rule] or rule.episode is not self._episodes[rule]:
                self._wants[rule], self._episodes[rule] = rule.wants, rule.episode
                self._asked, self._singles, self._unusual = {}, None, None

    def profile(self, i: int) -> None:
        """Look at the next of the per-tensor rows."""
        self._waiting = i + 1
        found = self.signals.profile(i)
        if found is not None:
            for rule in self._profiling:
                rule.profile(found, self.signals)
            self.look_around(self._profiling)

    def sampled(self, row: Sampled) -> None:
        """Look at the next of the probe rows."""
        self.signals.activations.take(row)
        for rule in self._probing:
            rule.probes(row, self.signals)
        self.look_around(self._probing)

    def _pass_profiles(self, upto: int) -> None:
        """Take in the per-tensor rows before `upto`: in one go, but for those of a step that changed nothing."""
        while self._waiting < upto and self.signals.stands_still:
            self.profile(self._waiting)
        if self._waiting < upto:
            self.signals.pass_profiles(self._waiting, upto)
            if self.signals.profiles is not None:
                for rule in self._profiling:
                    rule.pass_profiles(self.signals.profiles, self._waiting, upto)
            self._waiting = upto

    def _is_anew(self) -> bool:
        """Whether somebody may want to see other rows than before."""
        return self._unusual is None

    def _next_unusual(self, upto: int) -> int | None:
        """The first of the per-tensor rows before `upto` at which somebody may have to look."""
        if self._unusual is None or self._waiting > self._unusual[-1]:
            self._unusual = self._seen_singly(self._waiting, min(self._waiting + ASKED, len(self._tensor_steps)))
        i = bisect_left(self._unusual, self._waiting)
        return self._unusual[i] if i < len(self._unusual) and self._unusual[i] < upto else None

    def _seen_singly(self, first: int, last: int) -> Sequence[int]:
        """Of the per-tensor rows first to last those to look at, and `last`: from there on it is asked anew."""
        if self.signals.profiles is None or first == last:
            return (len(self._tensor_steps),)
        rows = self.signals.profiles.between(first, last)
        found = np.zeros(len(rows), np.bool_)
        for rule in self._profiling:
            part = rule.unusual(rows)
            if part is None:
                return range(first, last + 1)
            found |= part
        return [*(first + np.flatnonzero(found)).tolist(), last]

    def mark(self, mark: Mark) -> None:
        """Take in a break in the run."""
        for rule in self.rules:
            rule.mark(mark, self.signals)
        self.look_around(self.rules)
        self.signals.mark(mark)
        self._singles = self._unusual = None

    def _look_ahead(self, at: int) -> Outlook | None:
        """Foresee the rows from here up to one out of which no baseline learns; None where that is not worth while."""
        now, self._outlook, self._singles = self.signals, None, None
        settling = SETTLED - now.attempt_rows
        last = min(at + (settling if settling > 0 else SPAN), now.rows.next_odd(at))
        if last - at < SHORTEST or now.is_held:
            self._look_at = max(last, at + 1) if last - at < SHORTEST else at + SHORTEST
        else:
            self._outlook = Outlook(now, at, last)
        return self._outlook

    def _singled(self, ahead: Outlook) -> Sequence[int]:
        """The rows ahead at which somebody may have to look."""
        asked, parts, passing = 0, [], []
        for rule, wants in self._wants.items():
            asked |= wants
            if wants & ROW:
                part = rule.singles(ahead)
                if part is None:
                    return range(ahead.first, ahead.last)
                parts.append(part if rule.episode is None else part | rule.episode.tellings.due_among(ahead.steps))
                passing.append(rule)
        self._passing = tuple(passing)
        rows = np.logical_or.reduce([ahead.singles(asked), *parts])
        return (ahead.first + np.flatnonzero(rows)).tolist()  # type: ignore[no-any-return]

    def _calm_until(self, at: int, end: int) -> int:
        """The row before which nobody needs to look at one: `at` itself where somebody must."""
        ahead = self._outlook
        if ahead is None or at >= ahead.last or ahead.disturbances != self.signals.disturbances:
            if at < self._look_at:
                return at
            ahead = self._look_ahead(at)
            if ahead is None:
                return at
        if self._singles is None:
            self._singles = self._singled(ahead)
        i = bisect_left(self._singles, at)
        return min(end, self._singles[i] if i < len(self._singles) else ahead.last)


class _Places:
    """Where between the rows of a stretch stands what was measured beside them: before the first of a later step."""

    def __init__(self, steps: Sequence[int], at: int, end: int, last: int | None) -> None:
        self._steps, self._at, self._end, self._last = steps, at, end, last

    def of(self, steps: Iterable[int]) -> list[int]:
        """The row before which each of these stands; those that lie behind the stretch are left out."""
        found: list[int] = []
        place = self._at
        for step in steps:
            place = bisect_right(self._steps, step, place, self._end)
            if place == self._end and self._last is not None and step > self._last:
                break
            found.append(place)
        return found
