"""The one way for words to a terminal that is no screen: what is printed passes the last gate. Touches the output."""

from __future__ import annotations

from typing import TextIO

from tuimon.record.text import printable


def print_words(words: str = "", file: TextIO | None = None, *, flush: bool = False) -> None:
    """Print one or more lines, by default to standard output, of which a terminal does nothing but show them.

    Errors of the output come as they are.
    """
    print(printable(words), file=file, flush=flush)
