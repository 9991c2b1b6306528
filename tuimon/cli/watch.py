"""`tuimon watch`: attach a viewer to a run, of this machine or of another."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuimon.record.rundir import RunDir
    from tuimon.viewer.run import Ready


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and how."""
    from tuimon.cli.looking import add_looking_arguments, add_read_only_argument

    parser.add_argument("run", nargs="?", metavar="RUN|[USER@]HOST:[RUN]",
                        help="name, beginning of a name, or path; after HOST: of a run there, reached by your ssh")
    parser.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose verdicts to show")
    parser.add_argument("--control", action="store_true", help="with HOST: keys may command the run there, too")
    add_looking_arguments(parser)
    add_read_only_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show it."""
    from tuimon.cli.looking import heed_read_only
    from tuimon.errors import RunNotFound
    from tuimon.record.runs import find_run
    from tuimon.remote.host import can_be_a_host, names_a_host

    heed_read_only(args)
    if args.run is not None and names_a_host(args.run):
        return _afar(args)
    try:
        found = find_run(args.run)
    except RunNotFound as error:
        if args.run is None or not can_be_a_host(args.run):
            raise
        return _afar(args, here=str(error))
    return _show(found, args)


def _afar(args: argparse.Namespace, here: str = "") -> int:
    """A run of another machine; `here`: why it is none of this one, where it might have been."""
    from tuimon.errors import RunNotFound
    from tuimon.record.printing import mention
    from tuimon.record.readonly import READ_ONLY
    from tuimon.remote.host import Unreached, parse
    from tuimon.remote.reached import reached

    target = parse(args.run)
    ready: Ready | None = None
    if not args.control:
        os.environ[READ_ONLY] = "1"
    if sys.stderr.isatty():   # before anything that ssh may ask
        mention(f"connecting to {target.label} (ssh)")

    def load() -> None:
        nonlocal ready
        ready = _ready(args)
        ready.load()

    try:
        with reached(target, control=args.control, meanwhile=load) as far:
            return _show(far, args, ready)
    except Unreached as error:
        if not here:
            raise
        raise RunNotFound(f"{here}; nor is it a machine: {error}") from None
    finally:
        if ready is not None:
            ready.close()


def _ready(args: argparse.Namespace) -> Ready:
    from tuimon.cli.looking import settings_from
    from tuimon.viewer.run import Ready

    return Ready(rules=args.rules, settled=settings_from(args), plain=args.plain)


def _show(found: RunDir, args: argparse.Namespace, ready: Ready | None = None) -> int:
    from tuimon.cli.looking import settings_from
    from tuimon.viewer.run import watch

    return watch(found, rules=args.rules, settled=settings_from(args), pace=args.pace, plain=args.plain, ready=ready)
