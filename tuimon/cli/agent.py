"""`tuimon agent`: the far end of `tuimon watch HOST:RUN`, which starts it over ssh. Speaks on stdin and stdout."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: what is wanted comes over the link."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Serve until the near end goes."""
    del args
    from tuimon import __version__
    from tuimon.record.metrics import METRICS
    from tuimon.remote.far.agent import main

    return main(list(METRICS), __version__)
