"""The commands: a table, and one file each. A command's file, and what it needs, is imported when it runs.

A file has `add_arguments(parser)`, which loads nothing heavy, and `run(args)`, which returns the exit status: 0 all is
well; 2 what was asked cannot be done; 3 a verdict at or above --fail-on; 1 a fault of ours.
"""

from __future__ import annotations

import argparse
import copy
import errno
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from tuimon import __version__
from tuimon.cli.streams import open_closed, settle, was_closed
from tuimon.errors import TuimonError

COMMANDS: Final[dict[str, str]] = {
    "demo": "train a real GPT that goes wrong, and save it",
    "run": "run a training script as it is, and watch it",
    "watch": "attach a viewer to a run (the latest live one)",
    "runs": "list runs: state, age, verdict",
    "checkpoints": "list a run's checkpoints: health, size, why kept; --verify reads every byte",
    "status": "one line per live run, and an exit status for scripts",
    "notify": "who is told of what goes wrong, and a test of it",
    "diagnose": "judge runs and logs of other tools, without a screen",
    "autopsy": "where the first NaN came from: module, what went in, what to do",
    "explain": "what a finding means: its manual page",
    "compare": "lay runs over each other: curves, verdicts, what differs",
    "plot": "metrics as pictures in the terminal, with where incidents began",
    "report": "one HTML page about a run, to send to somebody",
    "curve": "read loss curves: trend, changes, forecast, two verdicts",
    "guide": "what can go wrong, why, and what helps: read a chapter",
    "export": "a run or a log as CSV, JSON lines, Parquet, SQLite or TensorBoard events",
    "agent": "what `tuimon watch HOST:` starts on the other machine",
    "mirror": "keep a TensorBoard directory up to date with a run",
    "torture": "do what can go wrong around a training, here: kill, fill, hang; what was survived",
}
"""Name, which is that of its file, and what it does."""


FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What an output says that takes no more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; never a traceback for anything a person can cause (TUIMON_DEBUG=1 shows it)."""
    open_closed()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()   # at the end of the interpreter nobody could say what is wrong
        return status  # noqa: TRY300  # what is wrong with the flush is said below
    except TuimonError as error:
        from tuimon.record.printing import mention
        from tuimon.record.text import clean

        mention(f"tuimon: {clean(str(error), 1000)}")   # it may name a file that somebody else has named
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        from tuimon.record.printing import hush

        hush(sys.stdout)
        return 0
    except Exception as error:
        return _failed(error)
    finally:
        settle()


def _run(argv: Sequence[str]) -> int:
    parser = _parser(argv)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.prog = getattr(args, "prog", parser.prog)   # the help that helps is the command's
        options = [word for word in unknown if word.startswith("-")]   # a name behind one is none too many
        parser.error(f"unrecognized arguments: {' '.join(options or unknown)}")
    command: Callable[[argparse.Namespace], int] | None = getattr(args, "command", None)
    if command is None:
        _parser(()).print_help()
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")   # not every terminal knows every letter of a run's name
    return command(args)


def _failed(error: Exception) -> int:
    """What nobody foresaw, and an output that takes no more."""
    from tuimon.record.printing import hush, mention, unwritable
    from tuimon.record.text import clean

    refused = (*FULL, errno.EBADF) if was_closed(sys.stdout) else FULL
    if isinstance(error, OSError) and error.filename is None and error.errno in refused:
        hush(sys.stdout)
        mention(f"tuimon: {unwritable(error)}")
        return 2
    if os.environ.get("TUIMON_DEBUG"):
        raise error
    words = f"{type(error).__name__}: {clean(str(error), 1000)}"
    mention(f"tuimon: a fault of ours: {words} (TUIMON_DEBUG=1 shows where)")
    return 1


class Arguments(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line; the usage is what --help is for.

    Options may stand before, between and behind names, as many as there are of these.
    """

    def parse_known_args(  # type: ignore[override]  # one of its overloads is what is called here
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Options first, wherever they stand before a `--`; then the names that are left, as if written together.

        Argparse alone looks for all names where the first one stands; its own cure, `parse_intermixed_args`, loses the
        `--` in some versions and is of no use to a subcommand.
        """
        words, names = list(sys.argv[1:] if args is None else args), self._get_positional_actions()
        if any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in names):
            return super().parse_known_args(words, namespace)   # what follows is for somebody else to read
        end = words.index("--") if "--" in words else len(words)
        nameless, named = copy.copy(self), copy.copy(self)
        vars(nameless).update(print_help=self.print_help, _actions=[
            _but(action, nargs=argparse.SUPPRESS, default=argparse.SUPPRESS) if action in names else action
            for action in self._actions])
        vars(named).update(_actions=[
            action if action in names else _but(action, required=False) for action in self._actions])
        parse = argparse.ArgumentParser.parse_known_args
        namespace, left = parse(nameless, words[:end], namespace)
        return parse(named, [*left, *words[end:]], namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        from tuimon.record.text import clean

        self.exit(2, f"tuimon: {clean(message.replace('argument ', '', 1), 1000)}; see {self.prog} --help\n")

    def _print_message(self, message: str, file: object = None) -> None:
        """Argparse's own says nothing of an output that takes no more."""
        from tuimon.record.printing import mention, print_words

        words = message.removesuffix("\n")
        if file is sys.stdout:
            print_words(words, flush=True)
        else:
            mention(words)


def _but(action: argparse.Action, **changes: object) -> argparse.Action:
    """The same with other values."""
    found = copy.copy(action)
    vars(found).update(changes)
    return found


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows every command's name, and the arguments of those that `argv` may mean."""
    parser = Arguments(
        prog="tuimon", description="Instrument panel and emergency brake for people who train transformers.",
    )
    parser.add_argument("--version", action="version", version=f"tuimon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, what in COMMANDS.items():
        one = commands.add_parser(name, help=what)
        if name in argv:
            module = importlib.import_module(f"tuimon.cli.{name}")
            module.add_arguments(one)
            one.set_defaults(command=module.run, prog=one.prog)
    return parser
