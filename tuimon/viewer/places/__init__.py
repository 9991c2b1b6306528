"""The places of the panel: one folder each, with its values, its producer, its drawings and its screen.

`PLACES` is the register. Screens and producers are named, not imported: a place costs nothing until it is entered.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final

from tuimon.viewer.wanted import Place


@dataclass(frozen=True, slots=True)
class PlaceInfo:
    """One place."""

    name: Place
    title: str
    """As the palette and the header say it."""
    what: str
    """What one finds there."""
    screen: str
    """"module:Class" of a PlaceScreen."""
    detail: str = ""
    """"module:Class" of a Detail; "" where the frame has all that is shown."""


PLACES: Final[dict[Place, PlaceInfo]] = {
    place.name: place
    for place in (
        PlaceInfo("overview", "overview", "the verdict, and the charts that show why",
                  "tuimon.viewer.screens.overview:Overview"),
        PlaceInfo("incidents", "incidents", "what was found, its curve, what to do, its manual",
                  "tuimon.viewer.places.incidents.screen:Incidents"),
        PlaceInfo("layers", "layers", "the whole model over time, layer by layer, tensor by tensor",
                  "tuimon.viewer.places.layers.screen:LayersScreen",
                  "tuimon.viewer.places.layers.detail:LayersDetail"),
        PlaceInfo("loss", "loss", "the curve read: law, forecast, changes, what both analysers say",
                  "tuimon.viewer.places.loss.screen:LossScreen", "tuimon.viewer.places.loss.detail:LossDetail"),
        PlaceInfo("console", "console", "what the run prints: follow, search",
                  "tuimon.viewer.places.console.screen:ConsoleScreen", "tuimon.viewer.places.console.detail:Detail"),
        PlaceInfo("guide", "guide", "what can go wrong, why, and what helps",
                  "tuimon.viewer.places.guide.screen:GuideScreen"),
        PlaceInfo("runs", "runs", "every run there is: find, compare, name, note, delete, open",
                  "tuimon.viewer.places.runs.screen:RunsScreen", "tuimon.viewer.places.runs.detail:RunsDetail"),
        PlaceInfo("compare", "compare", "runs over each other: curves, verdicts, what differs",
                  "tuimon.viewer.places.compare.screen:CompareScreen",
                  "tuimon.viewer.places.compare.detail:CompareDetail"),
        PlaceInfo("gallery", "gallery", "several runs side by side",
                  "tuimon.viewer.places.gallery.screen:GalleryScreen",
                  "tuimon.viewer.places.gallery.detail:GalleryDetail"),
        PlaceInfo("system", "system", "processor, memory, disk, GPU; where the time of a step goes",
                  "tuimon.viewer.places.system.screen:SystemScreen",
                  "tuimon.viewer.places.system.detail:SystemDetail"),
        PlaceInfo("ranks", "ranks", "every rank of a distributed run: who is slow, silent or gone, and since when",
                  "tuimon.viewer.places.ranks.screen:RanksScreen", "tuimon.viewer.places.ranks.detail:RanksDetail"),
        PlaceInfo("settings", "settings", "themes, glyphs, pace and units, with a sample that wears them",
                  "tuimon.viewer.places.settings.screen:SettingsScreen"),
    )
}


def loaded(name: str) -> Any:
    """The class that "module:Class" names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
