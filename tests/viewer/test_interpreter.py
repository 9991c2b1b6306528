"""Neither a search for garbage nor another thread stands in the way of a frame."""

from __future__ import annotations

import subprocess
import sys
import time

import synthetic

from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import BRAILLE

LOADED = """
import gc, sys
from tuimon.viewer import interpreter
interpreter.begin()
import tuimon.viewer.app, tuimon.viewer.reading, tuimon.viewer.screens.overview
assert not gc.isenabled()
many = len(gc.get_objects())
interpreter.settle()
print(many, len(gc.get_objects()), gc.isenabled(), sys.getswitchinterval())
class Ring:
    pass
one = Ring()
one.itself = one
del one
print(gc.collect())
searched = []
gc.callbacks.append(lambda phase, told: searched.append(phase))
for frame in range(20):
    cells = [(frame, cell) for cell in range(10_000)]
print(len(searched))
"""


def test_after_the_start_only_what_is_new_is_searched_and_given_back():
    done = subprocess.run([sys.executable, "-c", LOADED], text=True, check=True, capture_output=True)
    first, second, third = done.stdout.splitlines()
    many, left, enabled, turn = first.split()
    assert int(many) > 20_000, "else there is nothing to spare"
    assert int(left) < 500
    assert enabled == "True"
    assert float(turn) < 0.002, "the thread that draws never waits long for the feed's"
    assert int(second) >= 1, "rings of later objects go"
    assert int(third) == 0, "cells that come and go with each frame are no reason to search"


async def test_it_settles_once_for_each_place_after_the_first_answer_of_that_place():
    run, settled = synthetic.healthy(), []
    app = Tuimon(run.dir.name, lambda ready: Feed(run.dir, ready, period=0.05), glyphs=BRAILLE,
                 settle=lambda: settled.append(app.current.wanted.place))
    async with app.run_test(size=(120, 40)) as pilot:

        async def until(places):
            deadline = time.monotonic() + 10
            while settled != places:
                assert time.monotonic() < deadline, settled
                await pilot.pause(0.01)

        await until(["overview"])
        await pilot.press("o")
        await until(["overview", "console"])
        await pilot.press("escape")
        await pilot.press("o")
        run.go(3)
        while app.current.newest < run.step:
            await pilot.pause(0.01)
        assert settled == ["overview", "console"]
