"""What a person wants to be told, and where: from `attach(notify=...)`, $TUIMON_NOTIFY and config.toml. Pure.

    [notify]
    to = ["https://hooks.slack.com/services/...", "notify-send tuimon"]    # or one of them
    severity = "critical"              # from which on an incident is told: "warning" or "critical"
    ends = ["crashed"]                 # of which ends of a run: "crashed", "stopped", "finished"

An argument counts more than the environment, that more than the file. A wrong argument is refused; what is wrong in the
others is left out with one line, for no training stays away over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuimon.errors import UsageError
from tuimon.notify.targets import WANTED, Target, target

VARIABLE: Final = "TUIMON_NOTIFY"
"""One target a line; "off" is none."""
ENDS: Final = ("crashed", "stopped", "finished")
SEVERITIES: Final = ("warning", "critical")
MOST_TARGETS: Final = 8
_KNOWN: Final = ("to", "severity", "ends", "terminal")
"""`terminal` is the viewers'."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Nobody is told anything where there are no targets."""

    targets: tuple[Target, ...] = ()
    severity: str = "critical"
    """The least that an incident must be."""
    ends: tuple[str, ...] = ("crashed",)
    """A run that died has crashed."""
    folder: str = ""
    """Where commands run; "" is where the helper does."""

    def encode(self) -> bytes:
        """One line for the helper; it holds secrets."""
        return json.dumps({"to": [t.word for t in self.targets], "severity": self.severity, "ends": list(self.ends),
                           "folder": self.folder}).encode() + b"\n"

    @staticmethod
    def decode(line: bytes) -> Wishes:
        """What `encode` wrote."""
        body = json.loads(line)
        return Wishes(tuple(map(target, body["to"])), body["severity"], tuple(body["ends"]), body["folder"])


def targets_of(given: object) -> tuple[Target, ...]:
    """One target or several; UsageError for the first that is none."""
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, Sequence) or isinstance(words, bytes):
        raise UsageError(f"notify wants {WANTED}, a list of them, or None, not a {type(given).__name__}")
    if len(words) > MOST_TARGETS:
        raise UsageError(f"notify wants at most {MOST_TARGETS} of them, not {len(words)}")
    return tuple(target(word) for word in words)


def wish(argument: object, env: Mapping[str, str], kept: Mapping[str, Any], folder: str = "",
         ) -> tuple[Wishes, tuple[str, ...]]:
    """What is wanted, and what was left out of environment and file.

    argument: None where `attach` was not given any; kept: what config.toml says. UsageError for the argument.
    """
    table, problems = kept.get("notify", {}), list[str]()
    if not isinstance(table, Mapping):
        table, problems = {}, ["config.toml: notify is no table"]
    known = ", ".join(_KNOWN)
    problems += [f"config.toml: notify.{key!s:.40} is none of {known}" for key in table if key not in _KNOWN]
    severity, ends = table.get("severity", "critical"), table.get("ends", ["crashed"])
    if severity not in SEVERITIES:
        problems.append(f"config.toml: notify.severity is none of {', '.join(SEVERITIES)}; critical is used")
        severity = "critical"
    if not isinstance(ends, list) or not all(end in ENDS for end in ends):
        problems.append(f"config.toml: notify.ends is no list of {', '.join(ENDS)}; crashed is used")
        ends = ["crashed"]
    said = env.get(VARIABLE, "").strip()
    if argument is not None:
        targets = targets_of(argument)
    elif said:
        lines = [] if said.lower() == "off" else [line for line in said.splitlines() if line.strip()]
        targets = _taken(VARIABLE, lines, problems)
    else:
        targets = _taken("config.toml", table.get("to", []), problems)
    return Wishes(targets, severity, tuple(ends), folder), tuple(problems)


def _taken(where: str, given: object, problems: list[str]) -> tuple[Target, ...]:
    """Those that are targets; about the others a line each."""
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list):
        problems.append(f"{where}: notify.to is neither a text nor a list of them")
        return ()
    found: list[Target] = []
    for word in words[:MOST_TARGETS]:
        try:
            found.append(target(word))
        except UsageError as error:
            problems.append(f"{where}: {error}")
    return tuple(found)
