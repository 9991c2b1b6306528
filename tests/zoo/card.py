"""From recordings to a scorecard: everybody judges every run. Pure but for the line that says how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tests.zoo.baselines import OTHERS
from tests.zoo.judges import OURS, Judge
from tests.zoo.recording import Recording
from tests.zoo.report import Card
from tests.zoo.score import Outcome, outcome

EVERYBODY = (OURS, *OTHERS)


def card(
    what: str, recordings: Iterable[Recording], *, held_out: Iterable[str] = (), judges: Sequence[Judge] = EVERYBODY
) -> Card:
    """Judge all; the recordings are looked at one at a time."""
    outcomes: dict[str, list[Outcome]] = {judge.name: [] for judge in judges}
    for i, recording in enumerate(recordings, 1):
        if sys.stderr.isatty():
            print(f"\r{i} {recording.name:<60}", end="", file=sys.stderr, flush=True)
        for judge in judges:
            outcomes[judge.name].append(outcome(recording, judge.listen(recording), judge))
    if sys.stderr.isatty():
        print(f"\r{'':<70}\r", end="", file=sys.stderr, flush=True)
    return Card(what, outcomes, frozenset(held_out))
