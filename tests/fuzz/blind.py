"""Bytes made up without looking at what they do: seeded, so that what is found is found again."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

ODD = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}",
       b'""', b"1" * 400, b"\x1b]52;c;x\x07", "\u202e".encode(), b"\r\n", b"../", b"[" * 500)
"""Where readers of numbers, words and paths have been wrong before."""
_VALUE = re.compile(rb'-?\d[\d.e+-]*|"[^"\n]{0,80}"|true|false|null')
"""A number or a word of JSON, TOML or CSV."""


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of them, a few places of it changed."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 100)))
        match chance.randrange(9):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:end] = chance.randbytes(end - at)
            case 2:
                data[at:end] = b""
            case 3:
                data[at:at] = data[at:end] * chance.choice((1, 2, 50))
            case 4:
                data[at:end] = chance.choice(ODD)
            case 5:
                other = chance.choice(seeds)
                begin = chance.randrange(len(other) + 1)
                data[at:end] = other[begin:begin + chance.choice((4, 100, 3000))]
            case 6 | 7 if values := [found.span() for found in _VALUE.finditer(data)]:
                first, last = chance.choice(values)
                data[first:last] = chance.choice(ODD)
            case _:
                del data[at:len(data) if chance.random() < 0.1 else end]
    return bytes(data)
