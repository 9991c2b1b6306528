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
        PlaceInfo("gallery", "gallery", "several runs side by side",
                  "tuimon.viewer.places.gallery.screen:GalleryScreen",
                  "tuimon.viewer.places.gallery.detail:GalleryDetail"),
        PlaceInfo("system", "system", "processor, memory, disk, GPU; where the time of a step goes",
                  "tuimon.viewer.places.system.screen:SystemScreen",
                  "tuimon.viewer.places.system.detail:SystemDetail"),
    )
}


def loaded(name: str) -> Any:
    """The class that "module:Class" names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
