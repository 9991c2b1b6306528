"""`tuimon runs`: the runs there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.cli.tables import print_table

if TYPE_CHECKING:
    from tuimon.record.status import RunStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Print them, newest first."""
    del args
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
    print_table(rows)
    return 0


def _verdict(found: RunStatus) -> str:
    from tuimon.viewer.text import clean

    if found.state == "unreadable":
        return clean(found.why)
    if not found.step:
        return "nothing measured"
    return f"{found.verdict}: {clean(found.headline)}" if found.headline else found.verdict
