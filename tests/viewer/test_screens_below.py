"""A run goes on behind a dialog, at the price of what changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from test_app_overview import has_charts, panel
from textual._compositor import Compositor


@pytest.mark.parametrize("place", ["overview", "loss"])
async def test_behind_a_dialog_only_what_changes_is_drawn(monkeypatch, place):
    run = synthetic.healthy()
    async with panel(run) as shown:
        await shown.until("240/600")
        if place == "loss":
            await shown.pilot.press("a")
            await shown.until("forecast")
        await shown.pilot.press("x")
        await shown.until("Hold this run?")
        run.go(1)
        await shown.until("241/600")   # the opening itself draws everything
        whole = []
        full = Compositor.render_full_update
        monkeypatch.setattr(Compositor, "render_full_update", lambda self, **more: whole.append(1) or full(self, **more))
        for step in (242, 243, 244):
            run.go(1)
            await shown.until(f"{step}/600")
        assert not whole
        await shown.pilot.press("n")
        await shown.until(lambda text: "Hold this run?" not in text)


async def test_what_a_frame_changes_is_drawn_before_anything_else_is_done(monkeypatch):
    run = synthetic.healthy()
    async with panel(run) as shown:
        await shown.until(has_charts)
        app, drawn = shown.app, []
        monkeypatch.setattr(Compositor, "update_widgets", lambda _, widgets: drawn.append({each.id for each in widgets}))
        app.screen.show_at_once(replace(app.current, header=replace(app.current.header, step=241)))
        assert drawn == [{"header"}]
