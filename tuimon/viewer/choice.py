"""How one person looks at the charts of the overview: which, the chosen one, axes, smoothing, bands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tuimon.viewer.settings import Layout, Settings, Zones
from tuimon.viewer.views import ChartView, Frame

SMOOTHING: Final = (0.0, 0.6, 0.8, 0.9, 0.95, 0.98)
"""Weights of the past in the moving average; the first is none."""
Kind = Literal["wide", "full", "compact", "tiny"]
ZONES: Final[tuple[Zones, ...]] = ("usual", "notebook", "none")
CHARTS: Final = 6
"""Charts of the overview, on the keys 1 to 6."""
PANELS: Final = ("loss", "grad_norm", "ratio", "lr", "speed", "memory", "layers")
"""What the digits show and hide, in their order."""
USUAL: Final[dict[Kind, frozenset[str]]] = {
    "wide": frozenset(PANELS), "full": frozenset(PANELS) - {"speed", "memory"}, "compact": frozenset(PANELS),
    "tiny": frozenset(),
}
"""What is shown until somebody chooses otherwise."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Kept from one start to the next, apart from `chart` and `is_large`."""

    chart: int | None = None
    """The chosen one; None follows the verdict."""
    is_large: bool = False
    log: Mapping[str, bool] = field(default_factory=dict)
    """Charts whose axis was chosen by hand: it stays, whatever the data do."""
    smooth: Mapping[str, int] = field(default_factory=dict)
    """Index into SMOOTHING per chart."""
    toggled: frozenset[str] = frozenset()
    """"kind:panel" of those that are shown or hidden against the usual."""
    zones: Zones = "usual"
    """What is drawn behind the data."""
    smoothing: int = 0
    """Index into SMOOTHING for the charts that are not in `smooth`."""

    @staticmethod
    def begun(settings: Settings) -> Choice:
        """As the panel was left."""
        layout = settings.layout
        return Choice(log=layout.log, smooth=layout.smoothing, toggled=frozenset(layout.toggled)).suited(settings)

    def suited(self, settings: Settings) -> Choice:
        """With what is preferred."""
        return replace(self, zones=settings.zones, smoothing=settings.smoothing)

    @property
    def layout(self) -> Layout:
        """What is kept of it."""
        return Layout(tuple(sorted(self.toggled)), self.log, self.smooth)

    def at(self, frame: Frame) -> int:
        """The chart that keys act on."""
        return frame.about if self.chart is None else self.chart

    def acting(self, frame: Frame, kind: Kind) -> int:
        """The same, or where that one is hidden the first that is not: a key changes what is seen."""
        at, shown = self.at(frame), self.visible(kind)
        return at if self.is_large or kind == "compact" or at in shown or not shown else shown[0]

    def acted(self, frame: Frame, kind: Kind) -> Choice:
        """With the chart that a key acts on as the chosen one: among several its frame says which it was."""
        return self if self.is_large or kind == "compact" else replace(self, chart=self.acting(frame, kind))

    def shows(self, panel: str, kind: Kind) -> bool:
        """Whether a panel has its place in such a layout."""
        return (panel in USUAL[kind]) != (f"{kind}:{panel}" in self.toggled)

    def visible(self, kind: Kind) -> tuple[int, ...]:
        """The charts that share the screen."""
        return tuple(i for i in range(CHARTS) if self.shows(PANELS[i], kind))

    def pressed(self, digit: int, kind: Kind) -> Choice:
        """What a digit does: where charts share the screen it shows or hides a panel, else it chooses the chart."""
        panel = PANELS[digit]
        if kind in ("wide", "full") and not self.is_large:
            chosen = None if self.chart == digit and self.shows(panel, kind) else self.chart
            return replace(self, toggled=self.toggled ^ {f"{kind}:{panel}"}, chart=chosen)
        return self if digit >= CHARTS else replace(self, chart=digit)

    def next(self, frame: Frame, kind: Kind) -> Choice:
        """Choose the next of the charts that are shown."""
        shown = tuple(range(CHARTS)) if self.is_large or kind == "compact" else self.visible(kind)
        at = self.at(frame)
        if not shown:
            return self
        if at not in shown or (self.chart is None and kind != "compact" and not self.is_large):
            return replace(self, chart=at if at in shown else shown[0])
        return replace(self, chart=shown[(shown.index(at) + 1) % len(shown)])

    def maximised(self, frame: Frame, kind: Kind) -> Choice:
        """The chosen chart alone, or among the others again."""
        return replace(self, chart=self.acting(frame, kind), is_large=not self.is_large)

    def opened(self, chart: int, kind: Kind) -> Choice:
        """One of the charts alone."""
        return replace(self, chart=chart, is_large=kind != "compact")

    def is_log(self, view: ChartView) -> bool:
        """Which axis the chart has now."""
        return self.log.get(view.name, view.log)

    def turned(self, view: ChartView) -> Choice:
        """The other axis for that chart."""
        return replace(self, log={**self.log, view.name: not self.is_log(view)})

    def past(self, view: ChartView) -> float:
        """Weight of the past in its moving average; 0: none is drawn."""
        return SMOOTHING[self.smooth.get(view.name, self.smoothing)]

    def smoothed(self, view: ChartView, by: int) -> Choice:
        """Smoother or rougher."""
        level = min(len(SMOOTHING) - 1, max(0, self.smooth.get(view.name, self.smoothing) + by))
        return replace(self, smooth={**self.smooth, view.name: level})

    def zoned(self) -> Choice:
        """The next kind of band."""
        return replace(self, zones=ZONES[(ZONES.index(self.zones) + 1) % len(ZONES)])
