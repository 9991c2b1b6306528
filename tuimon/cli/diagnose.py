"""`tuimon diagnose`: judge runs and logs of other tools, without a screen."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.cli.tables import print_table
from tuimon.errors import TuimonError

if TYPE_CHECKING:
    from tuimon.formats.judged import Judged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to judge, by whose rules, and what counts as failed."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN|FILE",
        help="a run (or the latest live one), a log (.csv, .jsonl, TensorBoard, trainer_state.json, .wandb), a folder",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; of several, one a line")
    parser.add_argument("--fail-on", choices=("info", "warning", "critical"), default="critical")
    parser.add_argument("--rules", choices=("tuimon", "notebook"), default="tuimon", help="whose rules judge")


def run(args: argparse.Namespace) -> int:
    """Judge, tell, and say by the status whether something is wrong."""
    import json

    from tuimon.diagnosis.model import SEVERITIES
    from tuimon.formats.judged import find, judged
    from tuimon.formats.progress import Bar
    from tuimon.formats.told import told
    from tuimon.record.printing import mention, print_words
    from tuimon.viewer.text import clean

    sources, missing = find(args.runs)
    found: list[Judged] = []
    unread = [*missing]
    single = len(sources) + len(missing) == 1
    for source in sources:
        try:
            with Bar() as watch:
                found.append(judged(source, args.rules, watch))
        except TuimonError as error:
            if single:
                raise
            unread.append(str(error))
    for line in unread:
        mention(f"tuimon: {clean(line, 1000)}")
    found.sort(key=lambda one: one.badness, reverse=True)
    if args.json:
        for one in found:
            print_words(json.dumps(one.json(), indent=1 if single else None, allow_nan=False))
    elif single:
        for line in told(found[0]):
            print_words(clean(line))
    elif found:
        print_table([("log", "verdict", "steps", "since", "what"), *(_row(one) for one in found)])
    limit = SEVERITIES.index(args.fail_on)
    if any(SEVERITIES.index(i.severity) >= limit for one in found for i in one.diagnosis.open_incidents):
        return 3
    return 2 if unread else 0


def _row(one: Judged) -> tuple[str, ...]:
    from tuimon.viewer.text import clean

    leading = one.diagnosis.leading
    since, headline = (str(leading.onset_step), leading.headline) if leading else ("", "")
    return clean(one.reading.name), one.verdict, str(one.diagnosis.steps), since, clean(headline)
