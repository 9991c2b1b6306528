"""What goes over the link arrives as it was sent, in whatever pieces; what is no message is refused, however large it says it is."""

from __future__ import annotations

import ast
import math
import os
import re
import struct
import subprocess
import zlib
from array import array
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.record import log
from tuimon.record.metrics import METRICS
from tuimon.remote.bare import bare, stripped
from tuimon.remote.far import rows
from tuimon.remote.far.pace import FIRST, LEAST, Window
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.thin import Outline, rows_of, thinned
from tuimon.remote.far.wire import (
    BOOT,
    FOUND,
    MAGIC,
    MOST_PACKED,
    MOST_PLAIN,
    Packer,
    Unpacker,
    WireError,
    bits_of,
    mask_of,
    planes,
    unplanes,
)
from tuimon.remote.host import MODULES, Target, bundle, command

FLOATS = st.one_of(st.floats(width=32), st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e300, 5e-324]))


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    n, k = draw(st.integers(1, 12)), draw(st.integers(0, 4))
    steps = sorted(draw(st.sets(st.integers(0, 10**9), min_size=n, max_size=n)))
    names = draw(st.lists(st.sampled_from([*list(METRICS)[:6], "mine", "ünsere", "x" * 60]), min_size=k, max_size=k, unique=True))
    values = [array("d", draw(st.lists(FLOATS, min_size=n, max_size=n))) for _ in names]
    masks = [draw(st.none() | st.binary(min_size=n, max_size=n).map(lambda b: bytes(x & 1 for x in b))) for _ in names]
    return Rows(tuple(names), array("q", steps), array("d", [1e9 + s for s in steps]), values, [None if m is None or all(m) else m for m in masks])


@given(tables())
def test_rows_arrive_as_single_precision_and_nothing_becomes_infinite_or_nothing(table: Rows):
    there = rows.unpack(*rows.pack(table))
    assert (there.names, list(there.steps), there.present) == (table.names, list(table.steps), table.present)
    for mine, theirs in zip(table.values, there.values, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= 6e-8 * abs(a)


@given(tables())
def test_columns_of_five_digits_have_them_and_the_others_all(table: Rows):
    coarse = table.names[::2]
    there, exact = rows.unpack(*rows.pack(table, coarse)), rows.unpack(*rows.pack(table))
    for name, mine, whole, theirs in zip(table.names, table.values, exact.values, there.values, strict=True):
        for a, b, c in zip(mine, whole, theirs, strict=True):
            assert repr(b) == repr(c) if name not in coarse or not math.isfinite(a) else abs(a - c) <= 2e-5 * abs(a)


@given(tables())
def test_the_far_side_reads_and_writes_the_log_as_the_near_one(table: Rows):
    payload = rows.encode(table, {name: i for i, name in enumerate(METRICS)})
    frame = rows.frame(rows.ROWS, 7, payload)
    assert frame == log.encode_frame(log.ROWS, 7, payload)
    block = log.decode_rows(memoryview(payload))
    assert (block.steps.tolist(), list(block.columns)) == (list(table.steps), list(table.names))
    for name, mask in zip(table.names, table.present, strict=True):
        assert block.present[name].tolist() == [True] * len(table) if mask is None else [bool(m) for m in mask]
    (back,) = rows.decode(frame, [(a, b) for _, a, b in rows.walk(frame)], list(METRICS))
    assert rows.encode(back, {name: i for i, name in enumerate(METRICS)}) == payload


@given(st.lists(tables(), max_size=6))
def test_frames_of_one_row_are_read_together_as_one_by_one(parts: list[Rows]):
    payloads = [rows.encode(part.cut(i, i + 1), {}) for part in parts for i in range(len(part))]
    data, spans = b"".join(payloads), []
    for payload in payloads:
        start = spans[-1][1] if spans else 0
        spans.append((start, start + len(payload)))
    together = rows.decode(data, spans, list(METRICS))
    alone = [found for span in spans for found in rows.decode(data, [span], list(METRICS))]
    assert [s for r in together for s in r.steps] == [s for r in alone for s in r.steps]
    flat = [repr([(n, None if m is not None and not m[i] else v[i]) for n, v, m in zip(r.names, r.values, r.present, strict=True)])
            for r in together for i in range(len(r))]
    assert flat == [repr([(n, None if m is not None and not m[0] else v[0]) for n, v, m in zip(r.names, r.values, r.present, strict=True)]) for r in alone]


@given(st.binary(max_size=400), st.binary(max_size=60))
def test_damage_in_a_log_is_passed_over(noise: bytes, more: bytes):
    good = rows.frame(rows.BEAT, 1, b"{}")
    found = [data[a:b] for data in [noise + good + more + good] for kind, a, b in rows.walk(data) if kind == rows.BEAT]
    assert found[-1:] == [b"{}"]


@given(st.lists(st.tuples(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3), st.binary(max_size=3000)), max_size=5),
       st.lists(st.integers(1, 700), min_size=1, max_size=9), st.binary(max_size=50).filter(lambda b: b"\0" not in b))
def test_messages_arrive_in_whatever_pieces_behind_whatever_a_login_prints(messages, sizes, noise):
    packer, unpacker, found = Packer(), Unpacker(), []
    stream = noise + MAGIC + b"".join(packer.pack({**head, "k": "x"}, body) for head, body in messages)
    at, i = 0, 0
    while at < len(stream):
        size = sizes[i % len(sizes)]
        found += unpacker.feed(stream[at:at + size])
        at, i = at + size, i + 1
    assert found == [({**head, "k": "x"}, body) for head, body in messages]
    assert unpacker.noise == noise


def odd_streams() -> list[bytes]:
    bomb = zlib.compressobj(9)
    packed = bomb.compress(b"\0" * (MOST_PLAIN * 4)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    parts = [struct.pack("<I", MOST_PACKED + 1), struct.pack("<I", len(packed)) + packed, struct.pack("<I", 5) + b"abcde"]
    for plain in (b"", b"\5\0\0\0[1,2]", b"\xff\xff\xff\xff{}", b"\2\0\0\0{}", struct.pack("<I", 80_000) + b"[" * 80_000, b"\7\0\0\0" + b'{"k":1}'):
        packer = zlib.compressobj()
        data = packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH)
        parts.append(struct.pack("<I", len(data)) + data)
    return [MAGIC + part for part in parts] + [b"x" * (1 << 20)]


@pytest.mark.parametrize("stream", odd_streams())
def test_what_is_no_message_is_refused(stream: bytes):
    with pytest.raises(WireError):
        Unpacker().feed(stream)


@given(st.binary(max_size=300))
def test_noise_after_the_greeting_is_a_wire_error_or_nothing(data: bytes):
    try:
        Unpacker().feed(MAGIC + data)
    except WireError:
        pass


@given(st.binary(max_size=99).map(lambda b: b[: len(b) // 4 * 4]), st.binary(max_size=40).map(lambda b: bytes(x & 1 for x in b)))
def test_planes_and_masks_are_what_they_were(data: bytes, mask: bytes):
    assert unplanes(planes(data, 4), 4) == data
    assert mask_of(bits_of(mask), len(mask)) == mask


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf])), min_size=1, max_size=400), st.integers(1, 60), st.sampled_from([1, 4, 16]))
def test_an_outline_keeps_the_extremes_the_last_value_and_what_is_no_number(values: list[float], count: int, size: int):
    outline = Outline(size)
    whole = Rows(("loss",), array("q", range(1, len(values) + 1)), array("d", map(float, range(len(values)))), [array("d", values)], [None])
    for at in range(0, len(values), 7):
        outline.add(whole.cut(at, at + 7))
    thin = rows_of(outline.between(0, len(values), count))
    assert list(thin.steps) == sorted(set(thin.steps))
    kept, fine = list(thin.values[0]), [v for v in values if math.isfinite(v)]
    kept_fine = [v for v in kept if math.isfinite(v)]
    assert (min(kept_fine, default=0), max(kept_fine, default=0)) == (min(fine, default=0), max(fine, default=0))
    assert repr(kept[-1]) == repr(values[-1])
    assert (len(kept_fine) < len(kept)) == (len(fine) < len(values))
    assert thin.steps[-1] == len(values)


def test_few_rows_are_left_as_they_are_and_many_become_few():
    whole = Rows(("loss",), array("q", range(1, 1001)), array("d", [0.0] * 1000), [array("d", [float(i % 97) for i in range(1000)])], [None])
    assert thinned([whole.cut(0, 10)], 10)[1] is False
    (few,), is_thin = thinned([whole], 40)
    assert is_thin
    assert len(few) <= 40
    assert (max(few.values[0]), min(few.values[0]), few.steps[-1]) == (96.0, 0.0, 1000)


def test_a_window_shrinks_where_answers_come_late_and_grows_where_they_do_not():
    slow, now = Window(), 0.0
    for _ in range(200):   # 8 kB/s: whatever is sent waits for what was sent before it
        while slow.has_room:
            slow.sent(700, now)
        now += 700 / 8000
        slow.answered(1, now + 0.1)
    assert LEAST <= slow.size < FIRST / 2, "what is sent now arrives within half a second"
    assert 6000 < slow.rate < 10_000
    fast, now = Window(), 0.0
    for _ in range(400):
        while fast.has_room:
            fast.sent(4000, now)
        now += 0.05
        fast.answered(99, now)
    assert fast.size > 20 * FIRST
    fast.answered(10**9, now)
    assert fast.flying == 0


def test_what_is_sent_where_nothing_is_installed_starts_there_and_takes_the_question_that_comes_with_it(tmp_path: Path):
    """All in one go: of a bad link every answer that is waited for costs a third of a second."""
    script, packer = command(Target("x", None), sent=True)[-1], Packer()
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env={**os.environ, "TUIMON_RUNS": str(tmp_path)}) as far:
        assert far.stdin is not None
        assert far.stdout is not None
        far.stdin.write(bundle() + MAGIC + packer.pack({"k": "open", "run": None, "control": False}))
        far.stdin.flush()
        unpacker, found = Unpacker(), []
        while unpacker.begun != BOOT:
            unpacker.feed(far.stdout.read1())
        unpacker.again()
        while len(found) < 2:
            found += unpacker.feed(far.stdout.read1())
        assert [head["k"] for head, _ in found] == ["hello", "error"]
        assert "no runs" in found[1][0]["text"]
        far.stdin.close()
        assert far.wait(20) == 0
    assert len(bundle()) < 14_900, "less than two seconds of a modem"
    assert BOOT not in bundle()


def test_what_is_sent_is_the_far_side_without_what_is_for_people():
    for name in MODULES:
        source = resources.files("tuimon.remote.far").joinpath(f"{name}.py").read_text("utf-8")
        assert ast.dump(ast.parse(bare(source))) == ast.dump(ast.parse(ast.unparse(stripped(source))))


TRICKY = '''
"""A module."""
from typing import Any, NamedTuple
import os
total = 1
class Record(NamedTuple):
    """A record."""
    first: int
    second: dict[str, Any] = {}
class Counting:
    step: int = 0
    def count(self, steps: int, *, more: int = 0) -> int:
        """Closures, comprehensions, what is caught, what is of the module, and what is called by name."""
        global total
        import json as reader
        length: int
        def inner(value: int) -> int:
            nonlocal found
            found += value
            return sum(found for found in range(value)) + total
        found, total = 0, total + more
        try:
            raise ValueError(steps)
        except ValueError as error:
            caught = str(error)
        with open(os.devnull) as nothing:
            length = len(nothing.read())
        a = [inner(value=number) for number in range(steps)]
        list = {name: value for name, value in zip("xyz", a)}
        step = 3 if (first := Record(first=found).first) else 4
        return found, caught, length, a, list, self.step, step, first, reader.dumps(a), (lambda first: first + found)(2)
said = repr([Counting().count(steps=5, more=2), Counting().count(3), total, Record(1)])
'''


def test_a_program_does_the_same_when_what_is_for_people_is_left_out():
    whole, sent = {}, {}
    exec(TRICKY, whole)
    exec(bare(TRICKY), sent)
    assert sent["said"] == whole["said"]
    assert not {"caught", "length", "nothing", '"""'} & set(re.findall(r'\w+|"""', bare(TRICKY)))


def test_an_installed_tuimon_is_asked_while_it_still_starts(tmp_path: Path):
    """The shell says that it is found, before Python is up."""
    (tmp_path / "tuimon").write_text("#!/bin/sh\ncat\n")
    (tmp_path / "tuimon").chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["/bin/sh", "-c", command(Target("x", None))[-1]], input=b"asked", capture_output=True,
                          env={**os.environ, "PATH": path}, check=True)
    assert done.stdout == FOUND + b"asked"
