"""`tuimon checkpoints`: what of a run is on disk, how healthy it is, and whether it is whole."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.cli.tables import print_table
from tuimon.record.printing import print_words

if TYPE_CHECKING:
    from tuimon.formats.checkpointed import Kept, Stored


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of which run, and how closely."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="name, beginning of a name, or path")
    parser.add_argument("--verify", action="store_true",
                        help="compare every byte with what was written; status 3 if one is damaged")
    parser.add_argument("--load", action="store_true",
                        help="verify, and load each as resume would, in a process of its own (loads torch)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print a table; status 3 where one cannot be used."""
    import json
    import time

    from tuimon.formats.checkpointed import stored
    from tuimon.formats.progress import Bar
    from tuimon.record.runs import find_run

    found = find_run(args.run)
    with Bar() as watch:
        all_of_it = stored(found, verify=args.verify, load=args.load, watch=watch)
    if args.json:
        print_words(json.dumps(all_of_it.json(), indent=1, allow_nan=False))
    else:
        _print(all_of_it, time.time())
    return 3 if any(one.problem for one in all_of_it.kept) else 0


def _print(found: Stored, now: float) -> None:
    from tuimon.cli.printed import paper
    from tuimon.diagnosis.figures import counted, size, step
    from tuimon.viewer.text import clean

    name = clean(found.run.name)
    if found.kept:
        ticks = ("ok", "BAD") if paper().ascii_only else ("✔", "✘")
        print_table([("id", "step", "age", "size", "loss", "health", "verified", "kept as"),
                     *(_row(one, now, ticks) for one in found.kept)])
        for one in found.kept:
            if one.problem:
                print_words(f"{ticks[1]} {one.info.id}: {clean(one.problem)}")
        print_words()
    unfinished = f", {counted(found.unfinished, 'unfinished save')} among it" if found.unfinished else ""
    some = counted(len(found.kept), "checkpoint") if found.kept else "no checkpoints"
    print_words(f"{name}: {some}, {size(found.bytes)} on disk{unfinished}")
    print_words(_resumes(found) if found.kept else "c in a viewer writes one, and monitor.checkpoint() in the script.")
    if found.is_live:
        where = "the initial weights" if found.rescue is None else f"the snapshot of step {step(found.rescue)}"
        print_words(f"A rescue of the live run goes back to {where}, in memory.")


def _row(one: Kept, now: float, ticks: tuple[str, str]) -> tuple[str, ...]:
    from tuimon.diagnosis.figures import age, number, size, step

    info = one.info
    read = ticks[0] + (" loaded" if one.is_loaded else "")
    verified = ticks[1] if one.problem else read if one.is_read else "not read"
    kept = ", ".join(one.why) or "next to go"
    if info.problem:
        return info.id, step(info.step), "", "", "", one.state, verified, kept
    loss = "" if one.loss is None else number(one.loss)
    return (info.id, step(info.step), age(now - info.saved), size(info.bytes), loss, one.state, verified, kept)


def _resumes(found: Stored) -> str:
    if found.taken is None:
        return "tuimon.resume finds none that it could go on from."
    words = f"tuimon.resume goes on from {found.taken}"
    states = {one.info.id: one.state for one in found.kept}
    if states[found.taken] == "healthy" or found.last_healthy is None:
        return f"{words}."
    return f"{words}, which is {states[found.taken]}; the last healthy one: id={found.last_healthy!r}."
