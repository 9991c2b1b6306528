"""Sizes are written as preferred wherever they stand."""

from __future__ import annotations

import re

import pytest
from staged import stage, written

from tuimon.viewer.messages import Prefers

SIZE = re.compile(r"\d ([kKMGTP]i?B)\b")


@pytest.mark.parametrize("key", ["m", "b"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_unit_of_a_size_is_the_preferred_one_in_every_place(key, size, monkeypatch):
    runs = written()
    async with stage(runs.exploding, size, monkeypatch) as panel:
        await panel.settle()
        await panel.press(key)
        plain = set(SIZE.findall((await panel.settle()).text))
        assert plain
        assert not [unit for unit in plain if "i" in unit]
        await panel.say(Prefers("sizes", "binary"))
        binary = set(SIZE.findall((await panel.settle()).text))
        assert binary
        assert not [unit for unit in binary if "i" not in unit]
