"""A click on a badge opens what it is about; where there is nothing to open, one line says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from test_app_overview import has_charts, panel
from test_incidents_views import incident
from test_small_screens import eight

from tuimon.viewer.arrange import badge_at, badges
from tuimon.viewer.badges import Lead, lead
from tuimon.viewer.first import LABELS, empty_frame
from tuimon.viewer.lines import text_of
from tuimon.viewer.messages import ScrubTo
from tuimon.viewer.views import BadgeView, Frame, IncidentView
from tuimon.viewer.wanted import Wanted


@pytest.mark.parametrize("width", [250, 120, 100, 80, 60, 52, 40, 30])
def test_every_badge_is_found_where_it_stands_and_none_between(width):
    frame = eight()
    text = text_of(badges(frame, width, 1)[0])
    for column, letter in enumerate(text):
        found = badge_at(frame, width, column)
        if letter in "●◌✖▲◆":
            assert found is not None and found.glyph == letter
            assert found.label[:1] in ("", text[column + 2])
    assert badge_at(frame, width, 0) is None
    assert badge_at(frame, width, len(text)) is None


def of(category: str, tone: str = "ok", label: str = "") -> BadgeView:
    return BadgeView(label or LABELS.get(category, category.upper()), "ok", "●", tone, category)  # type: ignore[arg-type]


def listed(*views: IncidentView, at: int | None = None) -> Frame:
    return replace(empty_frame("run", "nothing"), incidents=views, wanted=Wanted(at=at))


def view(onset: int, severity: str, *, state: str = "open", found: int | None = None, category: str = "loss") -> IncidentView:
    one = incident("loss-spike", onset, severity=severity, state=state, category=category, detected_step=found or onset)
    return IncidentView(("loss-spike", one.detected_step, 0), one, 0, None)


def test_it_leads_to_the_worst_that_is_open_and_of_equals_to_the_first_as_the_badge_says():
    frame = listed(view(10, "warning"), view(30, "critical"), view(20, "critical"), view(5, "critical", state="resolved"),
                   view(1, "critical", category="updates"))
    assert lead(frame, of("loss", "critical")) == Lead("incidents", ("loss-spike", 20, 0))


def test_in_the_past_it_leads_to_what_was_known_then():
    frame = listed(view(10, "warning"), view(20, "critical", found=90), at=50)
    assert lead(frame, of("loss", "warning")) == Lead("incidents", ("loss-spike", 10, 0))


def test_a_number_that_is_none_leads_to_what_is_wrong_with_numbers():
    frame = listed(view(10, "critical", category="numerics"))
    assert lead(frame, of("gradients", "critical")) == Lead("incidents", ("loss-spike", 10, 0))


def test_ranks_that_are_gone_lead_to_the_ranks_whatever_is_not_a_number():
    assert lead(listed(view(10, "critical", category="numerics")), of("ranks", "critical")) == Lead("ranks")


def test_what_is_calm_leads_to_what_it_judges_and_what_was_not_measured_nowhere():
    frame = listed()
    for category in (*LABELS, "ranks"):
        found = lead(frame, of(category))
        assert (found.place is None) != (found.chart is None)
        assert lead(frame, of(category, "dim")).hint.endswith("nothing measured so far that it could judge")
    assert lead(frame, BadgeView("", "ok", "●", "ok")).hint


async def click(p, label: str) -> None:
    """On a badge, by its label."""
    row = next(line for line in p.text.splitlines() if f" {label}" in line)
    await p.pilot.click("#badges", offset=(row.index(label) + 1, 0))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_click_on_a_badge_in_trouble_opens_its_worst_incident(size):
    async with panel(synthetic.exploding(), size) as p:
        await p.until("Exploding gradients")
        await p.until("▲ UPDATES")
        await click(p, "UPDATES")
        await p.until(lambda t: any("▸ ▲ warning" in row and "since 199" in row for row in t.splitlines()))
        await p.pilot.press("escape")
        await p.until("✖ GRADIENTS")
        await click(p, "GRADIENTS")
        await p.until(lambda t: any("▸" in row and "Exploding gradients" in row for row in t.splitlines()))


async def test_a_click_on_a_calm_badge_shows_what_it_judges():
    async with panel(synthetic.healthy()) as p:
        await p.until(lambda t: has_charts(t) and "● GRADIENTS ok" in t)
        await click(p, "GRADIENTS")
        await p.until(lambda t: "grad norm · log" in t and "update ratio · log" not in t)
        await p.pilot.press("escape")
        await p.until("update ratio · log")
        await click(p, "LAYERS")
        await p.until("choose a layer")


async def test_a_click_where_nothing_was_measured_says_so_in_the_line_of_the_keys_and_changes_nothing():
    async with panel(synthetic.healthy()) as p:
        before = await p.until(lambda t: has_charts(t) and "◌ VALIDATION" in t and "● LIVE" in t)
        await click(p, "VALIDATION")
        after = await p.until("VALIDATION: nothing measured so far")
        assert "VALIDATION: nothing" in after.splitlines()[-1]
        assert after.splitlines()[3:9] == before.splitlines()[3:9]


async def test_at_a_moment_of_the_past_a_badge_is_about_that_moment():
    async with panel(synthetic.exploding()) as p:
        await p.until("✖ GRADIENTS")
        p.app.post_message(ScrubTo(150))
        await p.until("● GRADIENTS ok")
        await click(p, "GRADIENTS")
        await p.until(lambda t: "grad norm · log" in t and "update ratio · log" not in t)
