"""CRC-32C (Castagnoli) as TFRecord files carry it, over many records at once. Pure.

All records are worked through side by side, a byte of each at a time, so that the cost per byte is numpy's.
Source: RFC 3720, appendix B.4, for polynomial and test vectors; TFRecord's mask: rotate right by 15, add 0xa282ead8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_REFLECTED: Final = 0x82F63B78


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_REFLECTED), table >> 1).astype(np.uint32)
    return table


_TABLE: Final = _table()


def masked_crcs(records: Sequence[bytes]) -> NDArray[np.uint32]:
    """The masked checksum of each record (n,)."""
    lengths = np.array([len(record) for record in records], np.int64)
    return masked_crcs_in(np.frombuffer(b"".join(records), np.uint8), np.cumsum(lengths) - lengths, lengths)


def masked_crcs_in(
    flat: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64],
) -> NDArray[np.uint32]:
    """The masked checksum of each stretch of `flat` (n,)."""
    order = np.argsort(-lengths, kind="stable")  # longest first: those that have a byte j are the first ones
    starts = starts[order]
    longer = np.cumsum(np.bincount(lengths)[::-1])[::-1] if len(lengths) else np.zeros(0, np.int64)
    crc = np.full(len(lengths), 0xFFFFFFFF, np.uint32)
    for j, count in enumerate(longer[1:].tolist()):
        some = crc[:count]
        crc[:count] = _TABLE[(some ^ flat[starts[:count] + j]) & 0xFF] ^ (some >> np.uint32(8))
    crc ^= np.uint32(0xFFFFFFFF)
    found = np.empty_like(crc)
    found[order] = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
    return found
