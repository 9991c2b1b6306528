"""What goes over the link, either way. Pure.

    stream    anything a login prints | MAGIC | messages
    message   length u32 | that many bytes of one zlib stream, which is flushed after each
    plain     length of the head u32 | head, a JSON object | body

What comes from the other side is not trusted: lengths are capped, and whatever is no message is a WireError.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

MAGIC = b"\0TUIMON-FAR 1\n"
FOUND = b"\0TUIMON-FOUND\n"
"""Before MAGIC: the login is through, and tuimon is being started."""
BOOT = b"\0TUIMON-BOOT\n"
"""Instead of FOUND: nothing is installed there, and the modules may be sent to the Python that is being started."""
MOST_NOISE = 256 << 10
MOST_PACKED = 1 << 20
MOST_PLAIN = 8 << 20
_LENGTH = struct.Struct("<I")


class WireError(Exception):
    """What came is no message."""


class Packer:
    """Messages into bytes."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(6)

    def pack(self, head: dict[str, Any], body: bytes = b"") -> bytes:
        """One message."""
        words = json.dumps(head, separators=(",", ":")).encode()
        plain = _LENGTH.pack(len(words)) + words + body
        if len(plain) > MOST_PLAIN:
            raise WireError(f"a message of {len(plain)} bytes")
        packed = self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        return _LENGTH.pack(len(packed)) + packed


class Unpacker:
    """Bytes into messages, in whatever pieces they come."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj()
        self._kept = b""
        self.begun = b""
        """MAGIC, FOUND or BOOT once one of them came."""
        self.noise = b""
        """What came before it."""

    def feed(self, data: bytes) -> list[tuple[dict[str, Any], bytes]]:
        """The messages that are complete by now, each a head and a body."""
        self._kept += data
        if not self.begun and not self._begin():
            return []
        found = []
        while self.begun == MAGIC and len(self._kept) >= 4:
            (length,) = _LENGTH.unpack_from(self._kept)
            if length > MOST_PACKED:
                raise WireError(f"a message of {length} bytes")
            if len(self._kept) < 4 + length:
                break
            packed, self._kept = self._kept[4:4 + length], self._kept[4 + length:]
            found.append(self._plain(packed))
        return found

    def again(self) -> None:
        """After FOUND and BOOT, what is started there speaks."""
        self.begun = b""

    def _begin(self) -> bool:
        places = [(at, mark) for mark in (MAGIC, FOUND, BOOT) for at in [self._kept.find(mark)] if at >= 0]
        if not places:
            if len(self._kept) > MOST_NOISE:
                raise WireError(f"no word of tuimon in {len(self._kept)} bytes")
            return False
        at, self.begun = min(places)
        self.noise, self._kept = self._kept[:at], self._kept[at + len(self.begun):]
        return True

    def _plain(self, packed: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            plain = self._zlib.decompress(packed, MOST_PLAIN + 1)
            if len(plain) > MOST_PLAIN or self._zlib.unconsumed_tail or self._zlib.eof:
                raise WireError(f"a message that unpacks to more than {MOST_PLAIN} bytes")
            (length,) = _LENGTH.unpack_from(plain)
            head = json.loads(plain[4:4 + length])
        except (zlib.error, struct.error, ValueError, RecursionError) as error:
            raise WireError(f"not a message: {error}") from None
        if not isinstance(head, dict) or not isinstance(head.get("k"), str):
            raise WireError("a message without a kind")
        return head, plain[4 + length:]


def planes(data: bytes, width: int) -> bytes:
    """First bytes of all numbers, then second bytes, ...: of like numbers the upper ones compress to nothing."""
    return b"".join(data[i::width] for i in range(width))


def unplanes(data: bytes, width: int) -> bytes:
    """The numbers again; WireError where they are not whole."""
    count, rest = divmod(len(data), width)
    if rest:
        raise WireError("numbers that are not whole")
    out = bytearray(len(data))
    for i in range(width):
        out[i::width] = data[i * count:(i + 1) * count]
    return bytes(out)


def bits_of(mask: bytes) -> bytes:
    """A byte, 0 or 1, per row as a bit per row, the first one highest."""
    if not mask:
        return b""
    text = mask.translate(_ASCII).decode() + "0" * (-len(mask) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def mask_of(bits: bytes, count: int) -> bytes:
    """The bytes again; WireError where there are too few."""
    if len(bits) < (count + 7) // 8:
        raise WireError("a mask that ends early")
    if not count:
        return b""
    text = bin(int.from_bytes(b"\1" + bits, "big"))[3:]
    return bytes(map(int, text[:count]))


_ASCII = bytes([48, 49]) + bytes(254)
