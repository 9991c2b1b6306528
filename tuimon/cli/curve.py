"""`tuimon curve`: read loss curves."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from tuimon.errors import UsageError

if TYPE_CHECKING:
    from tuimon.diagnosis.curve.report import Page
    from tuimon.diagnosis.curve.sources import Log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to read, and what to foretell."""
    parser.add_argument("sources", nargs="*", metavar="FILE|RUN",
                        help="several are compared; the latest run by default")
    parser.add_argument("--gallery", action="store_true", help="the six patterns of the notebook, with both verdicts")
    parser.add_argument("--total-steps", type=_positive, metavar="N", help="step at which the run ends")
    parser.add_argument("--target", type=_finite, metavar="LOSS", help="say when this loss is reached")
    parser.add_argument("--json", action="store_true", help="print one JSON object, or for several a list of them")


def run(args: argparse.Namespace) -> int:
    """Read, and print."""
    import json
    from dataclasses import replace

    from tuimon.diagnosis.curve.report import as_json, comparison, gallery, gallery_page, judge_source, page
    from tuimon.diagnosis.curve.sources import load
    from tuimon.record.printing import print_words
    from tuimon.viewer.text import clean

    if args.gallery:
        if args.sources:
            raise UsageError("--gallery shows the six patterns alone: leave out the files and runs")
        bodies = [as_json(j) for j in gallery()]
        print_words(json.dumps(bodies, indent=1, allow_nan=False) if args.json else gallery_page(_page()))
        return 0
    loaded = [load(name, _log_of) for name in args.sources or [None]]
    judged = [judge_source(replace(one, name=clean(one.name)), args.total_steps, args.target) for one in loaded]
    if args.json:
        bodies = [as_json(j) for j in judged]
        print_words(json.dumps(bodies if len(bodies) > 1 else bodies[0], indent=1, allow_nan=False))
    else:
        said = page(judged[0], _page()) if len(judged) == 1 else comparison(judged, _page())
        print_words(said.removesuffix("\n"))
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a number of at least 1 is wanted")
    return int(text)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: a finite number is wanted")
    return value


def _log_of(path: str) -> Log:
    from tuimon.formats import read

    found = read(path)
    return found.chunks, found.context.total_steps


def _page() -> Page:
    from tuimon.cli.printed import paper
    from tuimon.diagnosis.curve.report import Page

    on = paper()
    return Page(on.width, on.colour, on.ascii_only)
