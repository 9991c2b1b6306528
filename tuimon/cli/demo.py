"""`tuimon demo`: train a real GPT that goes wrong, and save it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.errors import UsageError

if TYPE_CHECKING:
    from tuimon.demo.options import DemoOptions
    from tuimon.viewer.settings import Settled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's own options."""
    from tuimon.cli.looking import add_looking_arguments
    from tuimon.demo.options import add_arguments as add

    add(parser)
    parser.add_argument("--all", action="store_true", dest="every",
                        help="the notebook's four side by side: healthy, exploding, vanishing, slow")
    add_looking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Start it, and show it."""
    from tuimon.cli.looking import settings_from
    from tuimon.demo.options import from_arguments

    options = from_arguments(args)
    if args.every:
        return _all(options, settings_from(args), args)
    if options.headless:
        from tuimon.demo.headless import run as run_headless

        return run_headless(options)
    from tuimon.demo.launch import launch
    from tuimon.viewer.run import watch

    started = launch(options)
    return watch(started.run, rules=options.rules, owner=True, end=started.end, settled=settings_from(args),
                 pace=args.pace, plain=args.plain)


def _all(options: DemoOptions, settled: Settled, args: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from tuimon.demo.launch import launch_all
    from tuimon.viewer.places.gallery.model import Ask
    from tuimon.viewer.run import check_terminal, watch

    for given, flag in (("scenario" in vars(args), "a name"), (options.headless, "--headless"),
                        (options.resume, "--resume"), (args.plain, "--plain")):
        if given:
            raise UsageError(f"--all runs four demos beside each other on a screen: leave out {flag}")
    check_terminal()
    started = launch_all(options)

    def end() -> None:
        with ThreadPoolExecutor(len(started)) as pool:   # all are asked, also where the terminal is closed meanwhile
            list(pool.map(lambda one: one.end(), started))

    ask = Ask(tuple(one.run.path for one in started))
    return watch(started[0].run, rules=options.rules, owner=lambda: any(one.poll() is None for one in started),
                 end=end, place="gallery", ask=ask, settled=settled, pace=args.pace)
