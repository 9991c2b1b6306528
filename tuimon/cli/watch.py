"""`tuimon watch`: attach a viewer to a run, of this machine or of another."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tuimon.record.rundir import RunDir
    from tuimon.viewer.run import Ready
    from tuimon.viewer.wanted import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and how."""
    from tuimon.cli.looking import add_looking_arguments, add_read_only_argument

    parser.add_argument("runs", nargs="*", metavar="RUN|[USER@]HOST:[RUN]",
                        help="name, beginning of a name, or path; after HOST: of a run there, reached by your ssh; "
                        "several HOST: are one list of their runs")
    parser.add_argument("--hosts", metavar="FILE", help="the runs of these machines: one [user@]host[:root] a line")
    parser.add_argument("--slurm", metavar="JOBID", help="the run of this SLURM job, here or on its first machine")
    parser.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose verdicts to show")
    parser.add_argument("--control", action="store_true", help="with HOST: keys may command the run there, too")
    add_looking_arguments(parser)
    add_read_only_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show it."""
    from tuimon.cli.looking import heed_read_only
    from tuimon.errors import RunNotFound
    from tuimon.record.runs import find_run
    from tuimon.remote.host import can_be_a_host, names_a_host

    heed_read_only(args)
    args.run = next(iter(args.runs), None)
    if args.hosts is not None or len(args.runs) > 1:
        return _several(args)
    if args.slurm is not None:
        return _of_job(args)
    if args.run is not None and names_a_host(args.run):
        return _afar(args)
    try:
        found = find_run(args.run)
    except RunNotFound as error:
        if args.run is None or not can_be_a_host(args.run):
            raise
        return _afar(args, here=str(error))
    return _show(found, args)


def _of_job(args: argparse.Namespace) -> int:
    """The run of a job: seen from here, or over ssh to where the job began."""
    from tuimon.errors import RunNotFound, UsageError
    from tuimon.remote.slurm import job_of, run_of, run_told

    if args.run is not None:
        raise UsageError("--slurm says which run: leave its name away")
    told = run_told(args.slurm)
    if told is not None:
        return _show(told, args)
    job = job_of(args.slurm)
    try:
        return _show(run_of(job), args)
    except RunNotFound as error:
        if not job.head:
            raise
        args.run = f"{job.head}:"
        return _afar(args, here=str(error))


def _several(args: argparse.Namespace) -> int:
    """The runs of several machines as one list."""
    from tuimon.errors import UsageError
    from tuimon.record.hosts import nowhere
    from tuimon.remote.host import parse
    from tuimon.remote.linked import make_folder
    from tuimon.remote.reached import labels, listed
    from tuimon.remote.roll import read_roll
    from tuimon.viewer.run import check_terminal

    if args.slurm is not None or (args.hosts is not None and args.runs):
        raise UsageError("either runs, or --hosts FILE, or --slurm JOBID")
    if args.hosts is not None:
        targets = read_roll(args.hosts)
    else:
        for words in args.runs:
            if not words.endswith(":"):
                raise UsageError(f"{words!r:.80}: of several each is a machine, HOST: with nothing behind the colon")
        targets = [parse(words) for words in dict.fromkeys(args.runs)]
    check_terminal()
    place = make_folder()
    with listed(targets, control=args.control, place=place):
        ready = _ready(args, place)
        try:
            return _show(nowhere(place, ", ".join(labels(targets))), args, ready, place="runs")
        finally:
            ready.close()


def _afar(args: argparse.Namespace, here: str = "") -> int:
    """A run of another machine; `here`: why it is none of this one, where it might have been."""
    from tuimon.errors import RunNotFound
    from tuimon.record.printing import mention
    from tuimon.remote.host import Unreached, parse
    from tuimon.remote.linked import make_folder
    from tuimon.remote.reached import reached

    target = parse(args.run)
    ready: Ready | None = None
    if sys.stderr.isatty():   # before anything that ssh may ask
        mention(f"connecting to {target.label} (ssh)")

    def load() -> None:
        nonlocal ready
        ready = _ready(args, place)
        ready.load()

    place = make_folder()
    try:
        with reached(target, control=args.control, meanwhile=load, place=place) as far:
            return _show(far, args, ready)
    except Unreached as error:
        if not here:
            raise
        raise RunNotFound(f"{here}; nor is it a machine: {error}") from None
    finally:
        if ready is not None:
            ready.close()


def _ready(args: argparse.Namespace, hosts: Path) -> Ready:
    from tuimon.cli.looking import settings_from
    from tuimon.viewer.run import Ready

    return Ready(rules=args.rules, settled=settings_from(args), plain=args.plain, hosts=hosts)


def _show(found: RunDir, args: argparse.Namespace, ready: Ready | None = None, place: Place = "overview") -> int:
    from tuimon.cli.looking import settings_from
    from tuimon.viewer.run import watch

    return watch(found, rules=args.rules, settled=settings_from(args), pace=args.pace, plain=args.plain, ready=ready,
                 place=place)
