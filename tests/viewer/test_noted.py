"""Words are laid out again only where what they were made of has changed, and then always."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import partial
from itertools import product

import pytest
import synthetic
from textual.app import App

from tuimon.diagnosis.overrides import Overrides
from tuimon.viewer import arrange
from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.lines import Span
from tuimon.viewer.noted import noting
from tuimon.viewer.palettes import PALETTES
from tuimon.viewer.places import PLACES
from tuimon.viewer.reading import Reading
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import BadgeView, Facts, Frame, Header
from tuimon.viewer.wanted import Wanted
from tuimon.viewer.widgets.words import Words

LAYOUTS = (arrange.header, arrange.badges, arrange.verdict, arrange.events, arrange.too_small,
           *(partial(arrange.footer_keys, place=place) for place in PLACES))


def read(run: synthetic.Run, **wanted: object) -> Frame:
    frame = Reading(run.dir).poll(1.0, 1.0, Wanted(**wanted))
    assert frame is not None
    return frame


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """Of runs in good and bad health, and of one of them everything else that a frame can say."""
    root = tmp_path_factory.mktemp("runs")
    calm, loud = synthetic.Run(root, name="calm").go(150), synthetic.Run(root, name="loud", seed=4).go(198).explode()
    found = [read(calm), read(calm.go(3)), read(calm, at=100), read(calm, cursor=50), read(loud), empty_frame("new", "wait")]
    frame = found[0]
    held = Header("other", "what", "device", 7, None, "9 min", "◼ HELD", "warning", "9 %")
    others = {
        "header": [replace(frame.header, **{f.name: getattr(held, f.name)}) for f in fields(Header)],
        "facts": [replace(frame.facts, **{name: value}) for name, value in (
            ("name", "other"), ("step", 7), ("lr", math.nan), ("loss", math.nan), ("target", 3), ("clips", True),
            ("overrides", Overrides(lr_scale=0.5)), ("rescuing", True), ("checkpoint", 5))],
        "badges": [(BadgeView("LOSS", "bad", "✖", "critical"),)],
        "verdict": [((Span("other", "ok"),),)], "narrow": [((Span("other", "ok"),),)], "tone": ["critical"],
        "events": [()], "state": ["held", "paused", "finished", "died"], "is_live": [False], "read_only": [True],
        "barred": ["another's"], "problem": ["gone"], "flash": ["saved"],
    }
    return found + [replace(frame, **{name: value}) for name, values in others.items() for value in values]


def test_where_what_was_read_stays_the_words_stay(frames):
    for layout, width in product(LAYOUTS, (30, 80, 160)):
        plain = [layout(frame, width, 3) for frame in frames]
        assert any(said != plain[0] for said in plain)
        for before, said in zip(frames, plain, strict=True):
            frame, noted = noting(before)
            assert layout(frame, width, 3) == said
            assert not any(noted.stays(after) for after, other in zip(frames, plain, strict=True) if other != said)


def test_what_stands_still_while_a_run_goes_on_is_not_laid_out_again(frames):
    before, after = frames[0], replace(
        frames[1], badges=frames[0].badges, header=replace(frames[1].header, cost=frames[0].header.cost))
    assert before.header.step != after.header.step
    for layout in (arrange.badges, arrange.events, partial(arrange.footer_keys, place="overview")):
        frame, noted = noting(before)
        layout(frame, 160, 3)
        assert noted.stays(after)


def test_what_holds_arrays_stays_only_where_it_is_the_same(frames):
    frame, noted = noting(frames[0])
    assert frame.charts is frames[0].charts
    assert noted.stays(frames[0])
    assert not noted.stays(replace(frames[0], charts=tuple(replace(chart) for chart in frames[0].charts)))


def test_a_number_that_is_none_is_never_taken_for_the_same(frames):
    frame, noted = noting(replace(frames[0], facts=Facts(loss=math.nan)))
    assert math.isnan(frame.facts.loss)
    assert not noted.stays(replace(frames[0], facts=Facts(loss=float("nan"))))


async def test_at_another_size_words_are_those_of_the_newest_frame(frames):
    def layout(frame: Frame, width: int, height: int) -> list[tuple[Span, ...]]:
        del height
        return [(Span(frame.header.name if width < 20 else frame.problem or "none", "plain"),)]

    class Alone(App[None]):
        def compose(self):
            yield Words(layout, frames[0], Ink(PALETTES["dark"], "truecolor"), BRAILLE, id="words")

    async with Alone().run_test(size=(60, 3)) as pilot:
        words = pilot.app.query_one(Words)
        words.tell(replace(frames[0], header=replace(frames[0].header, name="newer")))
        await pilot.pause()
        assert words.picture.lines[0].strip() == "none"
        await pilot.resize_terminal(15, 3)
        for _ in range(1_000):
            if words.picture.width == 15:
                break
            await pilot.pause(0.01)
        assert words.picture.lines[0].strip() == "newer"
