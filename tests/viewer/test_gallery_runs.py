"""Several runs side by side: each with its own verdict; one of them is opened, and esc comes back."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from rich.cells import cell_len
from test_small_screens import eight
from textual.pilot import Pilot

from tuimon.record.rundir import RunDir
from tuimon.viewer.app import Feeding, Tuimon
from tuimon.viewer.arrange import header
from tuimon.viewer.feed import Feed
from tuimon.viewer.frame import empty_frame
from tuimon.viewer.glyphs import ASCII, BRAILLE, GlyphSet
from tuimon.viewer.lines import say, text_of
from tuimon.viewer.places.gallery.detail import GalleryDetail
from tuimon.viewer.places.gallery.draw import draw_run, heading
from tuimon.viewer.places.gallery.model import Ask, GalleryView
from tuimon.viewer.reading import Reading
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import NOW


@pytest.fixture(scope="module")
def exploding() -> Frame:
    return frame_of(synthetic.exploding())


def frame_of(run: synthetic.Run) -> Frame:
    frame = Reading(run.dir).poll(0.0, 1.0)
    assert frame is not None
    return frame


def renamed(frame: Frame, name: str) -> Frame:
    return replace(frame, header=replace(frame.header, name=name))


@pytest.mark.parametrize("width", [20, 38, 58, 98])
@pytest.mark.parametrize("name", ["short", "a-run-that-somebody-gave-a-very-long-name-indeed", "漢字の名前の実行"])
def test_a_long_name_never_pushes_the_state_out_of_its_cell(name, width, exploding):
    line = heading(renamed(exploding, name), chosen=True, width=width)
    assert cell_len(text_of(line)) == width
    assert text_of(line).endswith("● LIVE ")


@pytest.mark.parametrize("glyphs", [BRAILLE, ASCII])
@pytest.mark.parametrize(("width", "height"), [(20, 2), (40, 3), (40, 12), (60, 19), (100, 30)])
def test_every_cell_has_state_verdict_and_as_much_of_the_curve_as_fits(width, height, glyphs: GlyphSet, exploding):
    picture, _ = draw_run(exploding, None, width, height, glyphs, chosen=False)
    assert (picture.width, picture.height) == (width, height)
    text = "\n".join(picture.lines)
    assert "LIVE" in picture.lines[0]
    assert "Exploding"[:width - 8] in picture.lines[1]
    assert ("grad norm" in text) == (height >= 16)
    assert glyphs is BRAILLE or text.isascii()


def test_keys_of_a_verdict_are_left_out_where_they_do_nothing(exploding):
    assert any("hold the run" in text_of(line) for line in exploding.narrow)
    picture, _ = draw_run(exploding, None, 100, 30, BRAILLE, chosen=False)
    assert "hold the run" not in "\n".join(picture.lines)
    assert "Gradient norm is" in "\n".join(picture.lines)


def test_what_has_no_room_in_a_cell_is_cut_between_words(exploding):
    said = "Learns well for 150 steps; then a planted schedule bug raises the lr 800x, and it explodes."
    frame = replace(exploding, narrow=(say("● Healthy"), say("Loss 2.80."), say(said)))
    lines = draw_run(frame, None, 60, 19, BRAILLE, chosen=False)[0].lines
    assert lines[3].rstrip().endswith("then a planted schedule…")


def test_a_run_that_cannot_be_read_leaves_the_others_their_pictures(tmp_path):
    run = synthetic.healthy(40)
    detail, gone = GalleryDetail(), tmp_path / "gone"
    view = detail.update(Reading(run.dir), replace(NOW, place="gallery", ask=Ask((run.dir.path, gone))), 0.0, 1.0)
    detail.close()
    assert [f.header.step for f in view.frames] == [40, 0]
    assert view.runs == (run.dir.path, gone)


def test_a_run_that_cannot_be_read_on_keeps_its_picture_and_says_why(exploding):
    broken = replace(exploding, problem="this viewer cannot read on: OSError('the disk is gone')")
    for width, height in ((60, 3), (60, 12), (100, 30)):
        lines = draw_run(broken, None, width, height, BRAILLE, chosen=False)[0].lines
        assert "cannot read on" in lines[1]
        assert height < 12 or "loss" in "\n".join(lines)


def test_what_is_not_yet_read_of_any_run_is_read_at_once():
    one, other = synthetic.healthy(40), synthetic.healthy(20)
    detail, wanted = GalleryDetail(), replace(NOW, place="gallery", ask=Ask((one.dir.path, other.dir.path)))
    reading = Reading(one.dir)
    for _ in range(20):
        detail.update(reading, wanted, 0.0, 1.0)
    assert not detail.is_behind
    detail._readings[other.dir.path].poll = lambda *_: None
    detail._readings[other.dir.path].is_behind = True
    detail.update(reading, wanted, 0.0, 1.0)
    assert detail.is_behind
    detail._readings[other.dir.path].poll = lambda *_: 1 / 0
    detail.update(reading, wanted, 0.0, 1.0)
    assert not detail.is_behind   # what cannot be read is not read again without a pause


@contextlib.asynccontextmanager
async def gallery(*runs: synthetic.Run, owner: bool = False) -> AsyncIterator[tuple[Tuimon, Pilot[str], Callable[..., object]]]:
    def opened(path: Path) -> tuple[str, Feeding]:
        run = RunDir(path)
        return run.name, lambda ready: Feed(run, ready, period=0.1)

    app = Tuimon("first", opened(runs[0].dir.path)[1], glyphs=BRAILLE, owner=owner, opener=opened, place="gallery",
                 ask=Ask(tuple(run.dir.path for run in runs)))
    async with app.run_test(size=(120, 40)) as pilot:
        async def until(what: Callable[[str], object]) -> str:
            deadline = time.monotonic() + 15
            while not what(text := "\n".join("".join(s.text for s in strip)
                                             for strip in app.screen._compositor.render_strips())):
                assert time.monotonic() < deadline, text
                await pilot.pause(0.01)
            return text

        yield app, pilot, until


async def test_the_chosen_run_is_opened_and_esc_comes_back_to_all_of_them():
    async with gallery(synthetic.healthy(60), synthetic.exploding(), owner=True) as (app, pilot, until):
        text = await until(lambda t: "Healthy" in t and "Exploding gradients" in t)
        assert "i incidents" not in text   # of which run?
        await pilot.press("right", "enter")
        await until(lambda t: "Exploding gradients" in t and "update ratio" in t and "Healthy" not in t)
        await pilot.press("escape")
        await until(lambda t: "Healthy" in t and "Exploding gradients" in t)
        await pilot.press("q")
        text = await until(lambda t: "Leave these runs?" in t)
        assert "end all 2" in text
        await pilot.press("e")
    assert app.return_value == "end"


@pytest.mark.parametrize("key", ["g", "b"])
async def test_from_a_place_that_was_gone_to_from_all_of_them_esc_comes_back_to_all_of_them(key):
    async with gallery(synthetic.healthy(60), synthetic.exploding()) as (_app, pilot, until):
        await until(lambda t: "Healthy" in t and "Exploding gradients" in t)
        await pilot.press(key)
        await until(lambda t: "enter draw again" in t or "/ filter" in t)
        await pilot.press("escape")
        await until(lambda t: "Healthy" in t and "Exploding gradients" in t and "enter open  g guide" in t)


async def test_the_pictures_of_all_of_them_hang_there_at_once_when_one_comes_back_from_a_run():
    async with gallery(synthetic.healthy(60), synthetic.exploding()) as (app, pilot, until):
        await until(lambda t: "Healthy" in t and "Exploding gradients" in t)
        await pilot.press("right", "enter")
        await until(lambda t: "update ratio" in t and "Healthy" not in t)
        app._source.want = lambda wanted: None   # what the feed has still to read anew
        await pilot.press("escape")
        text = await until(lambda t: "enter open  g guide" in t)
        assert "waiting for the runs" not in text
        assert "Healthy" in text
        assert "Exploding gradients" in text


def test_before_anything_is_read_a_cell_says_what_it_waits_for():
    picture, _ = draw_run(empty_frame("one", "waiting for the run to be read"), None, 60, 10, BRAILLE, chosen=True)
    assert "Waiting" in picture.lines[1]


def test_a_header_leaves_room_between_what_a_run_is_and_where_it_is(exploding):
    for width in range(30, 130):
        said = text_of(header(renamed(exploding, "bars"), width, 1)[0])
        assert cell_len(said) == width
        assert re.search(r"bars( · .*\S)?  +step \d", said), said


def test_a_run_that_can_be_read_no_longer_says_so_in_the_place_of_its_last_picture(tmp_path):
    read, broken = eight(), replace(empty_frame("one", ""), problem="this viewer cannot read on")
    before = GalleryView((tmp_path,), (read,))
    assert GalleryView((tmp_path,), (broken,)).after(before).frames == (broken,)
    assert GalleryView((tmp_path,), (empty_frame("one", ""),)).after(before).frames == (read,)
