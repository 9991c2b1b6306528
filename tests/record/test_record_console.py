"""A console is read by line however it grows: by any pieces, of any lengths, truncated, replaced, or missing."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import ConsoleReader

from tuimon.record import console


@pytest.fixture
def small(monkeypatch):
    """Limits so small that short files meet them."""
    monkeypatch.setattr(console, "EVERY", 4)
    monkeypatch.setattr(console, "STRETCH", 40)
    monkeypatch.setattr(console, "LINE_BYTES", 16)
    monkeypatch.setattr(console, "_BLOCK", 7)


def expected(body: bytes) -> list[bytes]:
    lines = body.split(b"\n")
    return lines if lines[-1] else lines[:-1]


line = st.binary(max_size=16).map(lambda b: b.replace(b"\n", b" "))


@given(st.lists(line, max_size=40), st.booleans(), st.lists(st.integers(1, 60), max_size=12))
def test_every_line_is_found_whatever_the_pieces_it_came_in(tmp_path_factory, lines, ended, cuts):
    path = tmp_path_factory.mktemp("console") / "console.log"
    body = b"\n".join(lines) + (b"\n" if ended else b"")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("EVERY", 4), ("STRETCH", 40), ("LINE_BYTES", 16), ("_BLOCK", 7)):
            patch.setattr(console, name, value)
        reader, done = ConsoleReader(path), 0
        for cut in (*cuts, len(body)):
            with open(path, "ab") as file:
                file.write(body[done:done + cut])
            done += cut
            reader.poll()
            grown = expected(body[:done])
            assert reader.lines == len(grown)
            assert reader.complete == body[:done].count(b"\n")
            assert [raw for raw, _ in reader.read(0, 1000)] == grown
        whole = expected(body)
        for first in range(len(whole) + 1):
            assert [raw for raw, _ in reader.read(first, 3)] == whole[first:first + 3]
        segments = [reader.segment(i) for i in range(reader.entries)]
        assert b"\n".join(text for _, count, text in segments if count) == b"\n".join(whole[:reader.complete])
        assert [first for first, _, _ in segments] == sorted({first for first, _, _ in segments})
        reader.close()


def test_a_long_line_is_cut_at_its_end_and_what_rewrote_itself_at_its_beginning(tmp_path, small):
    path = tmp_path / "console.log"
    path.write_bytes(b"before\n" + b"x" * 200 + b"\n" + b"".join(b"\r%3d %%|###" % i for i in range(100)) + b"\nafter\n")
    reader = ConsoleReader(path)
    reader.poll()
    (_, _), (long, length), (bar, bar_length), (after, _) = reader.read(0, 10)
    assert (long, length) == (b"x" * 16, 200)
    assert bar.endswith(b"\r 99 %|###")
    assert len(bar) <= 16 < bar_length
    assert after == b"after"


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "console.log"
    with open(path, "wb") as file:
        file.writelines(b"a line like many others\n" * 2_000 for _ in range(100))
    reader = ConsoleReader(path)
    reader.poll()
    assert reader.lines == 200_000
    assert reader.entries < 300


def test_a_poll_takes_no_more_than_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "_BLOCK", 100)
    path = tmp_path / "console.log"
    path.write_bytes(b"123456789\n" * 100)
    reader = ConsoleReader(path)
    assert reader.poll(300)
    assert (reader.lines, reader.is_behind) == (30, True)
    while reader.is_behind:
        reader.poll(300)
    assert reader.lines == 100
    assert not reader.poll()


@pytest.mark.parametrize("rewrite", [
    lambda path: path.write_bytes(b"anew\n"),
    lambda path: path.write_bytes(b"anew, and with more than there was before\n" * 9),
    lambda path: (path.rename(path.with_suffix(".1")), path.write_bytes(b"anew\n")),
])
def test_a_truncated_rewritten_or_replaced_file_is_read_anew(tmp_path, rewrite):
    path = tmp_path / "console.log"
    path.write_bytes(b"one\ntwo\nthree\n")
    reader = ConsoleReader(path)
    reader.poll()
    rewrite(path)
    assert reader.poll()
    assert reader.generation == 1
    assert reader.read(0, 1)[0][0].startswith(b"anew")


def test_what_is_missing_or_no_file_is_empty_and_may_come(tmp_path):
    path = tmp_path / "console.log"
    reader = ConsoleReader(path)
    assert not reader.poll()
    assert (reader.exists, reader.lines, reader.read(0, 5)) == (False, 0, [])
    os.mkfifo(path)
    reader.poll()   # does not wait for a writer
    assert not reader.exists
    path.unlink()
    (tmp_path / "secret").write_bytes(b"not ours\n")
    path.symlink_to(tmp_path / "secret")
    reader.poll()
    assert not reader.exists
    path.unlink()
    path.write_bytes(b"here\n")
    reader.poll()
    assert reader.read(0, 5) == [(b"here", 4)]
    path.unlink()
    reader.poll()
    assert (reader.exists, reader.lines) == (False, 0)
