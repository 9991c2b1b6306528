"""`tuimon agent`: the far end of `tuimon watch HOST:RUN`, which starts it over ssh. Speaks on stdin and stdout."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: what is wanted comes over the link."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Serve until the near end goes."""
    del args
    import os

    from tuimon import __version__
    from tuimon.errors import UsageError
    from tuimon.record.metrics import METRICS
    from tuimon.remote.far.agent import main

    if os.isatty(0) or os.isatty(1):
        raise UsageError("this is no command for people: tuimon watch HOST: starts it on the other machine")
    return main(list(METRICS), __version__)
