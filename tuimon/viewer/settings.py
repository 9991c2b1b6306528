"""What a person prefers: one literal table, and where each value comes from. Pure; the standard library only.

A flag counts more than the environment, that more than the file, that more than the default. What is wrong in any of
them is left out, with one line that says so: a viewer that watches a training never stays away over a preference.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tuimon.viewer.palettes import THEMES
from tuimon.viewer.wanted import Units

Value = str | int | float | bool
Origin = Literal["flag", "environment", "file", "default"]
Switch = Literal["auto", "on", "off"]
Zones = Literal["usual", "notebook", "none"]

LOCAL_FPS: Final = 4.0
REMOTE_FPS: Final = 2.0
"""Frames a second where none are asked for, on this machine and over SSH."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the panel was left: what is remembered without being asked for."""

    toggled: tuple[str, ...] = ()
    """"kind:panel" of those that are shown or hidden against the usual of such a screen."""
    log: Mapping[str, bool] = field(default_factory=dict)
    """Chart -> whether its axis is logarithmic, where that was chosen."""
    smoothing: Mapping[str, int] = field(default_factory=dict)
    """Chart -> degree of smoothing, where that was chosen."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One complete set of preferences."""

    theme: str = "auto"
    glyphs: Literal["auto", "braille", "block", "ascii"] = "auto"
    fps: float | Literal["auto"] = "auto"
    mouse: Switch = "auto"
    zones: Zones = "usual"
    smoothing: int = 0
    """Degree for charts that were not smoothed by hand, 0 to 5."""
    sizes: Literal["decimal", "binary"] = "decimal"
    times: Literal["clock", "seconds"] = "clock"
    alerts: Literal["auto", "off", "bell", "osc9", "osc777", "osc99"] = "auto"
    layout: Layout = field(default_factory=Layout)

    def period(self, *, remote: bool) -> float:
        """Least seconds between two frames."""
        return 1.0 / ((REMOTE_FPS if remote else LOCAL_FPS) if self.fps == "auto" else self.fps)

    def has_mouse(self, *, remote: bool) -> bool:
        """Whether the mouse is listened to. Motion over charts costs a millisecond of CPU at the far side of a link."""
        return not remote if self.mouse == "auto" else self.mouse == "on"

    @property
    def units(self) -> Units:
        """How quantities are written."""
        return Units(self.sizes == "binary", self.times == "seconds")

    def palette_name(self, *, dark: bool | None) -> str:
        """The theme that is worn on such a background; None: it is not known."""
        pairs = {"auto": ("dark", "light"), "ansi": ("ansi", "ansi-light")}
        return pairs[self.theme][dark is False] if self.theme in pairs else self.theme


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    key: str
    """The field of `Settings`, and where nothing else is said, in the file."""
    title: str
    values: tuple[Value, ...]
    """What is offered, in order; the first is the default."""
    help: str
    noun: str = ""
    """What a wrong value is not: "a theme"."""
    flag: str = ""
    env: str = ""
    limits: tuple[float, float] | None = None
    """Least and greatest number, where others than those offered are taken too."""
    at_start: bool = False
    """Whether it counts from the next start on."""
    table: str = ""
    """Where it stands among others in a table of the file: "notify.terminal"."""

    @property
    def path(self) -> tuple[str, ...]:
        """Where it stands in the file."""
        return tuple((self.table or self.key).split("."))

    @property
    def default(self) -> Value:
        """What holds where nothing is said."""
        return self.values[0]

    def accept(self, value: object) -> Value | None:
        """The value as it is kept, or None where it is none of these."""
        if self.limits is not None and isinstance(value, int | float) and not isinstance(value, bool):
            low, high = self.limits
            return value if low <= value <= high else None
        return next((one for one in self.values if one == value and type(one) is type(value)), None)

    def read(self, word: str) -> Value | None:
        """The value that a word on a command line or in the environment means."""
        word = word.strip().lower()
        if self.values[-2:] == ("on", "off"):
            word = {"1": "on", "true": "on", "yes": "on", "0": "off", "false": "off", "no": "off"}.get(word, word)
        if self.limits is not None:
            try:
                return self.accept(float(word))
            except ValueError:
                pass
        return self.accept(word)

    def complaint(self, value: object) -> str:
        """Why a value is not taken, without saying where it stands."""
        wanted = self.noun or f"one of {', '.join(map(shown, self.values))}"
        if self.limits is not None:
            wanted = f"auto or a number from {self.limits[0]:g} to {self.limits[1]:g}"
        near = difflib.get_close_matches(str(value).lower(), [str(v) for v in self.values], 1) if self.noun else []
        return f"{value!r:.40} is not {wanted}" + (f" ({near[0]}?)" if near else "")


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("theme", "theme", ("auto", *THEMES), "auto is dark or light, as the terminal's background is",
            "a theme", "--theme", "TUIMON_THEME"),
    Setting("glyphs", "glyphs", ("auto", "braille", "block", "ascii"),
            "what charts are drawn with; auto is braille where the terminal can", "", "--glyphs", "TUIMON_GLYPHS"),
    Setting("fps", "frames a second", ("auto", 1, 2, 4, 8), "at most; auto is 4, and 2 over SSH", "", "--fps",
            "TUIMON_FPS", limits=(0.2, 10.0)),
    Setting("mouse", "mouse", ("auto", "on", "off"), "auto is on, and off over SSH", "", "--no-mouse", "TUIMON_MOUSE",
            at_start=True),
    Setting("zones", "behind the data", ("usual", "notebook", "none"),
            "what is usual here, the notebook's healthy and danger zones, or nothing (key n)"),
    Setting("smoothing", "smoothing", (0, 1, 2, 3, 4, 5), "of charts that were not smoothed by hand"),
    Setting("sizes", "sizes", ("decimal", "binary"), "2.1 GB by powers of 1,000, or 2.0 GiB by powers of 1,024"),
    Setting("times", "times", ("clock", "seconds"), "1:02:03, or 3,723 s"),
    Setting("alerts", "alerts", ("auto", "off", "bell", "osc9", "osc777", "osc99"),
            "bell or desktop notification when a critical incident begins or the run ends; auto: once the terminal "
            "says that nobody looks at it", table="notify.terminal"),
)
"""Every preference, in the order of screen and README."""


def find(key: str) -> Setting:
    """The row of that key."""
    return next(setting for setting in SETTINGS if setting.key == key)


def shown(value: object) -> str:
    """A value as a person reads it."""
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) \
        else str(value)


@dataclass(frozen=True, slots=True)
class Settled:
    """The preferences in force, and why."""

    settings: Settings = field(default_factory=Settings)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Key -> where its value comes from; absent: the default."""
    problems: tuple[str, ...] = ()
    """What was left out, one line each."""
    outside: Mapping[str, Value] = field(default_factory=dict)
    """What flags and environment say: it counts again at the next start, and after a reset."""
    kept: Mapping[str, Value] = field(default_factory=dict)
    """What the file says."""

    def origin(self, key: str) -> Origin:
        """Where a value comes from."""
        return self.origins.get(key, "default")

    def said_by(self, key: str) -> str:
        """The flag or variable that decides a value, or ""."""
        row = find(key)
        return {"flag": row.flag, "environment": row.env}.get(self.origin(key), "")

    def preferring(self, key: str, value: Value) -> Settled:
        """With a value that the person has just chosen: it goes to the file, and counts from now on."""
        change: dict[str, Any] = {key: value}
        return replace(self, settings=replace(self.settings, **change), origins={**self.origins, key: "file"},
                       kept={**self.kept, key: value})

    def without(self, key: str) -> Settled:
        """With the file saying nothing about it any more: nor does flag or environment until the next start."""
        change: dict[str, Any] = {key: find(key).default}
        return replace(self, settings=replace(self.settings, **change),
                       origins={k: v for k, v in self.origins.items() if k != key},
                       kept={k: v for k, v in self.kept.items() if k != key})

    def remembering(self, layout: Layout) -> Settled:
        """With the panel as it is left now."""
        return replace(self, settings=replace(self.settings, layout=layout))


def settle(flags: Mapping[str, Value], env: Mapping[str, str], kept: Mapping[str, Any],
           problems: tuple[str, ...] = ()) -> Settled:
    """The preferences in force.

    flags: values that were accepted from the command line; kept: what the file says, as TOML has it; problems: what
    reading the file had to say.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    outside: dict[str, Value] = {}
    found, said = list(problems), {}
    for row in SETTINGS:
        key, given = row.key, _at(kept, row.path)
        if given is not None:
            value = row.accept(given)
            if value is None:
                name = ".".join(row.path)
                found.append(f"config.toml: {name} = {row.complaint(given)}; {shown(row.default)} is used")
            else:
                values[key], origins[key], said[key] = value, "file", value
        word = env.get(row.env, "") if row.env else ""
        if word.strip():
            value = row.read(word)
            if value is None:
                other = shown(values.get(key, row.default))
                found.append(f"{row.env} = {row.complaint(word)}; {other} is used")
            else:
                values[key], origins[key], outside[key] = value, "environment", value
        if key in flags:
            values[key], origins[key], outside[key] = flags[key], "flag", flags[key]
    layout, odd = _layout(kept.get("layout", {}))
    return Settled(Settings(**values, layout=layout), origins, (*found, *odd), outside, said)


def _at(kept: Mapping[str, Any], path: tuple[str, ...]) -> object:
    """What stands there; None where nothing does."""
    found: object = kept
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _layout(kept: object) -> tuple[Layout, list[str]]:
    """What is remembered; what makes no sense is forgotten, with one line for all of it."""
    if not isinstance(kept, Mapping):
        return Layout(), ["config.toml: layout is no table; it is forgotten"]
    toggled, log, smoothing = kept.get("toggled", []), kept.get("log", {}), kept.get("smoothing", {})
    degrees = find("smoothing").values
    right = (isinstance(toggled, list) and all(isinstance(name, str) for name in toggled)
             and isinstance(log, Mapping) and all(isinstance(on, bool) for on in log.values())
             and isinstance(smoothing, Mapping)
             and all(type(degree) is int and degree in degrees for degree in smoothing.values()))
    if not right:
        return Layout(), ["config.toml: layout says what cannot be; it is forgotten"]
    return Layout(tuple(toggled), dict(log), dict(smoothing)), []


def layout_changes(before: Layout, after: Layout) -> dict[tuple[str, ...], object]:
    """What to write to the file, so that it remembers `after` instead of `before`."""
    changes: dict[tuple[str, ...], object] = {}
    if before.toggled != after.toggled:
        changes["layout", "toggled"] = list(after.toggled) or None
    tables: tuple[tuple[str, Mapping[str, Value], Mapping[str, Value]], ...] = (
        ("log", before.log, after.log), ("smoothing", before.smoothing, after.smoothing))
    for name, old, new in tables:
        for chart in sorted({*old, *new}):
            if old.get(chart) != new.get(chart):
                changes["layout", name, chart] = new.get(chart)
    return changes


def settings_markdown() -> str:
    """The table for the README."""
    rows = []
    for row in SETTINGS:
        values = "`auto`, or a theme of the next table" if row.key == "theme" else ", ".join(
            f"`{str(v).lower() if isinstance(v, bool) else shown(v)}`" for v in row.values)
        if row.limits is not None:
            values += f", or any number from {row.limits[0]:g} to {row.limits[1]:g}"
        ways = ", ".join(f"`{way}`" for way in (row.flag, row.env) if way)
        rows.append(f"| `{'.'.join(row.path)}` | {values} | {row.help} | {ways} |")
    head = ["| in `config.toml` | values | what it does | flag, environment |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def themes_markdown() -> str:
    """The themes for the README."""
    rows = [f"| `{name}` | {what} |" for name, what in THEMES.items()]
    return "\n".join(["| theme | colours |", "|---|---|", *rows, ""])
