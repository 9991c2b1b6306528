"""`tuimon export`: a run or a log as a file for other tools."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from tuimon.errors import UsageError

NAMES = ("csv", "jsonl", "parquet", "sqlite", "tfevents")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to export, how and where."""
    parser.add_argument("run", nargs="?", metavar="RUN|FILE", help="a run (or the latest live one), or a log")
    parser.add_argument("--to", choices=NAMES, help="by default what FILE ends in; parquet needs tuimon[parquet]")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="where to; - is standard output (not for sqlite and tfevents); by default a file in this "
                        "directory, named after the run")
    parser.add_argument("--metrics", type=_names, default=(), metavar="A,B", help="only these, as in loss,grad_norm")
    parser.add_argument("--layers", action="store_true", help="also what was measured of each layer")
    parser.add_argument("--events", action="store_true",
                        help="also what happened: snapshots, incidents, commands (jsonl, sqlite, tfevents)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def run(args: argparse.Namespace) -> int:
    """Write it, and say what was written."""
    from tuimon.formats.exports.export import Wish, export
    from tuimon.formats.judged import find
    from tuimon.formats.names import some
    from tuimon.formats.progress import Bar
    from tuimon.record.printing import hush, mention, unwritable
    from tuimon.viewer.text import clean

    sources, _ = find([args.run] if args.run else [])
    if len(sources) != 1:
        inside = some([os.path.relpath(source.path, args.run) for source in sources])
        raise UsageError(f"{args.run}: holds {len(sources)} runs, name one of {inside}")
    ending = os.path.splitext(args.output or "")[1].removeprefix(".")
    to = args.to or (ending if ending in NAMES else None)
    if to is None:
        raise UsageError(f"--to is wanted: one of {', '.join(NAMES)}")
    wish = Wish(to, args.output, args.metrics, args.layers, args.events, args.force)
    try:
        with told_to_go(), Bar() as watch:
            done = export(sources[0], wish, watch=watch)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        hush(sys.stdout)
        raise UsageError(unwritable(error)) from None
    if done.path != "-":
        layers = f", {len(done.survey.layers):,} columns of layers" if done.survey.layers else ""
        mention(f"{clean(done.path)}: {done.rows:,} rows of {_count(len(done.survey.names), 'metric')}{layers}, "
                f"{_size(done.size)}")
    return 0


@contextlib.contextmanager
def told_to_go() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl+C does: nothing half-written is left."""
    def go(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = [(one, signal.signal(one, go)) for one in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for one, handler in before:
            signal.signal(one, handler)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError("wanted names of metrics with commas between them")
    return names


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    from tuimon.diagnosis.figures import size as amount

    return amount(size)
