"""Fault after fault until the time is over, and what came of it. Touches what the bench touches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuimon.torture.bench import Bench, Broken, Skipped
from tuimon.torture.table import Fault


@dataclass(slots=True)
class Result:
    """What is known of one fault."""

    fault: Fault
    tries: int = 0
    survived: int = 0
    lost: int = 0
    """Rows that training did and the log does not have, over all tries."""
    broken: list[str] = field(default_factory=list)
    """Why one was not survived, each in a line."""
    skipped: str = ""
    """Why this machine does not allow it; "" where it does."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"fault": self.fault.name, "done": self.fault.done, "holds": self.fault.holds, "tries": self.tries,
                "survived": self.survived, "lost": self.lost, "broken": self.broken, "skipped": self.skipped}


def attempt(bench: Bench, result: Result) -> None:
    """One try; everything it left at work is ended. Not where Ctrl+C comes through: then the bench is left."""
    try:
        lost = result.fault.do(bench)
    except Skipped as why:
        result.skipped = str(why)
    except Broken as why:
        result.tries += 1
        result.broken.append(_line(str(why)))
    except Exception as error:
        result.tries += 1
        result.broken.append(_line(f"{type(error).__name__}: {error}"))
    else:
        result.tries += 1
        result.survived += 1
        result.lost += lost
    try:
        bench.tidy()
    except Skipped as why:
        result.skipped = str(why)


def go_round(
    bench: Bench, results: Sequence[Result], seconds: float, say: Callable[[Result], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Every fault once, then round and round while there is time; `say` before each."""
    until, is_first = clock() + seconds, True
    while is_first or clock() < until:
        possible = [result for result in results if not result.skipped]
        for result in possible:
            if not is_first and clock() >= until:
                return
            say(result)
            attempt(bench, result)
        is_first = False
        if not possible:
            return


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
