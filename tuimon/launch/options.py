"""What a person can ask of `tuimon run`: the options before the script; what follows it is the script's own. Pure."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

from tuimon.diagnosis.model import Severity
from tuimon.errors import UsageError
from tuimon.launch.words import Detail, OnCritical, Rules
from tuimon.record.redact import redacted_words


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One script to run, and how it is to be watched."""

    script: str = ""
    """Path of the script; "" where a module is run."""
    module: str = ""
    arguments: tuple[str, ...] = ()
    """The script's own."""
    name: str | None = None
    """None: the script's."""
    total_steps: int | None = None
    detail: Detail = "auto"
    on_critical: OnCritical = "warn"
    rules: Rules = "tuimon"
    headless: bool = False
    fail_on: Severity = "critical"

    @property
    def label(self) -> str:
        """What the run is called."""
        return self.name or (self.module or Path(self.script).stem)

    @property
    def command(self) -> tuple[str, ...]:
        """What Python is given to run."""
        return ("-m", self.module, *self.arguments) if self.module else (self.script, *self.arguments)

    @property
    def words(self) -> str:
        """The command as a person types it, without what is secret in it."""
        return shlex.join(redacted_words(("python", *self.command)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options. Absent ones are left out of the namespace: defaults live in RunOptions."""
    absent = argparse.SUPPRESS
    parser.add_argument("--name", metavar="N", default=absent, help="what the run is called (the script's name)")
    parser.add_argument("--on-critical", choices=get_args(OnCritical), default=absent,
                        help="what the run does by itself (warn)")
    parser.add_argument("--detail", choices=get_args(Detail), default=absent,
                        help="how much is measured; auto keeps it near 1 %% of the step (auto)")
    parser.add_argument("--total-steps", type=int, metavar="N", default=absent,
                        help="length of the training, for progress and ETA")
    parser.add_argument("--rules", choices=get_args(Rules), default=absent, help="whose verdicts to show (tuimon)")
    parser.add_argument("--headless", action="store_true", default=absent,
                        help="no screen: a status line a second, JSON at the end")
    parser.add_argument("--fail-on", choices=get_args(Severity), default=absent,
                        help="with --headless: exit 3 from this severity up (critical)")
    parser.add_argument("-m", dest="module_line", metavar="MODULE ...", nargs=argparse.REMAINDER, default=absent,
                        help="run a module, as python -m does; all that follows is its own")
    parser.add_argument("script_line", metavar="SCRIPT ...", nargs=argparse.REMAINDER,
                        help="a training script; all that follows is its own")


def from_arguments(args: argparse.Namespace) -> RunOptions:
    """Options out of a namespace that `add_arguments` shaped. UsageError for what cannot work."""
    line, module_line = list(args.script_line), getattr(args, "module_line", None)
    if line[:1] == ["--"]:
        del line[0]
    words = line if module_line is None else list(module_line)
    if not words:
        raise UsageError("run wants a script: tuimon run [options] train.py [its arguments]" if module_line is None
                         else "run -m wants a module: tuimon run [options] -m package.module [its arguments]")
    total = getattr(args, "total_steps", None)
    if total is not None and total < 1:
        raise UsageError(f"--total-steps must be a whole number above 0, not {total}")
    names = {option.name for option in fields(RunOptions)}
    given = {k: v for k, v in vars(args).items() if k in names}
    first, rest = words[0], tuple(words[1:])
    if module_line is None:
        return RunOptions(script=first, arguments=rest, **given)
    return RunOptions(module=first, arguments=rest, **given)


def parse(argv: Sequence[str]) -> RunOptions:
    """Options out of a command line."""
    parser = argparse.ArgumentParser(prog="tuimon run", allow_abbrev=False)
    add_arguments(parser)
    return from_arguments(parser.parse_args(argv))
