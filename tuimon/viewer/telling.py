"""A run told in sentences instead of shown on a screen. Touches the disk, the output and the clock."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from tuimon.record.far import read_far
from tuimon.record.printing import mention, print_words
from tuimon.viewer.plain import LONGEST, progress, sentences
from tuimon.viewer.text import clean

if TYPE_CHECKING:
    from tuimon.record.rundir import RunDir
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.views import Frame, Rules

PERIOD: Final = 0.5
"""Seconds between two looks at the run."""
EVERY: Final = 60.0
"""Seconds between two sentences about progress, in pipes and files; a person at a terminal is left in peace."""
AGAIN: Final = 3.0
"""Seconds for a second Ctrl+C."""


def tell(run: RunDir, why: str, *, rules: Rules = "tuimon", end: Callable[[], object] | None = None,
         out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Say what changes until the run has ended; the exit status: 0, or 130 after Ctrl+C.

    Ctrl+C leaves the run training; `end`, for whoever started it, is called where Ctrl+C comes again at once.
    """
    from tuimon.viewer.reading import Reading

    out, err = out or sys.stdout, err or sys.stderr
    name = clean(run.name, LONGEST)
    mention(f"tuimon: no screen, {why}: changes are told in sentences. {_hint(run, name, out)}", err)
    teller = Teller(Reading(run, rules=rules), out, every=None if out.isatty() else EVERY)
    try:
        while teller.step(time.time(), time.monotonic()):
            if is_deaf(out):
                raise BrokenPipeError
            time.sleep(PERIOD)
    except KeyboardInterrupt:
        if end is None:
            raise
        _left(name, end, err)
        return 130
    finally:
        teller.reading.close()
    return 0


def _hint(run: RunDir, name: str, out: TextIO) -> str:
    """How to come to a screen."""
    found = read_far(run)
    if found is not None:
        far = found[0]
        order, option = ("Keys and commands", "--control ") if far.control else ("Keys", "")
        return f"{order} need a terminal: tuimon watch {option}{clean(far.host, 80)}:{name}"
    if out.isatty():
        return f"Keys and commands need a screen: tuimon watch {name}"
    return f"Keys and commands need a terminal: ssh -t HOST tuimon watch {name}"


def is_deaf(out: TextIO) -> bool:
    """Whether nobody reads it any more: an ssh that has dropped is noticed also by who has nothing to say."""
    try:
        poll = select.poll()
        poll.register(out.fileno(), 0)   # an end that is gone is told unasked
        return any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0))
    except (OSError, ValueError, AttributeError):   # no descriptor, or no such thing here
        return False


def _left(name: str, end: Callable[[], object], err: TextIO) -> None:
    """Leaving is not ending: that takes a second word."""
    mention(f"tuimon: left; the run goes on, and tuimon watch {name} shows it. "
            f"Ctrl+C again within {AGAIN:.0f} s ends it.", err)
    try:
        time.sleep(AGAIN)
    except KeyboardInterrupt:
        mention("tuimon: ending the run", err)
        end()


class Teller:
    """Says what a reading has that was not said yet."""

    def __init__(self, reading: Reading, out: TextIO, *, every: float | None = None) -> None:
        """`every`: seconds between two sentences about progress; None: none."""
        self.reading, self._out, self._every = reading, out, every
        self._before: Frame | None = None
        self._gone: Frame | None = None
        """Of a run that seems to have died, not yet told."""
        self._spoken: float | None = None
        self._step = 0

    def step(self, now: float, mono: float) -> bool:
        """Read, and say what is new; False once the run has ended. Times in seconds."""
        frame = self.reading.poll(now, mono)
        while self.reading.is_behind:   # the past of a long run is read, not told
            frame = self.reading.poll(now, mono) or frame
        gone, self._gone = self._gone, None
        if frame is not None and frame.state == "died" and self._before is not None and gone is None:
            self._gone = frame   # whoever started it may be about to say how it ended: the next look tells
            return True
        frame = frame or gone
        if frame is not None:
            for sentence in sentences(self._before, frame):
                self._say(sentence, mono)
            self._before = frame
        current = self._before
        if current is None or not current.is_live:
            return current is None
        if self._every is not None and self._spoken is not None and mono - self._spoken >= self._every \
                and current.facts.step != self._step:
            self._say(progress(current), mono)
            self._step = current.facts.step
        return True

    def _say(self, sentence: str, mono: float) -> None:
        coding = getattr(self._out, "encoding", None) or "utf-8"
        print_words(sentence.encode(coding, "replace").decode(coding), file=self._out, flush=True)
        self._spoken = mono
