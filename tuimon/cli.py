"""The commands. Each imports what it needs when it runs, so that the first one to paint is quick.

Exit status: 0 all is well; 2 what was asked cannot be done; 3 a verdict at or above --fail-on; 1 a fault of ours.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from tuimon import __version__
from tuimon.errors import TuimonError, UsageError

if TYPE_CHECKING:
    from tuimon.diagnosis.curve.report import Page
    from tuimon.diagnosis.curve.sources import Log
    from tuimon.formats.judged import Judged
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
        from tuimon.viewer.text import clean

        print(f"tuimon: {clean(str(error), 1000)}", file=sys.stderr)  # it may name a file that somebody else has named
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

    diagnose = commands.add_parser("diagnose", help="judge runs and logs of other tools, without a screen")
    diagnose.add_argument(
        "runs", nargs="*", metavar="RUN|FILE",
        help="a run (or the latest live one), a log (.csv, .jsonl, TensorBoard, trainer_state.json, .wandb), a folder",
    )
    diagnose.add_argument("--json", action="store_true", help="print one JSON object; of several, one a line")
    diagnose.add_argument("--fail-on", choices=("info", "warning", "critical"), default="critical")
    diagnose.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose rules judge")
    diagnose.set_defaults(command=_diagnose)

    autopsy = commands.add_parser("autopsy", help="where the first NaN came from: module, what went in, what to do")
    autopsy.add_argument("run", nargs="?", metavar="RUN|FILE", help="a run (or the latest live one), or a log")
    autopsy.add_argument("--json", action="store_true", help="print one JSON object")
    autopsy.set_defaults(command=_autopsy)

    explain = commands.add_parser("explain", help="what a finding means: its manual page")
    explain.add_argument("rule", nargs="?", metavar="RULE", help="slug or code; without one, the list")
    explain.add_argument("--markdown", action="store_true", help="all pages as one Markdown document (docs/rules.md)")
    explain.set_defaults(command=_explain)

    curve = commands.add_parser("curve", help="read loss curves: trend, changes, forecast, two verdicts")
    curve.add_argument("sources", nargs="*", metavar="FILE|RUN", help="several are compared; the latest run by default")
    curve.add_argument("--gallery", action="store_true", help="the six patterns of the notebook, with both verdicts")
    curve.add_argument("--total-steps", type=_positive, metavar="N", help="step at which the run ends")
    curve.add_argument("--target", type=_finite, metavar="LOSS", help="say when this loss is reached")
    curve.add_argument("--json", action="store_true", help="print one JSON object, or for several a list of them")
    curve.set_defaults(command=_curve)
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
    _print_table(rows)
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

    from tuimon.diagnosis.model import SEVERITIES
    from tuimon.formats.judged import find, judged
    from tuimon.formats.told import told
    from tuimon.viewer.text import clean

    sources, missing = find(args.runs)
    found: list[Judged] = []
    unread = [*missing]
    single = len(sources) + len(missing) == 1
    for source in sources:
        try:
            found.append(judged(source, args.rules))
        except TuimonError as error:
            if single:
                raise
            unread.append(str(error))
    for line in unread:
        print(f"tuimon: {clean(line, 1000)}", file=sys.stderr)
    found.sort(key=lambda one: one.badness, reverse=True)
    if args.json:
        for one in found:
            print(json.dumps(one.json(), indent=1 if single else None, allow_nan=False))
    elif single:
        for line in told(found[0]):
            print(clean(line))
    elif found:
        _print_table([("log", "verdict", "steps", "since", "what"), *(_row(one) for one in found)])
    limit = SEVERITIES.index(args.fail_on)
    if any(SEVERITIES.index(i.severity) >= limit for one in found for i in one.diagnosis.open_incidents):
        return 3
    return 2 if unread else 0


def _row(one: Judged) -> tuple[str, ...]:
    from tuimon.viewer.text import clean

    leading = one.diagnosis.leading
    since, headline = (str(leading.onset_step), leading.headline) if leading else ("", "")
    return clean(one.reading.name), one.diagnosis.verdict, str(one.diagnosis.steps), since, clean(headline)


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _autopsy(args: argparse.Namespace) -> int:
    import json
    import shutil

    from tuimon.diagnosis.autopsy.page import page
    from tuimon.formats.autopsied import examined
    from tuimon.viewer.text import clean

    one = examined(args.run)
    if args.json:
        print(json.dumps(one.json(), indent=1, allow_nan=False))
        return 0
    if not one.found:
        print(f"{clean(one.reading.name)}: loss and gradients are finite in all {one.steps} steps: nothing to examine")
    for i, found in enumerate(one.found):
        print("" if i else clean(one.reading.name))
        for line in page(found, min(shutil.get_terminal_size((80, 24)).columns, 100), one.where, clean):
            print(line)
    return 0


def _explain(args: argparse.Namespace) -> int:
    import shutil
    import textwrap

    from tuimon.diagnosis.manual import markdown, page, pages

    if args.markdown:
        if args.rule is not None:
            raise UsageError(f"--markdown prints all pages: leave out {args.rule!r:.60}")
        print(markdown(), end="")
        return 0
    if args.rule is None:
        known = pages()
        wide = max(len(p.slug) for p in known)
        for one in known:
            print(f"{one.code}  {one.slug:<{wide}}  {one.summary}")
        return 0
    found = page(args.rule)
    width = min(shutil.get_terminal_size().columns, 100)
    print(f"{found.slug} ({found.code}, {found.category}): {found.summary}\n")
    for title, text in found.parts.items():
        print(textwrap.fill(f"{title}: {text}", width, break_on_hyphens=False) + "\n")
    print(f"Needs: {', '.join(found.needs)}.")
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1 is wanted")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: a finite number is wanted")
    return value


def _curve(args: argparse.Namespace) -> int:
    import json
    from dataclasses import replace

    from tuimon.diagnosis.curve.report import as_json, comparison, gallery, gallery_page, judge_source, page
    from tuimon.diagnosis.curve.sources import load
    from tuimon.viewer.text import clean

    if args.gallery:
        if args.sources:
            raise UsageError("--gallery shows the six patterns alone: leave out the files and runs")
        bodies = [as_json(j) for j in gallery()]
        print(json.dumps(bodies, indent=1, allow_nan=False) if args.json else gallery_page(_page()))
        return 0
    loaded = [load(name, _log_of) for name in args.sources or [None]]
    judged = [judge_source(replace(one, name=clean(one.name)), args.total_steps, args.target) for one in loaded]
    if args.json:
        bodies = [as_json(j) for j in judged]
        print(json.dumps(bodies if len(bodies) > 1 else bodies[0], indent=1, allow_nan=False))
    else:
        print(page(judged[0], _page()) if len(judged) == 1 else comparison(judged, _page()), end="")
    return 0


def _log_of(path: str) -> Log:
    from tuimon.formats import read

    found = read(path)
    return found.chunks, found.context.total_steps


def _page() -> Page:
    """As wide as the terminal, 80 columns in a pipe; colour on terminals that want it."""
    import shutil

    from tuimon.diagnosis.curve.report import Page
    from tuimon.viewer.glyphs import choose

    wide = shutil.get_terminal_size((80, 24)).columns
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Page(max(40, min(wide, 160)), colour, choose(os.environ, sys.stdout.encoding).name == "ascii")


if __name__ == "__main__":
    sys.exit(main())
