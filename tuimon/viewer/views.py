"""The nouns of the screen: header, badges, charts, heat, marks, frame. Frozen values; light, for the first paint.

Two frames are equal when the screen would look the same: arrays are left out of the comparison and stand behind
`revision`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tuimon.diagnosis.overrides import Overrides
from tuimon.viewer.lines import Line, Tone
from tuimon.viewer.wanted import NOW, Wanted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuimon.control.states import State
    from tuimon.diagnosis.calm import Calm
    from tuimon.diagnosis.model import Category, Incident, NotEvaluated, Severity
    from tuimon.diagnosis.proof import CurveView
    from tuimon.diagnosis.story import EventLine
    from tuimon.record.history import Thin

Rules = Literal["tuimon", "notebook"]
DRAWN: Final = frozenset({"charts", "heat", "incidents", "detail"})
"""Fields of a frame that hold arrays, which no comparison looks at."""
Way = Literal["here", "live", "down", "refused", "gone"]
"""A run of this machine; or of another, over a link, one that is made anew, one for which a person has to log in, or
one that nobody keeps any more."""
GONE: Final = "leave, and begin again"
"""What helps there."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line."""

    name: str
    what: str
    """Model and device."""
    device: str
    step: int
    total: int | None
    eta: str
    status: str
    """"● LIVE", "stale 12 s", "◼ HELD", "✝ died"."""
    tone: Tone
    cost: str = ""
    """Measured share of the step that tuimon takes: "0.6 %"; "" where it is not measured."""

    @property
    def fraction(self) -> float | None:
        """Done part of the run, 0..1; None where the end is unknown."""
        return min(1.0, self.step / self.total) if self.total else None


@dataclass(frozen=True, slots=True)
class BadgeView:
    """One category at a glance."""

    label: str
    word: str
    glyph: str
    tone: Tone
    about: Category | Literal["ranks"] | None = None
    """What it judges; None where it stands for several."""


@dataclass(frozen=True, slots=True)
class BandView:
    """A range of values with a meaning."""

    low: float
    high: float
    healthy: bool
    """Where it should be; else where it usually is."""
    word: str
    """"usual 0.9–1.4"."""
    beyond: str = ""
    """What it means to be outside; stands in the title."""


@dataclass(frozen=True, slots=True)
class ChartView:
    """One chart's data, thinned to the frame's x axis."""

    name: str
    title: str
    log: bool
    current: str
    severity: Severity | None
    """Of the current value: None unless its category is in trouble."""
    waiting: str
    """What an empty chart waits for."""
    note: str = ""
    """Range or band in words."""
    label: str = ""
    """What the number means, where that is not what its name says: "after own clipping"."""
    bands: tuple[BandView, ...] = ()
    zones: tuple[BandView, ...] = ()
    """The notebook's, where it has some for this number."""
    pointed: str = ""
    """The value at the crosshair; "" without one."""
    pointed_beside: str = ""
    """The overlay's value there, where there is one."""
    columns: Thin | None = field(default=None, compare=False, repr=False)
    overlay: Thin | None = field(default=None, compare=False, repr=False)
    """Validation loss, on the loss chart."""


@dataclass(frozen=True, slots=True)
class HeatView:
    """Gradient RMS per layer over time."""

    layers: tuple[str, ...] = ()
    worst: str = ""
    """"worst blocks.3 8.1e-2", or nothing."""
    severity: Severity | None = None
    before: int | None = None
    """The usual is learned from steps before this one (an onset)."""
    again: tuple[Calm, ...] = ()
    """The calm stretches since, from which it is learned anew."""
    steps: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    """(m,)"""
    rms: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    """(m, L); NaN also where a layer had no gradient."""
    seen: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    """(m, L) where it was measured."""


@dataclass(frozen=True, slots=True)
class CrewView:
    """The ranks that train together, in words; of one rank there is nothing to say."""

    world: int = 1
    words: str = ""
    """"8 ranks, 1 slow", "rank 3 silent for 12 s"."""
    badge: str = ""
    """The same in less room: "8", "1 slow", "1 silent"."""
    lost: str = ""
    """Which are not there; "" where all are."""
    slow: str = ""
    """Who holds the others up most, how much and since when; "" where nobody does."""
    slowest: int | None = None
    tone: Tone = "ok"


@dataclass(frozen=True, slots=True)
class IncidentView:
    """One incident with its place among the others and its proof. Its texts are clean."""

    key: tuple[str, int, int]
    """Rule, step of detection, and how many equal ones stand before it: the same for as long as it is listed."""
    incident: Incident
    depth: int
    """0 for what nothing else explains; a sign stands one deeper than its cause, and after it."""
    curve: CurveView | None
    """None where nothing that it speaks of was recorded."""


@dataclass(frozen=True, slots=True)
class MarkView:
    """A moment, in every chart."""

    step: int
    kind: Literal["onset", "event", "rollback", "snapshot"]
    tone: Tone
    word: str = ""
    """A few words that may stand beside its line."""


@dataclass(frozen=True, slots=True)
class Frame:
    """All that one moment of the screen needs."""

    header: Header
    badges: tuple[BadgeView, ...]
    verdict: tuple[Line, ...]
    narrow: tuple[Line, ...]
    """The verdict for screens below 100 columns."""
    tone: Tone
    """Of the verdict's bar."""
    charts: tuple[ChartView, ...]
    heat: HeatView
    marks: tuple[MarkView, ...]
    events: tuple[EventLine, ...]
    """The latest last."""
    about: int
    """Index of the chart that the verdict is about."""
    state: State
    is_live: bool
    facts: Facts
    read_only: bool = False
    """Whether this viewer writes nothing at all into any run."""
    barred: str = ""
    """Why this run cannot be asked for anything by this person, whatever it does; "" where it can."""
    crew: CrewView = field(default_factory=CrewView)
    incidents: tuple[IncidentView, ...] = ()
    """Open ones first, each cause before its signs."""
    unlooked: tuple[NotEvaluated, ...] = ()
    """Rules that could not look."""
    last: int = 1
    """Right end of the x axis of the whole run; it grows in steps, so that charts do not jump."""
    span: tuple[float, float] = (0.0, 1.0)
    """First and last step of the x axis that is shown."""
    newest: int = 0
    """The newest step there is, whatever moment is shown."""
    wanted: Wanted = NOW
    """What this picture answers."""
    readout: tuple[tuple[str, float | None], ...] = field(default=(), compare=False)
    """Per metric: its value at the crosshair, the last one measured by then; None where there was none."""
    moments: tuple[int, ...] = ()
    """Steps at which something happened, those after the shown moment too: where a person stops on the way."""
    detail: object = None
    """What the place in front shows beyond this; None until its producer has answered."""
    is_judged: bool = False
    """Whether the verdict is about all that was read: of a long run the charts come first."""
    revision: int = 0
    """Grows with every row read."""
    problem: str = ""
    """What keeps the viewer from reading on, or nothing."""
    way: Way = "here"
    """How the run is reached."""
    flash: str = ""
    """What the footer says for a moment instead of the keys."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What confirm texts and actions need to know, in numbers."""

    name: str = "run"
    step: int = 0
    lr: float | None = field(default=None, compare=False)
    lr_scheduled: float | None = field(default=None, compare=False)
    """The learning rate that the script asks for, overrides apart."""
    loss: float | None = field(default=None, compare=False)
    """Not compared, as NaN is never equal to itself: a change comes with a new `revision`."""
    target: int | None = None
    """Step a rescue goes back to; None: the initial weights."""
    clips: bool | None = None
    overrides: Overrides = field(default_factory=Overrides)
    rescuing: bool = False
    revision: str = ""
    """Of what was ordered: see `control.revision`."""
    step_time: float | None = None
    checkpoint: int | None = None


def differs(field: str, before: object, after: object) -> bool:
    """Whether a field of a frame may not look the same any more."""
    return before is not after and (field in DRAWN or before != after)
