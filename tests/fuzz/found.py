"""What was found, each with what it did."""

from __future__ import annotations

import struct

from tests.fuzz.recorded import packed
from tuimon.record import log

_ROWS = struct.pack("<IHB", 2, 1, 0) + struct.pack("<2q2d2d", 1, 2, 0.0, 1.0, 2.5, 2.4)

FOUND: dict[str, list[bytes]] = {
    "frames": [packed([(log.ROWS, _ROWS)])],   # without the bits of what is there: the far side took its near end for a stranger, and left
    "label": [b"7"],   # for far.json, which is no object: AttributeError
}
