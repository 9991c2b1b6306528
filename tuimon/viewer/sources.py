"""What a frame is built from: all that the feed has read so far. Frozen values; the first paint does without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuimon.viewer.views import CrewView, HeatView, IncidentView, Rules, Way
from tuimon.viewer.wanted import NOW, Wanted

if TYPE_CHECKING:
    from tuimon.diagnosis.model import Diagnosis
    from tuimon.diagnosis.story import Request, Story
    from tuimon.record.history import Thin
    from tuimon.viewer.lines import Tone


@dataclass(frozen=True, slots=True)
class Present:
    """The run as it is now: while the panel shows the past, keys still act on this."""

    story: Story
    values: Mapping[str, float]
    alive: bool | None = True
    incidents: tuple[IncidentView, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """What the feed has read so far."""

    name: str
    story: Story
    diagnosis: Diagnosis
    requests: tuple[Request, ...] = ()
    """Asked for by this viewer and not yet in the run's own log, and those answered a moment ago."""
    model: str = ""
    device: str = ""
    total: int | None = None
    clips: bool | None = None
    statement: str = ""
    """What a demo says it is going to do."""
    console: str = "console.log"
    """Where the training process prints to."""
    awaited: str = "waiting for the run to start"
    """What an empty screen waits for."""
    alive: bool | None = True
    """Whether the process is still there; None where that cannot be told."""
    step: int = 0
    age: float = 0.0
    """Seconds since the newest row."""
    is_full: bool = False
    """Whether nothing is written any more and the disk that the run is on has no room."""
    silence: float = 0.0
    """Seconds since the newest sign of life."""
    step_time: float | None = None
    """Usual seconds per step."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Last measured value per metric."""
    crew: CrewView = field(default_factory=CrewView)
    trend: float | None = None
    """Change of the loss over the last 100 steps, as a fraction."""
    columns: Mapping[str, Thin] = field(default_factory=dict)
    """Metrics thinned to the steps that are shown."""
    readout: Mapping[str, float | None] = field(default_factory=dict)
    """Values at the crosshair."""
    wanted: Wanted = NOW
    span: tuple[float, float] = (0.0, 1.0)
    """First and last step of the axis that is shown."""
    newest: int = 0
    """The newest step there is."""
    present: Present | None = None
    """What commands are about, where the rest shows the past."""
    is_wide: bool = False
    """Whether the loss spans too many decades for a linear axis."""
    last: int = 1
    heat: HeatView = field(default_factory=HeatView)
    incidents: tuple[IncidentView, ...] = ()
    judging: str = ""
    """How far the judge has come, while it lags behind what is drawn or where it has failed; else ""."""
    gave_up: bool = False
    """Whether it has failed: what it has not looked at stays so."""
    rules: Rules = "tuimon"
    revision: int = 0
    problem: str = ""
    link: tuple[str, Tone] | None = None
    """What the link to another machine has to say before anything else."""
    way: Way = "here"
    read_only: bool = False
    barred: str = ""
    """Why nothing can be asked of this run from here."""
    now: float = 0.0
    """Wall clock, seconds since the epoch."""

    @property
    def reached(self) -> int:
        """Last step of a run that has ended, as it says itself: its log goes less far where a disk was full."""
        return max(self.step, self.story.last_step)
