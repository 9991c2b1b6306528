"""What the columns of an export are called: a script may have given its metrics any names. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tuimon.formats.names import PER_LAYER
from tuimon.formats.table import EVENT
from tuimon.record.metrics import METRICS
from tuimon.record.probes import QUANTITIES
from tuimon.record.text import clean, is_seen

RESERVED: Final = ("step", "time", "attempt", EVENT, *PER_LAYER, *(QUANTITIES.keys() - METRICS.keys()))


def titles(names: Iterable[str]) -> dict[str, str]:
    """Name -> title: without what is not seen, none twice in any case of letters, none that is reserved."""
    found: dict[str, str] = {}
    taken = set(RESERVED)
    for name in names:
        plain = clean("".join(c if is_seen(c) else "_" for c in name), len(name)) or "_"
        title, number = plain, 2
        while title.lower() in taken:
            title, number = f"{plain}_{number}", number + 1
        taken.add(title.lower())
        found[name] = title
    return found
