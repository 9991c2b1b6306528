"""`tuimon torture`: what can go wrong around a training, done to a real one, here."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.errors import UsageError
from tuimon.record.printing import print_words

if TYPE_CHECKING:
    from tuimon.torture.session import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which, for how long, where."""
    parser.add_argument("dir", nargs="?", metavar="DIR",
                        help="the file system to do it on (default: that of the runs); what is made there is removed")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M",
                        help="go round again and again for so long (default: each fault once, about three minutes)")
    parser.add_argument("--only", action="append", metavar="NAME", help="this fault; may be given more than once")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Do it, and print what was survived. Status 3 where something was not; Ctrl+C prints what is known so far."""
    import json
    import math

    from tuimon.torture.session import Result
    from tuimon.torture.table import FAULTS, NAMES

    unknown = [name for name in args.only or () if name not in NAMES]
    if unknown:
        raise UsageError(f"no fault is called {unknown[0]!r:.60}; there are {', '.join(NAMES)}")
    if not (math.isfinite(args.minutes) and args.minutes >= 0):
        raise UsageError(f"--minutes wants a number of minutes, not {args.minutes}")
    results = [Result(fault) for fault in FAULTS if not args.only or fault.name in args.only]
    is_cut_short = _do(results, args.dir, 60 * args.minutes)
    if args.json:
        faults = [result.as_json() for result in results]
        print_words(json.dumps({"schema": 1, "complete": not is_cut_short, "faults": faults}, indent=1))
    else:
        _print(results)
    if any(result.broken for result in results):
        return 3
    return 130 if is_cut_short else 0


def _do(results: list[Result], where: str | None, seconds: float) -> bool:
    """All of them; whether Ctrl+C has cut it short."""
    import logging
    import math
    import signal
    import sys
    from pathlib import Path

    from tuimon.formats.progress import Bar
    from tuimon.private import make_folder
    from tuimon.record.rundir import runs_root
    from tuimon.torture.bench import Bench
    from tuimon.torture.session import go_round

    logging.getLogger("tuimon").addHandler(logging.NullHandler())   # of what is done in this process the table tells
    root = Path(where) if where else runs_root()

    try:
        if where is None:
            make_folder(root, parents=0o700, follow=True)
        bench = Bench(root)
    except OSError as error:
        raise UsageError(f"nothing can be made in {root}: {error.strerror}") from None
    for number in (signal.SIGTERM, signal.SIGHUP):   # also then nothing is left behind
        signal.signal(number, lambda signum, _: sys.exit(128 + signum))
    try:
        with bench, Bar() as watch:
            go_round(bench, results, seconds, lambda result: watch(result.fault.name, math.nan))
    except KeyboardInterrupt:
        return True
    return False


def _print(results: list[Result]) -> None:
    from tuimon.cli.tables import print_table

    def row(result: Result) -> tuple[str, ...]:
        if result.skipped or not result.tries:
            return (result.fault.name, "-", "-", "-", f"not here: {result.skipped}" if result.skipped else "not tried")
        why = f"NOT SURVIVED: {result.broken[0]}" if result.broken else result.fault.holds
        return (result.fault.name, str(result.tries), str(result.survived), str(result.lost), why)

    print_table([("fault", "tries", "survived", "lost", "what holds"), *map(row, results)])
