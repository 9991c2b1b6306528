"""`tuimon run`: run a training script as it is, and watch it."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; what follows the script's name is the script's own."""
    from tuimon.cli.looking import add_looking_arguments
    from tuimon.launch.options import add_arguments as add

    parser.usage = "tuimon run [options] SCRIPT ... | tuimon run [options] -m MODULE ..."
    add(parser)
    add_looking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Start it, and show it."""
    from tuimon.launch.options import from_arguments

    options = from_arguments(args)
    if options.headless:
        from tuimon.launch.script import run as run_headless

        return run_headless(options)
    from tuimon.cli.looking import settings_from
    from tuimon.launch.script import check, launch, left
    from tuimon.viewer.run import watch

    check(options)
    started = launch(options)
    watched = watch(started.run, rules=options.rules, owner=True, end=started.end, settled=settings_from(args),
                    pace=args.pace, plain=args.plain)
    return watched or left(started)
