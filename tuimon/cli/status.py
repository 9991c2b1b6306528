"""`tuimon status`: how the live runs are, one line each, with an exit status for scripts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from tuimon.cli.tables import print_table
from tuimon.record.printing import print_words

if TYPE_CHECKING:
    from tuimon.notify.ledger import Notices
    from tuimon.record.rundir import RunDir
    from tuimon.record.status import RunStatus

WRONG: Final = 3
NOBODY: Final = 4
LOST: Final = ("crashed", "died")
"""Ends of a run that no --fail-on lets pass."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and what counts as failed."""
    parser.add_argument("run", nargs="?", metavar="RUN",
                        help="this one, live or not: name, beginning of a name, or path; else every live one")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--fail-on", choices=("info", "warning", "critical"), default="critical",
                        help="exit status 3 from this severity up (critical)")
    parser.epilog = ("exit status: 0 all is well; 3 an open incident at or above --fail-on, a rank of a live run that "
                     "is silent or died, or the run named has crashed or died; 4 no live run; 2 no such run")


def run(args: argparse.Namespace) -> int:
    """Tell, and say by the status whether somebody should look."""
    import json
    import time

    from tuimon.notify.message import RANK
    from tuimon.record.rundir import list_runs
    from tuimon.record.runs import find_run
    from tuimon.record.status import is_live, status

    runs = [find_run(args.run)] if args.run else [run for run in list_runs() if is_live(run)]
    found, now = [(run, status(run)) for run in runs], time.time()
    if not args.run:
        found = [(run, one) for run, one in found if one.is_live]
    if args.json:
        for run, one in found:
            print_words(json.dumps(as_json(run, one, now), allow_nan=False))
    elif found:
        print_table([("run", "state", "step", "ETA", "loss", "age", "verdict"), *(_row(*one, now) for one in found)])
    else:
        print_words("no live run; tuimon runs lists those that have ended")
    least = RANK[args.fail_on]
    if any(RANK.get(one.verdict, 0) >= least or one.state in LOST or one.is_maimed for _, one in found):
        return WRONG
    return 0 if any(one.is_live for _, one in found) else NOBODY


def _row(run: RunDir, found: RunStatus, now: float) -> tuple[str, ...]:
    from tuimon.diagnosis.figures import age, duration, number, step
    from tuimon.record.lost import lost_words
    from tuimon.record.status import UNMEASURED
    from tuimon.record.text import clean

    verdict = clean(found.verdict, 20) or UNMEASURED
    if found.headline:
        since = "" if found.since is None else f" since step {step(found.since)}"
        verdict = f"{verdict}: {clean(found.headline)}{since}"
    if found.why:
        verdict += f" ({clean(found.why, 200)})"
    if found.lost:
        verdict += f"; {lost_words(found.lost)}"
    trouble = _told(run, found).trouble
    if trouble:
        verdict += f"  [not told: {clean(trouble, 120)}]"
    return (
        clean(run.name), clean(found.state, 20), step(found.step) + (f"/{step(found.total_steps)}" if found.total_steps
                                                                     else ""),
        "" if found.eta is None else duration(found.eta), "" if found.loss is None else number(found.loss),
        "?" if found.last_sign is None else age(max(0.0, now - found.last_sign)), verdict,
    )


def _told(run: RunDir, found: RunStatus) -> Notices:
    """How it stands with telling somebody; a helper that was killed could not say so itself."""
    from dataclasses import replace

    from tuimon.notify.ledger import is_followed, notices

    told = notices(run, found.attempt)
    if found.is_live and told.targets and is_followed(run) is False:
        return replace(told, trouble="the process that sends messages has gone")
    return told


def as_json(run: RunDir, found: RunStatus, now: float) -> dict[str, Any]:
    """One run, as strict JSON: numbers that are not finite are words, null is not known. Times are wall clock."""
    from tuimon.record.plain import finite

    told = _told(run, found)
    body: dict[str, Any] = finite({
        "schema": 1, "run": run.name, "path": str(run.path), "state": found.state, "live": found.is_live,
        "why": found.why, "attempt": found.attempt, "step": found.step, "total_steps": found.total_steps,
        "eta_seconds": found.eta, "step_seconds": found.step_time, "loss": found.loss, "lr": found.lr,
        "disk_full": found.is_full, "verdict": found.verdict or None, "headline": found.headline,
        "since_step": found.since, "started": found.started, "last_sign": found.last_sign,
        "age_seconds": None if found.last_sign is None else max(0.0, now - found.last_sign),
        "notify": {"to": list(told.targets), "sent": told.sent, "trouble": told.trouble},
    })
    if found.world > 1:
        body["ranks"] = as_ranks(found)
    return body


def as_ranks(found: RunStatus) -> dict[str, Any]:
    """The ranks of a run of several: how many, and which of them are not there."""
    states: dict[str, list[int]] = {"silent": [], "missing": [], "died": [], "crashed": []}
    for rank, state in found.lost:
        states[state].append(rank)
    return {"world": found.world, **states}
