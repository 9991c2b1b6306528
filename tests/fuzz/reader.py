"""What a reader under test is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """One reader."""

    read: Callable[[Path, bytes], None]
    seeds: Callable[[Path], list[bytes]]
    """Inputs that are as they should be."""


@contextmanager
def refused(kind: type[Exception]) -> Iterator[None]:
    """It may be, in one line."""
    try:
        yield
    except kind as error:
        assert "\n" not in str(error)  # noqa: PT017  # one that is not raised is as good
