"""`tuimon explain`: what a finding means."""

from __future__ import annotations

import argparse

from tuimon.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which rule."""
    parser.add_argument("rule", nargs="?", metavar="RULE", help="slug or code; without one, the list")
    parser.add_argument("--markdown", action="store_true", help="all pages as one Markdown document (docs/rules.md)")


def run(args: argparse.Namespace) -> int:
    """Print its manual page."""
    import shutil
    import textwrap

    from tuimon.diagnosis.manual import markdown, page, pages
    from tuimon.record.printing import print_words

    if args.markdown:
        if args.rule is not None:
            raise UsageError(f"--markdown prints all pages: leave out {args.rule!r:.60}")
        print_words(markdown().removesuffix("\n"))
        return 0
    if args.rule is None:
        known = pages()
        wide = max(len(p.slug) for p in known)
        for one in known:
            print_words(f"{one.code}  {one.slug:<{wide}}  {one.summary}")
        return 0
    found = page(args.rule)
    width = min(shutil.get_terminal_size().columns, 100)
    print_words(f"{found.slug} ({found.code}, {found.category}): {found.summary}\n")
    for title, text in found.parts.items():
        print_words(textwrap.fill(f"{title}: {text}", width, break_on_hyphens=False) + "\n")
    print_words(f"Needs: {', '.join(found.needs)}.")
    return 0
