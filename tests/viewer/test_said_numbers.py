"""Counts and changes as a person would say them."""

from __future__ import annotations

import pytest

from tuimon.diagnosis.figures import counted
from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.story import Story
from tuimon.viewer.frame import build_frame
from tuimon.viewer.lines import text_of
from tuimon.viewer.sources import Sources


@pytest.mark.parametrize(("count", "says"), [(0, "0 steps"), (1, "1 step"), (1212, "1,212 steps")])
def test_one_of_something_is_not_several(count, says):
    assert counted(count, "step") == says


def said(**facts: object) -> str:
    sources = Sources("run", Story(state="running"), Diagnosis.nothing(), alive=True, **facts)  # type: ignore[arg-type]  # facts
    return "\n".join(map(text_of, build_frame(sources).verdict))


def test_a_run_of_one_step_is_healthy_for_one_step():
    assert "1 step, nothing open" in said(step=1, newest=1, values={"loss": 4.6})


@pytest.mark.parametrize(("trend", "says"), [(0.004, "rising 0.4 %"), (0.998, "rising 99.8 %"), (15.562, "rising 1,556 %")])
def test_a_change_is_as_exact_as_it_is_worth(trend, says):
    assert says in said(step=200, newest=200, values={"loss": 4.6}, trend=trend)
