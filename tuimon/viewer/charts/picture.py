"""A picture is rows of runs of cells; a canvas is where one is painted. Pure values, no styles, no terminal."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from rich.cells import cell_len

from tuimon.record.text import clean

if TYPE_CHECKING:
    import numpy as np  # at run time only where something is drawn: the first paint is words, and does without
    from numpy.typing import NDArray

Role = Literal[
    "blank", "frame", "frame-focus", "axis", "label", "title", "text", "value", "note",
    "data", "data-dim", "data-2", "data-2-dim", "data-3", "data-4", "data-5", "data-6", "data-7", "data-8", "spark",
    "good", "info", "warning", "critical", "unknown", "mark", "cursor", "band-usual", "band-healthy",
    "heat-low-4", "heat-low-3", "heat-low-2", "heat-low-1", "heat-usual",
    "heat-high-1", "heat-high-2", "heat-high-3", "heat-high-4", "heat-bad",
]
"""What a cell says; the theme knows how that looks at each colour depth."""
Ground = Literal["none", "usual", "healthy"]
"""What lies behind a cell."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
GROUNDS: Final[tuple[Ground, ...]] = get_args(Ground)
_ROLE: Final = {role: i for i, role in enumerate(ROLES)}
_GROUND: Final = {ground: i for i, ground in enumerate(GROUNDS)}
_SPACE: Final = 0x20
_FIRST_DRAWING: Final = 0x2500
"""Where Unicode's box drawing begins: below it are letters and punctuation."""


class Run(NamedTuple):
    """Neighbouring cells that look alike."""

    text: str
    role: Role
    ground: Ground


Row = tuple[Run, ...]
"""One line of a picture, filling its width exactly. Equal rows look equal: a row is its own signature."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a widget shows."""

    width: int
    rows: tuple[Row, ...]

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def lines(self) -> list[str]:
        """The bare text, one string per row: what tests and plain terminals read."""
        return ["".join(run.text for run in row) for row in self.rows]

    def changed(self, before: Picture) -> list[tuple[int, int, int]]:
        """(row, first cell, cell after the last) of what looks different from `before`; all where the sizes differ."""
        if before is self:
            return []
        if (before.width, before.height) != (self.width, self.height):
            return [(y, 0, self.width) for y in range(self.height)]
        found = [(y, *_differs(old, new, self.width))
                 for y, (old, new) in enumerate(zip(before.rows, self.rows, strict=True))
                 if old is not new and old != new]
        return [(y, first, last) for y, first, last in found if first < last]


def _differs(old: Row, new: Row, width: int) -> tuple[int, int]:
    """The cells between what the two rows, which differ, have in common on either side."""
    return _common(old, new, 1), width - _common(old, new, -1)


def _common(old: Row, new: Row, way: Literal[1, -1]) -> int:
    """Cells that look the same from the left end on (1) or from the right (-1): a curve grows at one end of its run."""
    cells = 0
    for a, b in zip(old[::way], new[::way], strict=False):
        if a == b:
            cells += len(a.text) if is_narrow(a.text) else cell_len(a.text)
            continue
        if a[1:] == b[1:] and is_narrow(a.text) and is_narrow(b.text):
            one, other = a.text[::way], b.text[::way]
            cells += bisect_left(range(1, min(len(one), len(other)) + 1), True, key=lambda n: one[:n] != other[:n])
        break
    return cells


@lru_cache(maxsize=4096)
def cells_of(character: str) -> int:
    """Cells that it takes; what nobody sees takes none, and so gets into no picture."""
    return cell_len(character) if clean(character) == character else 0


@lru_cache(maxsize=4096)
def is_narrow(text: str) -> bool:
    """Whether every character takes one cell: names and titles are said again and again."""
    return (text.isascii() and text.isprintable()) or all(cells_of(character) == 1 for character in text)


NOTHING: Final = Picture(0, ())
"""Before anything was drawn."""


class Canvas:
    """Cells to paint on. Everything outside is clipped; text is plain, one line, clean: what is not seen is left out.

    So nothing that a terminal would act on can be in a picture, whoever wrote it.
    """

    def __init__(self, width: int, height: int) -> None:
        import numpy as np

        self.width = max(1, width)
        self.height = max(1, height)
        self._glyphs: NDArray[np.uint32] = np.full((self.height, self.width), _SPACE, np.uint32)
        self._roles: NDArray[np.uint8] = np.zeros((self.height, self.width), np.uint8)
        self._grounds: NDArray[np.uint8] = np.zeros((self.height, self.width), np.uint8)

    def copy(self) -> Canvas:
        """The same cells, to paint on."""
        found = copy(self)
        vars(found).update({name: part.copy() for name, part in vars(self).items() if hasattr(part, "copy")})
        return found

    def put(self, x: int, y: int, text: str, role: Role) -> int:
        """Write `text` from cell (x, y); returns the cell after it. A wide character that would be cut is left out."""
        import numpy as np

        if len(text) == 1 or not is_narrow(text):
            for character in text:
                x = self._put_one(x, y, character, role)
            return x
        after = x + len(text)
        if 0 <= y < self.height:
            first, last = max(0, x), min(self.width, after)
            if first < last:
                points = np.frombuffer(text[first - x:last - x].encode("utf-32-le", "surrogatepass"), "<u4")
                self._glyphs[y, first:last] = points
                self._roles[y, first:last] = _ROLE[role]
        return after

    def _put_one(self, x: int, y: int, character: str, role: Role) -> int:
        cells = cells_of(character)
        if cells > 0 and 0 <= y < self.height and 0 <= x <= self.width - cells:
            self._glyphs[y, x] = ord(character)
            self._roles[y, x] = _ROLE[role]
            if cells > 1:
                self._glyphs[y, x + 1:x + cells] = 0
                self._roles[y, x + 1:x + cells] = _ROLE[role]
        return x + max(0, cells)

    def is_blank(self, x: int, y: int, length: int) -> bool:
        """Whether nothing stands in a horizontal run of cells that lies inside."""
        return bool((self._glyphs[y, x:x + length] == _SPACE).all())

    def line(self, x: int, y: int, length: int, glyph: str, role: Role) -> None:
        """A horizontal run of one glyph."""
        if 0 <= y < self.height:
            first, last = max(0, x), min(self.width, x + length)
            self._glyphs[y, first:last] = ord(glyph)
            self._roles[y, first:last] = _ROLE[role]

    def column(self, x: int, y: int, length: int, glyph: str, role: Role) -> None:
        """A vertical run of one glyph."""
        if 0 <= x < self.width:
            first, last = max(0, y), min(self.height, y + length)
            self._glyphs[first:last, x] = ord(glyph)
            self._roles[first:last, x] = _ROLE[role]

    def cells(self, x: int, y: int, glyphs: NDArray[np.uint32], role: Role) -> None:
        """Paint a block (rows, columns) of code points that lies inside; spaces are see-through."""
        rows, columns = glyphs.shape
        lit = glyphs != _SPACE
        self._glyphs[y:y + rows, x:x + columns][lit] = glyphs[lit]
        self._roles[y:y + rows, x:x + columns][lit] = _ROLE[role]

    def block(self, x: int, y: int, glyphs: NDArray[np.uint32], roles: NDArray[np.uint8]) -> None:
        """Paint a block of code points, each with its own index into ROLES."""
        rows, columns = glyphs.shape
        self._glyphs[y:y + rows, x:x + columns] = glyphs
        self._roles[y:y + rows, x:x + columns] = roles

    def ground(self, x: int, y: int, length: int, ground: Ground) -> None:
        """Lay a ground behind a horizontal run, keeping what stands on it."""
        if 0 <= y < self.height:
            self._grounds[y, max(0, x):max(0, x + length)] = _GROUND[ground]

    def _between_words(self) -> NDArray[np.bool_]:
        """Single spaces inside a text: they stay in its run.

        Others are runs of their own: in an exported picture a run is as wide as its font makes it, and braille comes
        from another font than spaces.
        """
        import numpy as np

        letter = (self._glyphs != _SPACE) & (self._glyphs < _FIRST_DRAWING)
        found = np.zeros(letter.shape, np.bool_)
        roles = self._roles
        found[:, 1:-1] = (letter[:, :-2] & letter[:, 2:] & ~letter[:, 1:-1]
                          & (roles[:, :-2] == roles[:, 2:]) & (roles[:, :-2] == roles[:, 1:-1]))
        return found

    def picture(self) -> Picture:
        """What has been painted."""
        import numpy as np

        roles = np.where((self._glyphs == _SPACE) & ~self._between_words(), 0, self._roles)
        looks = (roles * np.uint8(len(GROUNDS)) + self._grounds).tobytes()
        glyphs, width = self._glyphs.astype("<u4", copy=False).tobytes(), self.width
        return Picture(width, tuple(
            _row(glyphs[4 * at:4 * (at + width)], looks[at:at + width]) for at in range(0, len(looks), width)))


@lru_cache(maxsize=1024)
def _row(glyphs: bytes, looks: bytes) -> Row:
    """One row from its code points (UTF-32) and looks. Most rows of a live chart are those of the last frame."""
    text = glyphs.decode("utf-32-le")
    runs: list[Run] = []
    start, last = 0, looks[0]
    for at, look in enumerate(looks):
        if look != last:
            runs.append(_run(text[start:at], last))
            start, last = at, look
    return (*runs, _run(text[start:], last))


def _run(text: str, look: int) -> Run:
    role, ground = divmod(look, len(GROUNDS))
    return Run(text.replace("\0", ""), ROLES[role], GROUNDS[ground])


def plain(width: int, height: int, messages: Iterator[str] | tuple[str, ...] = ()) -> Picture:
    """An empty picture with a few centred, dim lines of text."""
    canvas = Canvas(width, height)
    lines = list(messages)
    top = max(0, (canvas.height - len(lines)) // 2)
    for i, words in enumerate(lines):
        canvas.put(max(0, (canvas.width - cell_len(words)) // 2), top + i, words, "note")
    return canvas.picture()
