"""`tuimon runs`: the runs there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from tuimon.cli.tables import print_table

if TYPE_CHECKING:
    from tuimon.record.catalogue import Entry
    from tuimon.record.merged import Host
    from tuimon.record.query import Query
    from tuimon.record.status import RunStatus

PATIENCE: Final = 60.0
"""Seconds in which a machine has to tell of its runs."""
LOOKS: Final = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and for whom."""
    parser.add_argument(
        "query", nargs="*", metavar="QUERY",
        help="only the runs of which all this holds, in quotes: 'lr>1e-3 state:died age<2d -seed gpt' (what begins "
        "with a dash alone goes behind --)")
    parser.add_argument("--hosts", metavar="FILE",
                        help="the runs of these machines, over your ssh: one [user@]host[:root] a line, # for comments")
    parser.epilog = "exit status with --hosts: 3 where a machine was not reached, 2 where none was"
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Print them, live ones first, then newest first."""
    import json
    import math
    import time

    from tuimon.record.catalogue import Catalogue
    from tuimon.record.printing import print_words
    from tuimon.record.query import FIELDS, parse
    from tuimon.viewer.text import clean

    query = parse(" ".join(args.query))
    if args.hosts is not None:
        return _of_hosts(args, query)
    catalogue, now = Catalogue(), time.time()
    known = catalogue.poll(now, math.inf).entries
    entries = [entry for entry in known if query.matches(entry, now)]
    if args.json:
        for entry in entries:
            print_words(json.dumps(as_json(entry), allow_nan=False))
        return 0
    if not known:
        print_words(f"no runs under {clean(str(catalogue.root), 1000)}; start one with: tuimon demo exploding")
    elif not entries:
        print_words(f"none of {len(known)} runs match; a query compares or looks into {', '.join(FIELDS)}")
    else:
        print_table([("run", "state", "age", "steps", "loss", "best val", "verdict"), *(_row(e, now) for e in entries)])
    return 0


def _of_hosts(args: argparse.Namespace, query: Query) -> int:
    """The runs of several machines; those that are not reached are told on standard error."""
    import json
    import sys
    import time

    from tuimon.record.merged import Merged
    from tuimon.record.printing import print_words
    from tuimon.remote.reached import listed
    from tuimon.remote.roll import read_roll

    targets = read_roll(args.hosts)
    with listed(targets, control=False) as place:
        merged, until = Merged(place=place, here=False), time.monotonic() + PATIENCE
        found = merged.poll(time.time())
        while time.monotonic() < until and not (
                len(merged.hosts) == len(targets) and all(map(_is_told, merged.hosts))):
            time.sleep(LOOKS)
            found = merged.poll(time.time())
        hosts, now = merged.hosts, time.time()
    roots = {host.name: host.root for host in hosts}
    entries = [entry for entry in found.entries if query.matches(entry, now)]
    for host in hosts:
        if not _is_told(host) or host.state != "live":
            why = host.why or ("it asks for a login" if host.state == "refused" else f"no answer for {PATIENCE:.0f} s")
            print_words(f"tuimon: {host.name}: {why}", sys.stderr)
    if args.json:
        for entry in entries:
            body = {**as_json(entry), "path": f"{roots[entry.machine]}/{entry.key}"}
            print_words(json.dumps(body, allow_nan=False))
    elif entries:
        heads = ("host", "run", "state", "age", "steps", "loss", "best val", "verdict")
        print_table([heads, *((entry.machine, *_row(entry, now)) for entry in entries)])
    elif found.entries:
        print_words(f"none of {len(found.entries)} runs match")
    reached = sum(host.state == "live" for host in hosts)
    return 0 if reached == len(targets) else 3 if reached else 2


def _is_told(host: Host) -> bool:
    """Whether nothing more is to be awaited of it."""
    return host.unread == 0 if host.state == "live" else bool(host.why)


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    from tuimon.diagnosis.figures import age, number, step
    from tuimon.viewer.text import clean

    found = entry.status
    since = found.started is not None and found.started > 0
    label = " · ".join(part for part in (entry.label.name, entry.label.note) if part)
    return (
        clean(entry.key), clean(found.state, 20), age(now - entry.started) if since else "?", step(found.step),
        "" if found.loss is None else number(found.loss), "" if entry.best_val is None else number(entry.best_val),
        _verdict(found) + (f"  ({clean(label, 120)})" if label else ""),
    )


def _verdict(found: RunStatus) -> str:
    from tuimon.record.lost import lost_words
    from tuimon.record.status import UNMEASURED
    from tuimon.viewer.text import clean

    if found.state == "unreadable":
        return clean(found.why)
    verdict = clean(found.verdict, 20) or UNMEASURED
    verdict += f": {clean(found.headline)}" if found.headline else ""
    if found.lost:
        verdict += f"; {lost_words(found.lost)}"
    return f"{verdict} ({found.why})" if found.is_full else verdict


def as_json(entry: Entry) -> dict[str, Any]:
    """One run, as strict JSON: numbers that are not finite are words, null is not known. Times are wall clock."""
    from tuimon.cli.status import as_ranks
    from tuimon.record.plain import finite

    found = entry.status
    body: dict[str, Any] = finite({
        "schema": 1, "machine": entry.machine, "run": entry.key, "path": str(entry.path), "name": entry.run_name,
        "label": entry.label.name,
        "note": entry.label.note, "state": found.state, "why": found.why, "started": found.started,
        "last_sign": found.last_sign, "attempt": found.attempt, "step": found.step,
        "total_steps": found.total_steps, "disk_full": found.is_full,
        "verdict": found.verdict or None, "headline": found.headline,
        "since_step": found.since, "loss": found.loss, "best_val_loss": entry.best_val,
        "best_val_step": entry.best_val_step, "lr": found.lr, "losses": list(entry.losses),
        "optimizer": entry.optimizer, "model": entry.model, "parameters": entry.parameters or None,
        "device": entry.device, "host": entry.host, "pid": entry.pid or None, "argv": list(entry.argv),
        "bytes": entry.size, "checkpoints": entry.checkpoints,
    })
    if found.world > 1:
        body["ranks"] = as_ranks(found)
    return body
