"""The options of every command that opens the panel: how it looks. Not a command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuimon.viewer.settings import Settled, Value


PLAIN = "no screen: a sentence when something changes (so by itself in a pipe, and with TERM=dumb)"


def add_looking_arguments(parser: argparse.ArgumentParser, plain: str = PLAIN) -> None:
    """Give a parser the options. Absent ones are left out of the namespace: the environment and the file decide.

    `plain`: what there is instead of a screen.
    """
    looks = parser.add_argument_group("looks", "for this time only; what is chosen in the panel (key ,) is kept")
    absent = argparse.SUPPRESS
    looks.add_argument("--theme", type=_accepted("theme"), metavar="NAME", default=absent,
                       help="auto, dark, light, safe-dark, gruvbox, nord, ...: the settings list all with a sample")
    looks.add_argument("--glyphs", type=_accepted("glyphs"), metavar="SET", default=absent,
                       help="auto, braille, block or ascii")
    looks.add_argument("--ascii", dest="glyphs", action="store_const", const="ascii", default=absent,
                       help="the same as --glyphs ascii")
    looks.add_argument("--fps", type=_accepted("fps"), metavar="N", default=absent,
                       help="frames a second, at most (4; 2 over SSH)")
    looks.add_argument("--no-mouse", dest="mouse", action="store_const", const="off", default=absent,
                       help="leave the mouse to the terminal (so over SSH by itself)")
    looks.add_argument("--pace", action=argparse.BooleanOptionalAction, default=None,
                       help="show a frame when the terminal has answered to the last (so over SSH by itself)")
    looks.add_argument("--plain", action="store_true", help=plain)


def add_read_only_argument(parser: argparse.ArgumentParser) -> None:
    """For commands that show what others have started."""
    parser.add_argument("--read-only", action="store_true",
                        help="look, and change nothing: no key reaches a run ($TUIMON_READONLY=1 for every viewer)")


def heed_read_only(args: argparse.Namespace) -> None:
    """Before the viewer and its processes begin."""
    from tuimon.record.readonly import only_look

    if args.read_only:
        only_look()


def settings_from(args: argparse.Namespace, env: Mapping[str, str] | None = None) -> Settled:
    """The preferences in force: flags, environment, file, defaults, in this order. Reads the file."""
    from tuimon.config.file import config_path, load
    from tuimon.viewer.settings import SETTINGS, settle

    env = os.environ if env is None else env
    flags = {row.key: getattr(args, row.key) for row in SETTINGS if row.flag and hasattr(args, row.key)}
    return settle(flags, env, *load(config_path(env)))


def _accepted(key: str) -> Callable[[str], Value]:
    """What argparse takes a value through."""
    def accept(word: str) -> Value:
        from tuimon.viewer.settings import find

        row = find(key)
        value = row.read(word)
        if value is None:
            raise argparse.ArgumentTypeError(row.complaint(word))
        return value

    return accept
