"""The options of every command that opens the panel: what the terminal at the other end can take. Not a command."""

from __future__ import annotations

import argparse


def add_terminal_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options."""
    group = parser.add_argument_group("terminal")
    group.add_argument("--plain", action="store_true",
                       help="no screen: a sentence when something changes (so by itself in pipes, and where TERM=dumb)")
    group.add_argument("--pace", action=argparse.BooleanOptionalAction, default=None,
                       help="show a frame when the terminal has answered to the last (so by itself over SSH)")
