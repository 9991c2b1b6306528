"""The one way for words to a terminal that is no screen: what is printed passes the last gate. Touches the output."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

from tuimon.record.text import printable


def print_words(words: str = "", file: TextIO | None = None, *, flush: bool = False) -> None:
    """Print one or more lines, by default to standard output, of which a terminal does nothing but show them.

    Errors of the output come as they are.
    """
    print(printable(words), file=file, flush=flush)


def mention(words: str, err: TextIO | None = None) -> None:
    """Print beside the output, by default to standard error. Where that takes nothing, nobody is told, and no more."""
    err = sys.stderr if err is None else err
    with suppress(OSError, ValueError):   # full, its reader gone, or closed
        if err is not None:
            print_words(words, err, flush=True)


def unwritable(error: OSError) -> str:
    """What a person is told of an output that takes nothing."""
    why = "it is closed" if error.errno == errno.EBADF else error.strerror or error
    return f"standard output: cannot be written: {why}"


def hush(stream: TextIO) -> None:
    """What waits in a stream that takes no more is let go; at the interpreter's end it would be an error once more."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
