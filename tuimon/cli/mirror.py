"""`tuimon mirror`: keep a TensorBoard directory up to date with a run."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from types import FrameType


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and where to."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="name, beginning of a name, or path; the latest live one")
    parser.add_argument("--tensorboard", metavar="DIR", required=True,
                        help="what tensorboard --logdir is given; the run gets a directory of its own in it")
    parser.add_argument("--layers", action="store_true", help="also what is measured of each layer")
    parser.add_argument("--once", action="store_true", help="write what is there, and end")


def run(args: argparse.Namespace) -> int:
    """Follow the run until it ends, or until told to go."""
    from tuimon.formats.exports.mirror import Mirror, follow
    from tuimon.record.printing import print_words
    from tuimon.record.runs import find_run
    from tuimon.record.status import status
    from tuimon.viewer.text import clean

    found = find_run(args.run)
    with contextlib.closing(Mirror(found, args.tensorboard, layers=args.layers)) as mirror:
        if args.once:
            mirror.turn()
        else:
            with contextlib.suppress(OSError):
                os.nice(5)  # the training on this machine goes first
            stop = _Stop()
            print_words(f"{clean(found.name)} goes to {clean(mirror.folder)}; show it with: tensorboard --logdir "
                        f"{clean(args.tensorboard)}; Ctrl+C ends the mirror, not the run", flush=True)
            follow(mirror, lambda: not status(found).is_live, stop.pause)
        step = mirror.place.step
        print_words("nothing measured yet" if step is None else f"mirrored up to step {step:,}")
    return 0


class _Stop:
    """Ctrl+C and SIGTERM end a pause, and nothing that is under way."""

    def __init__(self) -> None:
        self._asked = False
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, self._ask)

    def pause(self, seconds: float) -> bool:
        """Wait; whether somebody has asked to stop."""
        end = time.monotonic() + seconds
        while not self._asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self._asked

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
