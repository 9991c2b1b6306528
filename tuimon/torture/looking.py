"""What was done, held against what was recorded. Reads the disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader
from tuimon.torture.bench import Broken, Training

TURN: Final = 5.0
"""Seconds of rows that a kill may cost: the writer's turn is 50 ms, and longer where the disk makes it wait."""


@dataclass(frozen=True)
class Recorded:
    """A run's log."""

    losses: dict[int, float]
    """By step."""
    said: int
    """Rows that the log itself says are missing."""


def read(run: RunDir) -> Recorded:
    """The log of the last attempt, checked: no damage, no step twice or out of order. Broken where there is."""
    reader, steps = LogReader(run.metrics), list[int]()
    losses: dict[int, float] = {}
    while chunks := reader.poll():
        for chunk in chunks:
            if any(mark.kind == "attempt" for mark in chunk.marks):
                steps, losses = [], {}
            steps += chunk.steps.tolist()
            found, values = chunk.measured("loss")
            losses.update(zip(found.tolist(), values.tolist(), strict=True))
    if reader.damaged:
        raise Broken(f"{reader.damaged} bytes or rows in the log are damaged")
    if steps != sorted(set(steps)):
        raise Broken("steps in the log are not in order")
    return Recorded(losses, sum(int(str(gap["dropped"])) for gap in reader.gaps))


def missing(training: Training) -> int:
    """Rows of this training that the log does not have; Broken where one is wrong, or missing and not said to be."""
    recorded, done = read(training.run), training.ledger.steps
    for step, loss in recorded.losses.items():
        if step > done or loss != training.ledger.loss(step):
            raise Broken(f"the loss of step {step} is recorded as {loss}, which it was not")
    gone = done - len(recorded.losses)
    if gone > recorded.said:
        raise Broken(f"{gone} of {done} rows are missing and the log says {recorded.said}")
    return gone


def lost_by_kill(training: Training) -> int:
    """Rows that a kill cost: those behind a contiguous beginning. Broken where there is a hole, or it is long ago."""
    losses, ledger = read(training.run).losses, training.ledger
    if list(losses) != list(range(1, len(losses) + 1)):
        raise Broken("there is a hole in the log")
    for step, loss in losses.items():
        if step <= ledger.steps and loss != ledger.loss(step):
            raise Broken(f"the loss of step {step} is recorded as {loss}, which it was not")
    gone = max(0, ledger.steps - len(losses))
    if gone:
        seconds = ledger.moment(ledger.steps) - (ledger.moment(len(losses)) if losses else ledger.moment(1))
        if seconds > TURN:
            raise Broken(f"the last {seconds:.1f} s before the kill are not in the log")
    return gone


def unchanged(training: Training, alone: Training) -> None:
    """Broken unless it went as the same training goes that nobody watches, to the last bit."""
    for step in range(1, min(training.ledger.steps, alone.ledger.steps) + 1):
        if training.ledger.loss(step) != alone.ledger.loss(step):
            raise Broken(f"from step {step} on the losses are others than without tuimon")


def expect(condition: Any, why: str) -> None:
    """Broken, and why, unless it holds."""
    if not condition:
        raise Broken(why)
