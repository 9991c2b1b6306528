"""`tuimon compare`: runs and logs over each other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.cli.tables import print_table
from tuimon.errors import UsageError

if TYPE_CHECKING:
    from tuimon.formats.sources import Source as Found
    from tuimon.viewer.places.compare.detail import Comparison
    from tuimon.viewer.places.compare.model import CompareView, Source

MOST = 8
"""Lines that can be told apart in one chart."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to compare."""
    from tuimon.cli.looking import add_looking_arguments, add_read_only_argument

    parser.add_argument("runs", nargs="+", metavar="RUN|FILE", help="two to eight runs, logs of others, or folders")
    add_looking_arguments(parser, plain="no screen: print a table (so by itself in a pipe, and with TERM=dumb)")
    add_read_only_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show them over each other; without a terminal, print what they came to and what differs."""
    import os

    from tuimon.formats.judged import find
    from tuimon.viewer.run import why_plain

    found, missing = find(args.runs)
    if missing:
        raise UsageError(missing[0])
    if not 2 <= len(found) <= MOST:
        some = f"these are {len(found)}" if len(found) != 1 else "this is one"
        raise UsageError(f"two to eight runs can be compared; {some}")
    sources = tuple(_source(one) for one in found)
    return _show(sources, args) if why_plain(os.environ, asked=args.plain) is None else _print(sources)


def _source(found: Found) -> Source:
    """One side: a run is followed where it lies, a log is read now."""
    import os
    from pathlib import Path

    from tuimon.diagnosis.judging import judge
    from tuimon.formats.read import read_source
    from tuimon.viewer.places.compare.model import Log, Source

    if found.kind == "run":
        return Source("", Path(found.path).absolute())
    read = read_source(found)
    verdict = judge(read.chunks, read.context, "tuimon")
    leading = verdict.leading
    log = Log(read.chunks, read.context, read.kind, verdict.verdict, leading.headline if leading else "",
              leading.onset_step if leading else None)
    return Source(os.path.basename(os.path.normpath(found.path)), log=log)


def _show(sources: tuple[Source, ...], args: argparse.Namespace) -> int:
    from pathlib import Path

    from tuimon.cli.looking import heed_read_only, settings_from
    from tuimon.record.rundir import RunDir
    from tuimon.viewer.places.compare.model import Ask
    from tuimon.viewer.run import watch

    heed_read_only(args)
    first = next((source.run for source in sources if source.run is not None), Path.cwd())
    return watch(RunDir(first), place="compare", ask=Ask(sources), settled=settings_from(args), pace=args.pace)


def _print(sources: tuple[Source, ...]) -> int:
    import math
    import time

    from tuimon.diagnosis.figures import number, step
    from tuimon.record.printing import print_words
    from tuimon.viewer.lines import rate
    from tuimon.viewer.places.compare.detail import Comparison
    from tuimon.viewer.places.compare.model import Ask

    comparison = Comparison()
    view = comparison.view(Ask(sources, smooth=0), time.time(), 0.0, math.inf)
    common = min((side.step for side in view.sides if side.step), default=0)
    rows = [("", "run", "state", "steps", "loss", f"at {step(common)}", "best val", "lr", "verdict")]
    for side, at in zip(view.sides, _losses_at(comparison, common), strict=True):
        loss, lr = side.values.get("loss"), side.values.get("lr")
        rows.append((
            side.letter, side.name, side.state or "log", step(side.step), "" if loss is None else number(loss),
            "" if at is None else number(at), "" if side.best_val is None else number(side.best_val),
            "" if lr is None else rate(lr), side.verdict))
    print_table(rows)
    if view.differences:
        print_words()
        print_table([("", *(side.letter for side in view.sides)), *((d.name, *d.values) for d in view.differences)])
    _tell_best(view)
    return 0


def _losses_at(comparison: Comparison, step: int) -> list[float | None]:
    """The loss of each run where the shortest one ends, averaged over a hundredth of it."""
    import numpy as np

    found: list[float | None] = []
    for follower in comparison.followers:
        curve = follower.curves["loss"].smooth(0.01)
        before = np.flatnonzero((curve.steps <= step) & np.isfinite(curve.last))
        found.append(float(curve.last[before[-1]]) if len(before) else None)
    return found


def _tell_best(view: CompareView) -> None:
    """One sentence: which has the best validation loss, and by how much."""
    from tuimon.diagnosis.figures import number
    from tuimon.record.printing import print_words

    order = sorted((side.best_val, side.letter, side.name) for side in view.sides if side.best_val is not None)
    if len(order) > 1:
        first, second = order[:2]
        print_words(f"\nBest validation loss: {first[1]} ({first[2]}), {number(first[0])}; next {second[1]}, "
                    f"{number(second[0])}.")
