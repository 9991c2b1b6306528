"""`tuimon report`: a run or a log as one HTML page to send to somebody."""

from __future__ import annotations

import argparse
import sys

from tuimon import __version__
from tuimon.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of what, and where to."""
    parser.add_argument("run", nargs="?", metavar="RUN|FILE", help="a run (or the latest live one), or a log")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to; - is the output; RUN-report.html by default")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose rules judge")


def run(args: argparse.Namespace) -> int:
    """Read, judge, write."""
    import time

    from tuimon.formats.judged import find
    from tuimon.formats.place import check
    from tuimon.formats.progress import Bar
    from tuimon.formats.report.gather import gather
    from tuimon.formats.report.page import page
    from tuimon.formats.report.write import default_name, write
    from tuimon.record.printing import print_words
    from tuimon.record.text import clean

    sources, _ = find([args.run] if args.run else [])
    if len(sources) > 1:
        raise UsageError(f"{args.run} holds {len(sources)} runs: name one of them, as {sources[0].path}")
    path = args.output or default_name(sources[0].path)
    if path != "-":
        check(path, force=args.force)   # before the work is done rather than after it
    with Bar() as watch:
        words = page(gather(sources[0], args.rules, now=time.time(), watch=watch), __version__)
    if path == "-":
        sys.stdout.buffer.write(words.encode("utf-8", "replace"))
        return 0
    write(path, words, force=args.force)
    print_words(clean(path, 1000))
    return 0
