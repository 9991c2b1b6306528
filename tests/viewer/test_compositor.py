"""An update sends the cells that changed, and asks nobody else for theirs."""

from __future__ import annotations

import re

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from textual._compositor import Compositor
from textual.geometry import Region, Size
from textual.strip import Strip

from tuimon.viewer.compositor import PiecewiseCompositor, compositor

WIDTH, HEIGHT = 12, 3
SCREEN = Region(0, 0, WIDTH, HEIGHT)
REGIONS = st.builds(Region, st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, WIDTH),
                    st.integers(1, HEIGHT)).map(SCREEN.intersection)


class Block:
    """Has what the compositor wants of a widget: rows of one letter."""

    def __init__(self, letter: str) -> None:
        self.letter, self.asked = letter, 0

    def render_lines(self, crop: Region) -> list[Strip]:
        self.asked += 1
        return [Strip([Segment(self.letter * crop.width)])] * crop.height


def composed(widgets: dict[object, tuple[Region, Region]], dirty: set[Region]) -> PiecewiseCompositor:
    """`widgets`: region and clip of each, from the front to the back."""
    found = PiecewiseCompositor()
    found.size = Size(WIDTH, HEIGHT)
    found._visible_widgets, found._dirty_regions = widgets, dirty
    return found


def sent(compositor: PiecewiseCompositor) -> str:
    found = compositor.render_partial_update()
    assert found is not None
    return found.render_segments(Console(color_system=None))


@given(st.lists(st.tuples(REGIONS, REGIONS), max_size=3), st.sets(REGIONS, min_size=1, max_size=4))
def test_only_the_cells_that_have_changed_are_sent_and_the_screen_is_the_same(places, dirty):
    front = {Block(letter): place for letter, place in zip("abc", places, strict=False) if place[0].overlaps(place[1])}
    compositor = composed({**front, Block("."): (SCREEN, SCREEN)}, set(dirty))
    after = ["".join(segment.text for segment in strip) for strip in compositor.render_strips()]
    changed = {(x, y) for region in dirty for y in region.line_range for x in region.column_range}
    screen = pyte.Screen(WIDTH + 1, HEIGHT)
    stream = pyte.Stream(screen)
    stream.feed("\r\n".join("#" * WIDTH for _ in range(HEIGHT)))
    data = sent(compositor)
    stream.feed(data)
    assert [line[:WIDTH] for line in screen.display] == [
        "".join(after[y][x] if (x, y) in changed else "#" for x in range(WIDTH)) for y in range(HEIGHT)]
    assert len(re.sub(r"\x1b\[[0-9;]*[Hm]", "", data)) == len(changed)
    assert compositor.render_partial_update() is None


def test_a_widget_in_which_nothing_changed_is_not_asked_for_its_rows():
    left, right, behind = Block("l"), Block("r"), Block(".")
    halves = Region(0, 0, 6, HEIGHT), Region(6, 0, 6, HEIGHT)
    compositor = composed({left: (halves[0], SCREEN), right: (halves[1], SCREEN), behind: (SCREEN, SCREEN)},
                          {Region(1, 0, 2, 1), Region(1, 2, 2, 1)})
    assert sent(compositor) == "\x1b[1;2Hll\x1b[3;2Hll"
    assert (left.asked, right.asked, behind.asked) == (1, 0, 0)


def test_a_wide_character_is_never_halved():
    wide = Block("")
    wide.render_lines = lambda crop: [Strip([Segment("ab宽cdefghij")])] * crop.height
    assert sent(composed({wide: (SCREEN, SCREEN)}, {Region(3, 0, 2, 1)})) == "\x1b[1;3H宽c"


def test_where_textual_has_changed_its_parts_its_own_compositor_does_it(monkeypatch):
    assert isinstance(compositor(), PiecewiseCompositor)
    monkeypatch.delattr(Compositor, "layers_visible")
    assert type(compositor()) is Compositor
