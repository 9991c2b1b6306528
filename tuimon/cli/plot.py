"""`tuimon plot`: metrics of a run or a log as pictures in the terminal, or in a pipe."""

from __future__ import annotations

import argparse
import os

from tuimon.errors import UsageError

FARTHEST = 1 << 50
"""No picture begins or ends so far away: steps are multiplied by the width of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to draw, which part of it, and how large."""
    parser.add_argument("run", nargs="?", metavar="RUN|FILE", help="a run (or the latest live one), or a log")
    parser.add_argument("metrics", nargs="*", metavar="METRIC", help="loss (the default), grad_norm, lr, ...")
    parser.add_argument("--overlay", action="store_true", help="all metrics in one picture")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--log", action="store_true", default=None, help="logarithmic axes")
    scale.add_argument("--linear", action="store_false", dest="log", help="linear axes")
    parser.add_argument("--first", type=_step, metavar="STEP", help="from this step on")
    parser.add_argument("--last", type=_step, metavar="STEP", help="up to this step")
    parser.add_argument("--width", type=_size, metavar="COLUMNS", help="as wide as the terminal by default")
    parser.add_argument("--height", type=_size, metavar="ROWS", help="of each picture")
    parser.add_argument("--ascii", action="store_true", help="nothing but ASCII characters")
    parser.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose incidents are marked")


def run(args: argparse.Namespace) -> int:
    """Draw, and print."""
    from tuimon.cli.printed import paper
    from tuimon.formats.judged import find, judged
    from tuimon.formats.plotted import Look, plotted
    from tuimon.formats.progress import Bar
    from tuimon.record.metrics import METRICS
    from tuimon.record.printing import print_words

    name, metrics = args.run, args.metrics
    if name in METRICS and not os.path.lexists(name):  # a metric of the latest run
        name, metrics = None, [name, *metrics]
    sources, _ = find([name] if name else [])
    if len(sources) > 1:
        raise UsageError(f"{name} holds {len(sources)} runs: name one of them, as {sources[0].path}")
    with Bar() as watch:
        one = judged(sources[0], args.rules, watch)
    on = paper()
    pictures = 1 if args.overlay else max(1, len(metrics))
    height = args.height or max(10, min(18, (on.height - 4) // pictures))
    look = Look(args.width or on.width, height, on.colour, args.ascii or on.ascii_only, args.log, args.overlay,
                args.first, args.last)
    for lines in plotted(one, metrics, look):
        print_words(lines)
    return 0


def _step(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = FARTHEST
    if abs(value) >= FARTHEST:
        raise argparse.ArgumentTypeError(f"{text}: a step is wanted, below 2^50")
    return value


def _size(text: str) -> int:
    value = int(text) if text.isdecimal() and len(text) < 5 else 0
    if not 6 <= value <= 1_000:
        raise argparse.ArgumentTypeError(f"{text}: 6 to 1000 is wanted")
    return value
