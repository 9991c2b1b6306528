"""A log with a frame for each step: taken together, its frames are what they are one by one, damage included."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuimon.record import log
from tuimon.record.batch import decode_many
from tuimon.record.chains import chains
from tuimon.record.segments import Row

NAMES = ("loss", "grad_norm", "lr", "custom.é", "x" * 50)
(LIKE_A_FRAME,) = struct.unpack("<d", 2 * log.MAGIC)
"""A number whose bytes are those that a frame begins with."""
FRAMES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 31), st.booleans()), min_size=1, max_size=120)


def written(shapes, seed=0):
    """Frames of rows of many shapes with heartbeats between, as a writer leaves them."""
    rng, parts, step = np.random.default_rng(seed), [], 0
    for i, (count, mask, beats) in enumerate(shapes):
        rows = []
        for _ in range(count):
            step += 1
            numbers = [LIKE_A_FRAME if step % 50 == 7 else float(rng.normal()) for _ in NAMES]
            rows.append(Row(step, float(step), {n: numbers[j] for j, n in enumerate(NAMES) if mask >> j & 1}))
        parts.append(log.encode_rows(i, rows))
        if beats:
            parts.append(log.encode_json(log.BEAT, i, {"wall": 1.0, "mono": 2.0, "state": "running"}))
    return b"".join(parts)


def flat(data):
    """What `chains` finds, one by one."""
    for found in chains(data):
        if isinstance(found, int):
            yield found
        else:
            yield from zip(found.kinds.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True)


@given(FRAMES, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=4), st.floats(0, 1), st.booleans())
@settings(max_examples=50, deadline=None)
def test_frames_found_together_are_those_found_one_by_one_with_the_same_damage(shapes, flips, until, is_cut):
    data = bytearray(written(shapes * 3))
    for where, bits in flips:
        data[int(where * (len(data) - 1))] ^= bits
    given_bytes = bytes(data[: int(until * len(data))] if is_cut else data)
    expected = [f if isinstance(f, int) else (f.kind, f.start, f.end) for f in log.spans(given_bytes)]
    assert list(flat(given_bytes)) == expected


def test_what_stands_between_two_frames_is_damage():
    data = written([(1, 1, False)] * 100)
    size = len(data) // 100
    broken = bytearray(data)
    broken[40 * size] ^= 1   # no frame begins here any more
    assert list(flat(bytes(broken)))[40] == size
    assert list(flat(data[: 40 * size] + b"????" + data[40 * size:]))[40] == 4


@given(FRAMES, st.integers(0, 1 << 20))
@settings(max_examples=40, deadline=None)
def test_rows_decoded_together_are_those_decoded_one_by_one(shapes, seed):
    data = written(shapes, seed)
    found = [s for s in log.spans(data) if not isinstance(s, int) and s.kind == log.ROWS]
    together = decode_many(data, np.array([s.start for s in found]), np.array([s.end for s in found]))
    at = 0
    assert together.damaged == 0
    for i, span in enumerate(found):
        alone = log.decode_rows(memoryview(data)[span.start:span.end])
        cut = slice(at, at + len(alone.steps))
        assert together.block.steps[cut].tolist() == alone.steps.tolist()
        assert together.block.times[cut].tolist() == alone.times.tolist()
        assert set(together.frame[cut].tolist()) == {i}
        for name in NAMES:
            there = together.block.present[name][cut] if name in together.block.present else np.zeros(len(alone.steps))
            assert there.tolist() == alone.present.get(name, np.zeros(len(alone.steps), np.bool_)).tolist()
            if name in alone.columns:
                keep = alone.present[name]
                assert together.block.columns[name][cut][keep].tolist() == alone.columns[name][keep].tolist()
        at = cut.stop
    assert at == len(together.block.steps)


SHAPED_ALIKE = b"\x01\0\0\0\xff\xff".ljust(len(log.encode_rows(0, [Row(1, 0.0, {"loss": 0.0})])) - log.HEADER_BYTES, b"\0")


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(0, 11))
@example([SHAPED_ALIKE], 0)
@settings(max_examples=60, deadline=None)
def test_a_payload_that_contradicts_itself_costs_only_its_own_rows(foreign, at):
    sound = [log.encode_rows(i, [Row(i + 1, 0.0, {"loss": float(i)})])[log.HEADER_BYTES:] for i in range(12)]
    payloads = [*sound[:at], *foreign, *sound[at:]]
    bad = 0
    for payload in foreign:
        try:
            log.decode_rows(memoryview(payload))
        except ValueError:
            bad += 1
    ends = np.cumsum([len(p) for p in payloads])
    got = decode_many(b"".join(payloads), np.concatenate(([0], ends[:-1])), ends)
    assert got.damaged == bad
    losses = got.block.columns["loss"][got.block.present["loss"]]
    assert set(range(12)) <= set(losses.tolist())
