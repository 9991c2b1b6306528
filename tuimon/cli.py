"""The commands. Each imports what it needs when it runs, so that the first one to paint is quick.

Exit status: 0 all is well; 2 what was asked cannot be done; 3 a verdict at or above --fail-on; 1 a fault of ours.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from tuimon import __version__
from tuimon.errors import TuimonError

if TYPE_CHECKING:
    from tuimon.record.status import RunStatus

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; never a traceback for anything a person can cause (TUIMON_DEBUG=1 shows it)."""
    args = _parser().parse_args(argv)
    command: Command | None = getattr(args, "command", None)
    if command is None:
        _parser().print_help()
        return 0
    try:
        return command(args)
    except TuimonError as error:
        print(f"tuimon: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("TUIMON_DEBUG"):
            raise
        print(f"tuimon: a fault of ours: {type(error).__name__}: {error} (TUIMON_DEBUG=1 shows where)", file=sys.stderr)
        return 1


class Arguments(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line; the usage is what --help is for."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"tuimon: {message.replace('argument ', '', 1)}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = Arguments(
        prog="tuimon", description="Instrument panel and emergency brake for people who train transformers.",
    )
    parser.add_argument("--version", action="version", version=f"tuimon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a real GPT that goes wrong, and save it")
    _demo_arguments(demo)
    demo.set_defaults(command=_demo)

    run = commands.add_parser("run", help="run a training script as it is, and watch it",
                              usage="tuimon run [options] SCRIPT ... | tuimon run [options] -m MODULE ...")
    _run_arguments(run)
    run.set_defaults(command=_run)

    watch = commands.add_parser("watch", help="attach a viewer to a run (the latest live one)")
    watch.add_argument("run", nargs="?", metavar="RUN", help="name, beginning of a name, or path")
    watch.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose verdicts to show")
    watch.set_defaults(command=_watch)

    runs = commands.add_parser("runs", help="list runs: state, age, verdict")
    runs.set_defaults(command=_runs)

    diagnose = commands.add_parser("diagnose", help="judge a run's log, without a screen")
    diagnose.add_argument("run", nargs="?", metavar="RUN", help="name, beginning of a name, or path")
    diagnose.add_argument("--json", action="store_true", help="print one JSON object")
    diagnose.add_argument("--fail-on", choices=("info", "warning", "critical"), default="critical")
    diagnose.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose rules judge")
    diagnose.set_defaults(command=_diagnose)
    return parser


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    from tuimon.demo.options import add_arguments

    add_arguments(parser)


def _demo(args: argparse.Namespace) -> int:
    from tuimon.demo.options import from_arguments

    options = from_arguments(args)
    if options.headless:
        from tuimon.demo.headless import run

        return run(options)
    from tuimon.demo.launch import launch
    from tuimon.viewer.run import check_terminal, watch

    check_terminal()  # before anything is started that a refusal would leave running
    started = launch(options)
    return watch(started.run, rules=options.rules, owner=True, end=started.end)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    from tuimon.launch.options import add_arguments

    add_arguments(parser)


def _run(args: argparse.Namespace) -> int:
    from tuimon.launch.options import from_arguments

    options = from_arguments(args)
    if options.headless:
        from tuimon.launch.script import run

        return run(options)
    from tuimon.launch.script import check, launch, left
    from tuimon.viewer.run import check_terminal, watch

    check(options)
    check_terminal()  # before anything is started that a refusal would leave running
    started = launch(options)
    watched = watch(started.run, rules=options.rules, owner=True, end=started.end)
    return watched or left(started)


def _watch(args: argparse.Namespace) -> int:
    from tuimon.record.runs import find_run
    from tuimon.viewer.run import check_terminal, watch

    check_terminal()
    return watch(find_run(args.run), rules=args.rules)


def _runs(_args: argparse.Namespace) -> int:
    import time

    from tuimon.record.rundir import list_runs, runs_root
    from tuimon.record.status import status
    from tuimon.viewer.charts.format import age, number, step
    from tuimon.viewer.text import clean

    runs = list_runs()
    if not runs:
        print(f"no runs under {runs_root()}; start one with: tuimon demo exploding")
        return 0
    now = time.time()
    rows = [("run", "state", "age", "steps", "loss", "verdict")]
    for run in runs:
        found = status(run)
        rows.append((
            clean(run.name), found.state, age(now - found.started) if found.started else "?", step(found.step),
            "" if found.loss is None else number(found.loss), _verdict(found),
        ))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _verdict(found: RunStatus) -> str:
    from tuimon.viewer.text import clean

    if found.state == "unreadable":
        return clean(found.why)
    if not found.step:
        return "nothing measured"
    return f"{found.verdict}: {clean(found.headline)}" if found.headline else found.verdict


def _diagnose(args: argparse.Namespace) -> int:
    import json

    from tuimon.diagnosis.model import SEVERITIES, diagnosis_json
    from tuimon.diagnosis.reading import diagnose_run
    from tuimon.record.runs import find_run
    from tuimon.record.status import status, told

    run = find_run(args.run)
    diagnosis = diagnose_run(run, rules=args.rules)
    body = diagnosis_json(diagnosis, source=run.name, state=status(run).state)
    labels = told(run).labels
    body["labels"] = [{"metric": metric, "text": text} for metric, text in labels]
    if args.json:
        print(json.dumps(body, indent=1, allow_nan=False))
    else:
        from tuimon.viewer.text import clean

        print(f"{body['verdict']} after {diagnosis.steps} steps ({body['state']})")
        for incident in diagnosis.incidents:
            print(f"{incident.code} {incident.severity} {incident.state}, since step {incident.onset_step}: "
                  f"{clean(incident.headline)}. {clean(incident.why)}")
        for metric, text in labels:
            print(f"note on {clean(metric)}: {clean(text)}")
    reached = [i for i in diagnosis.open_incidents if SEVERITIES.index(i.severity) >= SEVERITIES.index(args.fail_on)]
    return 3 if reached else 0


if __name__ == "__main__":
    sys.exit(main())
