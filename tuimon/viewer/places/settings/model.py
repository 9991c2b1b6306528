"""What the settings show, and how one person looks at them. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tuimon.viewer.looks import Around, limits, meaning, palette_name
from tuimon.viewer.palettes import THEMES
from tuimon.viewer.settings import SETTINGS, Setting, Settled, Value, shown


@dataclass(frozen=True, slots=True)
class RowView:
    """One preference."""

    title: str
    value: str
    """As a person reads it: "nord", or "auto: dark"."""
    origin: str
    """"--theme", "TUIMON_FPS", "config.toml", "default"."""
    is_default: bool
    is_first: bool
    is_last: bool
    """Whether there is no value before or after."""


@dataclass(frozen=True, slots=True)
class SettingsView:
    """All that is shown."""

    rows: tuple[RowView, ...]
    chosen: int
    about: tuple[str, ...]
    """What the chosen one does, and what is to be known about it."""
    problems: tuple[str, ...]
    worn: str
    """Name of the theme in force."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one person looks at."""

    at: int = 0
    settled: Settled = field(default_factory=Settled)

    @property
    def setting(self) -> Setting:
        """The chosen one."""
        return SETTINGS[self.at]

    def moved(self, by: int) -> Look:
        """The one above or below."""
        return replace(self, at=min(len(SETTINGS) - 1, max(0, self.at + by)))

    def turned(self, by: int, *, around: bool = False) -> Value | None:
        """The value before or after the present one; None where there is none. `around`: from the last to the first."""
        row = self.setting
        values = row.values
        now = getattr(self.settled.settings, row.key)
        if now in values:
            to = values.index(now) + by
        else:   # a number between two that are offered
            numbers = [v for v in values if isinstance(v, int | float)]
            nearer = [v for v in numbers if (v > now) == (by > 0)]
            to = values.index(min(nearer) if by > 0 else max(nearer)) if nearer else -1
        if around:
            to %= len(values)
        return values[to] if 0 <= to < len(values) else None


def view(look: Look, around: Around) -> SettingsView:
    """The settings as they are shown."""
    settled = look.settled
    rows = tuple(_row(setting, settled, around) for setting in SETTINGS)
    return SettingsView(rows, look.at, _about(look, around), settled.problems, palette_name(settled.settings, around))


def _row(setting: Setting, settled: Settled, around: Around) -> RowView:
    key, value = setting.key, getattr(settled.settings, setting.key)
    means = meaning(key, settled.settings, around)
    origin = settled.origin(key)
    words = {"file": "config.toml", "default": "default"}.get(origin) or settled.said_by(key)
    return RowView(setting.title, f"{shown(value)}: {means}" if means else shown(value), words, origin == "default",
                   value == setting.values[0], value == setting.values[-1])


def _about(look: Look, around: Around) -> tuple[str, ...]:
    setting, settled = look.setting, look.settled
    value = getattr(settled.settings, setting.key)
    lines = [setting.help]
    if setting.key == "theme" and value in THEMES:
        lines = [f"{value}: {THEMES[value]}"]
    if setting.key == "theme" and (limit := limits(around)):
        lines.append(limit)
    if setting.at_start:
        lines.append("a change counts from the next start on")
    outside = settled.outside.get(setting.key)
    if outside is not None and outside != value:
        lines.append(f"the command line or the environment says {shown(outside)}: that counts again at the next start")
    return tuple(lines)
