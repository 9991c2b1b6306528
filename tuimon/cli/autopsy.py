"""`tuimon autopsy`: where the first NaN came from."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    parser.add_argument("run", nargs="?", metavar="RUN|FILE", help="a run (or the latest live one), or a log")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Say where it came from."""
    import json
    import shutil

    from tuimon.diagnosis.autopsy.page import page
    from tuimon.formats.autopsied import examined
    from tuimon.record.printing import print_words
    from tuimon.viewer.text import clean

    one = examined(args.run)
    if args.json:
        print_words(json.dumps(one.json(), indent=1, allow_nan=False))
        return 0
    if not one.found:
        print_words(f"{clean(one.reading.name)}: loss and gradients are finite in all {one.steps} steps: nothing to "
                    "examine")
    for i, found in enumerate(one.found):
        print_words("" if i else clean(one.reading.name))
        for line in page(found, min(shutil.get_terminal_size((80, 24)).columns, 100), one.where, clean):
            print_words(line)
    return 0
