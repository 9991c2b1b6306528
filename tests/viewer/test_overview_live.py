"""While a run goes on only parts of the screen are drawn again: together they are what all of it would be."""

from __future__ import annotations

import pytest
import staged
import synthetic

from tuimon.viewer.app import Tuimon
from tuimon.viewer.compositor import PiecewiseCompositor
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.widgets.picture import PictureView

SIZE = (160, 48)


def spread(rows: tuple[tuple[tuple[str, str], ...], ...]) -> list[list[tuple[str, str]]]:
    """Cell by cell; every letter of an overview takes one."""
    return [[(letter, look) for text, look in row for letter in text] for row in rows]


def looks(strip: object) -> list[tuple[str, str]]:
    return [(letter, staged._look(segment)) for segment in strip for letter in segment.text]


@pytest.mark.parametrize("what", ["healthy", "exploding"])
async def test_what_is_drawn_in_parts_is_what_all_of_it_would_be(tmp_path, monkeypatch, what):
    run = synthetic.Run(tmp_path, began=staged.BEGAN, seed=3).go(196 if what == "exploding" else 150)
    sources: list[staged.Still] = []
    app = Tuimon("run", lambda deliver: sources.append(staged.Still(run.dir, deliver)) or sources[-1], glyphs=BRAILLE)
    sent: list[tuple[int, int, object]] = []
    partial = PiecewiseCompositor.render_partial_update

    def noted(self: PiecewiseCompositor) -> object:
        found = partial(self)
        sent.extend(found.pieces if found is not None else ())
        return found

    monkeypatch.setattr(PiecewiseCompositor, "render_partial_update", noted)
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(8):
            await pilot.pause()
        assert "GRADIENTS" in staged.cells(app).text
        screen = spread(staged.cells(app).rows)
        if what == "exploding":
            run.explode()
        parts = 0
        for frame in range(20):
            sent.clear()
            run.go(1 + frame % 4, snapshots=False)
            sources[0]._answer()
            await pilot.pause()
            await pilot.pause()
            for y, x, strip in sent:
                cells = looks(strip)
                screen[y][x:x + len(cells)] = cells
                parts += len(cells)
            assert screen == spread(staged.cells(app).rows)
            if frame % 7 == 6:
                for view in app.screen.query(PictureView):
                    view.wear(view.ink, view.glyphs)
                await pilot.pause()
                assert screen == spread(staged.cells(app).rows), "all of it, drawn anew"
        assert 0 < parts < 20 * SIZE[0] * SIZE[1] / 4
