"""`tuimon watch`: attach a viewer to a run."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and how."""
    from tuimon.cli.looking import add_looking_arguments, add_read_only_argument

    parser.add_argument("run", nargs="?", metavar="RUN", help="name, beginning of a name, or path")
    parser.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose verdicts to show")
    add_looking_arguments(parser)
    add_read_only_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show it."""
    from tuimon.cli.looking import heed_read_only, settings_from
    from tuimon.record.runs import find_run
    from tuimon.viewer.run import watch

    heed_read_only(args)
    return watch(find_run(args.run), rules=args.rules, settled=settings_from(args), pace=args.pace,
                 plain=args.plain)
