"""What was found, each with what it did."""

from __future__ import annotations

import struct

from tests.fuzz.recorded import messages, packed
from tuimon.record import log

_ROWS = struct.pack("<IHB", 2, 1, 0) + struct.pack("<2q2d2d", 1, 2, 0.0, 1.0, 2.5, 2.4)
_OPEN = ({"k": "open", "run": None, "control": True}, b"")

FOUND: dict[str, list[bytes]] = {
    "frames": [
        packed([(log.ROWS, _ROWS)]),   # without the bits of what is there: the far side took its near end for a stranger, and left
        # steps that are no whole numbers ended the far side
        packed([(log.HEAD, b'{"attempt": 1, "from_step": Infinity}')]), packed([(log.MARK, b'{"step": 1e999, "kind": "x", "fields": {}}')]),
    ],
    "far": [   # an answer that counts nothing, an age beyond all numbers: the far side ended
        messages(_OPEN, ({"k": "ack", "n": "x"}, b"")), messages(_OPEN, ({"k": "ack", "n": float("inf")}, b"")),
        messages(_OPEN, ({"k": "command"}, b'{"who": {}, "age": ' + b"9" * 400 + b"}")),
    ],
    "recalled": [(b'{"version": 2, "pyramid": [16, 4], "last_step": 1e999, "place": {"segment": "x", "offset": 0, "attempt": 1, "last_step": 0, "tensors": 0, '
                 b'"probes": 0, "damaged": 0, "beat": null}}')],   # OverflowError
    "label": [b"7"],   # for far.json, which is no object: AttributeError
}
