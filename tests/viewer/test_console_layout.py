"""The console on the screen: what stands where, where scrolling leads, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.places.console import layout
from tuimon.viewer.places.console.draw import draw
from tuimon.viewer.places.console.layout import broken, covers, cut, pieces, scrolled, top_of
from tuimon.viewer.places.console.line import Shown
from tuimon.viewer.places.console.model import ConsoleView, Found, Look

texts = st.lists(st.text(alphabet="ab 漢é", max_size=30), min_size=1, max_size=30)


def view_of(lines, first=0, total=None):
    return ConsoleView("ready", len(lines) + first if total is None else total, 1, first, tuple(Shown(t) for t in lines))


def rows(view, look, width=10, height=5):
    return [piece.text for piece in pieces(view, look, width, height)]


@settings(max_examples=40)
@given(texts, st.integers(2, 12), st.integers(1, 8), st.booleans())
def test_following_shows_the_last_rows(lines, width, height, wrap):
    view = view_of(lines)
    every = [row for line in lines for row in (broken(line, width) if wrap else [cut(line, 0, width)])]
    assert rows(view, Look(wrap=wrap), width, height) == every[-height:]


@settings(max_examples=40)
@given(texts, st.integers(2, 12), st.integers(1, 8), st.lists(st.integers(-9, 9), max_size=12))
def test_scrolling_moves_by_rows_and_stays_inside(lines, width, height, moves):
    view, look = view_of(lines), Look()
    every = [row for line in lines for row in broken(line, width)]
    last = max(0, len(every) - height)
    at = last
    for by in moves:
        look = scrolled(view, look, by, width, height)
        at = max(0, min(last, at + by))
        assert rows(view, look, width, height) == every[at:at + height]


@settings(max_examples=40)
@given(st.text(alphabet="ab漢é", max_size=20), st.integers(0, 30), st.integers(1, 12))
def test_a_cut_line_is_the_cells_asked_for(text, left, width):
    from rich.cells import cell_len

    assert cell_len(cut(text, left, width)) == max(0, min(width, cell_len(text) - left))


def test_the_way_up_stops_following_and_the_way_down_never_starts_it():
    view = view_of([str(i) for i in range(20)])
    up = scrolled(view, Look(), -3, 10, 5)
    assert (up.follows, rows(view, up)) == (False, ["12", "13", "14", "15", "16"])
    down = scrolled(view, up, 9, 10, 5)
    assert (down.follows, rows(view, down)) == (False, ["15", "16", "17", "18", "19"])
    assert scrolled(view, Look(), 3, 10, 5).follows


def test_a_new_line_moves_only_who_follows():
    before, after = view_of(list("abcdefgh")), view_of(list("abcdefghi"))
    up = scrolled(before, Look(), -2, 10, 5)
    assert rows(after, up) == rows(before, up)
    end = scrolled(before, up, 9, 10, 5)
    assert rows(after, end) == rows(before, end) == list("defgh")
    assert rows(after, Look())[-1] == "i"


def test_what_has_not_been_read_is_known_to_be_missing():
    view = view_of(["x"] * 10, first=50, total=100)
    assert covers(view, Look(top=52), 10, 5)
    assert not covers(view, Look(top=45), 10, 5)
    assert not covers(view, Look(), 10, 5)


PRINTED = [
    Shown("Epoch 1"), Shown("UserWarning: lr is high", "warning"), Shown("step 1 loss 4.66"), Shown("step 2 loss 4.61"),
    Shown("Traceback (most recent call last):", "critical"), Shown('  File "train.py", line 3, in <module>'),
    Shown("ValueError: a message that is longer than the screen is wide and wraps", "critical"), Shown("end", cut="3.0 MB in this line"),
]


def test_a_console_as_a_picture():
    view = ConsoleView("ready", 8, 100, 0, tuple(PRINTED), Found("loss", 2, 8, complete=True, rank=2))
    look = Look(numbers=True, pattern="loss", mark=3)
    assert draw(view, look, 60, 13, BRAILLE).lines == [
        "╭─ console · /loss · 2 of 2 lines ──── 8 of 8 · following ─╮",
        "│  1   Epoch 1                                             │",
        "│  2 ▲ UserWarning: lr is high                             │",
        "│  3   step 1 loss 4.66                                    │",
        "│  4 ▸ step 2 loss 4.61                                    │",
        "│  5 ✖ Traceback (most recent call last):                  │",
        '│  6     File "train.py", line 3, in <module>              │',
        "│  7 ✖ ValueError: a message that is longer than the screen│",
        "│    ┊  is wide and wraps                                  │",
        "│  8   end … 3.0 MB in this line                           │",
        "│                                                          │",
        "│                                                          │",
        "╰──────────────────────────────────────────────────────────╯",
    ]
    marked = [run for row in draw(view, look, 60, 13, BRAILLE).rows for run in row if run.ground == "usual"]
    assert [run.text for run in marked] == ["loss", "loss"]


def test_cut_lines_say_that_they_go_on_and_can_be_shifted():
    view = ConsoleView("ready", 1, 100, 0, (Shown("0123456789" * 9),))
    cut_off = Look(wrap=False)
    assert draw(view, cut_off, 30, 13, BRAILLE).lines[1] == "│  0123456789012345678901234…│"
    assert draw(view, cut_off.shifted(8), 30, 13, BRAILLE).lines[1] == "│  8901234567890123456789012…│"
    assert cut_off.shifted(-3).left == 0
    assert Look().shifted(8).left == 0


def test_search_that_finds_nothing_says_so_and_so_does_plain_text():
    view = view_of(["a"])
    said = draw(replace(view, found=Found("z(", 0, 1, complete=True)), Look(pattern="z("), 80, 13, BRAILLE).lines[0]
    assert "console · /z( as plain text · not found" in said
    assert "searching" in draw(view, Look(pattern="q"), 80, 13, BRAILLE).lines[0]
    some = replace(view, found=Found("a", 1, 1, complete=False))
    assert "/a · 1 line in the first 1" in draw(some, Look(pattern="a"), 80, 13, BRAILLE).lines[0]


def test_empty_states_say_what_is_awaited_and_how_to_get_it():
    def said(state, width=76, height=14, glyphs=BRAILLE):
        return " ".join(" ".join(draw(ConsoleView(state), Look(), width, height, glyphs).lines).split())

    assert "Nothing has been printed yet." in said("missing")
    over = "\n".join(draw(ConsoleView("missing"), Look(), 76, 14, BRAILLE, live=False).lines)
    assert "This run printed nothing." in over and "yet" not in over
    assert "tuimon run script.py" in said("elsewhere")
    assert "tuimon.attach" in said("elsewhere", 38, 9)
    assert "Reading" in said("reading")
    assert said("elsewhere", glyphs=ASCII).isascii()


def test_positions_fit_every_width():
    view = ConsoleView("ready", 1_204_331, 1, 81_000, tuple(Shown("x") for _ in range(300)))
    look = Look(top=81_100)
    assert "line 81,122 of 1,204,331 · 1,123,209 below" in draw(view, look, 118, 24, BRAILLE).lines[0]
    assert "81,122 of 1,204,331 " in draw(view, look, 50, 24, BRAILLE).lines[0]
    for width in (36, 40, 60, 78, 118, 198):
        picture = draw(view, look, width, 24, BRAILLE)
        assert {len(line) for line in picture.lines} == {width}


def test_one_place_decides_how_far_down_the_screen_can_go():
    view = view_of(["x" * 25, "y"])
    assert top_of(view, Look(), 10, 3) == (0, 1)
    assert layout.height_of(view, Look(), 0, 10) == 3
