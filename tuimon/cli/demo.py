"""`tuimon demo`: train a real GPT that goes wrong, and save it."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's own options."""
    from tuimon.demo.options import add_arguments as add

    add(parser)


def run(args: argparse.Namespace) -> int:
    """Start it, and show it."""
    from tuimon.demo.options import from_arguments

    options = from_arguments(args)
    if options.headless:
        from tuimon.demo.headless import run as run_headless

        return run_headless(options)
    from tuimon.demo.launch import launch
    from tuimon.viewer.run import check_terminal, watch

    check_terminal()  # before anything is started that a refusal would leave running
    started = launch(options)
    return watch(started.run, rules=options.rules, owner=True, end=started.end)
