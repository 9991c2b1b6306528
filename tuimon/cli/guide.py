"""`tuimon guide`: what there is to learn, as text."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which chapter."""
    parser.add_argument("chapter", nargs="?", metavar="CHAPTER", help="its name or how it begins; without it, the list")


def run(args: argparse.Namespace) -> int:
    """Print it, with its curves; without one, the list of chapters."""
    import os
    import shutil
    import sys

    from tuimon.record.printing import print_words
    from tuimon.viewer.glyphs import choose
    from tuimon.viewer.places.guide.content import chapter, chapters
    from tuimon.viewer.places.guide.page import page

    if args.chapter is None:
        known = chapters()
        wide = max(len(one.slug) for one in known)
        for one in known:
            print_words(f"{one.slug:<{wide}}  {one.summary}")
        return 0
    width = shutil.get_terminal_size((80, 24)).columns
    for line in page(chapter(args.chapter), width, choose(os.environ, sys.stdout.encoding)):
        print_words(line)
    return 0
