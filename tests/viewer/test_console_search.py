"""Searching a console finds what a person would see in it, while it grows, and leads there and back round the ends."""

from __future__ import annotations

import itertools

import pytest

from tuimon.record import console
from tuimon.record.console import ConsoleReader
from tuimon.viewer.places.console.model import Jump, compiled, is_plain
from tuimon.viewer.places.console.search import Search

LINES = [
    b"step 1 loss 4.5", b"\x1b[31mER\x1b[0mROR: disk", b"\r10%\r20% oom\r\x1b[K99%", b"step 2 loss 4.4", b"Error again, error", "übermut".encode(),
    b"step 3 loss nan", b"a(b", b"last error",
]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "EVERY", 2)
    path = tmp_path / "console.log"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    reader = ConsoleReader(path)
    reader.poll()
    yield reader
    reader.close()


def hits(pattern, reader):
    search = Search(pattern, reader)
    while search.advance():
        pass
    found, serials = [], itertools.count(1)
    while True:
        answer = search.found(Jump(next(serials), 1, found[-1] if found else -1), None)
        if answer.line is None or answer.wrapped:
            return found
        found.append(answer.line)


@pytest.mark.parametrize(("pattern", "lines"), [
    ("error", [1, 4, 8]),
    ("Error", [4]),
    ("ERROR", [1]),
    (r"loss \d", [0, 3]),
    (r"^step", [0, 3, 6]),
    (r"\Astep", [0, 3, 6]),
    (r"4.\d$", [0, 3]),
    (r"4\s+step", []),
    ("oom", []),
    ("99%", [2]),
    ("Ü", []),
    ("über", [5]),
    ("a(b", [7]),
    ("x*", []),
])
def test_a_search_finds_the_lines_that_show_it(pattern, lines, reader):
    assert hits(pattern, reader) == lines


def test_a_pattern_is_plain_text_where_it_is_no_expression_that_finds_something():
    assert is_plain("a(b")
    assert is_plain("x*")
    assert not is_plain(r"loss \d+")
    assert compiled("[[a]").search("[")   # a FutureWarning of Python's own stays off the screen


def test_jumps_go_both_ways_and_round_the_ends(reader):
    search = Search("error", reader)
    while search.advance():
        pass

    def jump(serial, way, after):
        found = search.found(Jump(serial, way, after), None)
        assert found.serial == serial
        return found.line, found.wrapped

    assert jump(1, 1, 1) == (4, False)
    assert jump(2, 1, 8) == (1, True)
    assert jump(3, -1, 4) == (1, False)
    assert jump(4, -1, 1) == (8, True)
    assert search.found(None, 4).rank == 2
    assert search.found(None, 5).rank is None


def test_what_comes_later_is_found_and_the_unfinished_line_only_while_it_shows_it(reader):
    search = Search("error", reader)
    while search.advance():
        pass
    with open(reader.path, "ab") as file:
        file.write(b"an error begins")
        file.flush()
        reader.poll()
        search.advance()
        found = search.found(Jump(1, 1, 8), 9)
        assert (found.lines, found.line, found.wrapped, found.rank) == (4, 9, False, 4)
        file.write(b"\rit was none at all, after all\n")
    reader.poll()
    search.advance()
    assert search.found(None, None).lines == 3


def test_a_search_takes_its_time_in_pieces_and_answers_when_it_can(reader):
    search, ticks = Search("error", reader), itertools.count()
    assert search.advance(lambda: next(ticks), 0.5)   # one stretch of lines
    early = search.found(Jump(1, -1, 1), None)
    assert not early.complete
    assert early.serial == 0
    assert search.found(Jump(1, 1, 0), None).line == 1
    while search.advance(lambda: next(ticks), 0.5):
        pass
    assert search.found(Jump(2, -1, 1), None).line == 8


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+!", "((a?)b?)*c", "a*a*a*a*a*b", "(?:a+b?){9}", "a?" * 20 + "a" * 20])
def test_what_might_be_searched_for_ever_is_searched_as_plain_text(pattern):
    assert is_plain(pattern)


@pytest.mark.parametrize("pattern", [
    r"step .* loss .*nan", r"\d{4}-\d\d-\d\d \d+:\d+:\d+\.\d+", r"\(a+\)+", "[)(+*?]+x", "[]a]+x", "[^]a]+x", "(ab)+", r"(\w+) \1",
    "(?i:loss|grad) [0-9.]+", "(?P<n>x+)?y", "a{2,3}b",
])
def test_what_ends_is_searched_as_it_is_meant(pattern):
    assert not is_plain(pattern)


def test_a_long_line_is_searched_as_far_as_time_allows_and_left_for_a_while_after_each(tmp_path):
    path = tmp_path / "console.log"
    path.write_text(("a" * 5_000 + "\n") * 3 + "ab\n" + "c" * 300 + "aab\n")
    reader = ConsoleReader(path)
    reader.poll()
    ticks = itertools.count()
    search = Search("a+a*b", reader)
    rounds = 1
    while search.advance(lambda: next(ticks), 0.5):
        rounds += 1
    assert rounds >= 5
    assert hits("a+a*b", reader) == [3]
    assert hits("a+b", reader) == [3, 4]
    reader.close()
