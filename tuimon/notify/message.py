"""One message to a person: values, and the forms in which targets take it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tuimon.record.text import clean

RANK: Final = {"ok": 0, "info": 1, "warning": 2, "critical": 3}
LISTED: Final = 8
"""Headlines that one message lists before the rest is counted."""
DISCORD: Final = 1900
"""Characters that Discord takes, with room to spare."""
_CALLS: Final = re.compile(r"<(?=[!@#])")
"""What Slack would take for a call to everybody in a channel."""


@dataclass(frozen=True, slots=True)
class Message:
    """What happened, in clean one-line texts."""

    key: str
    """What it is about: no two messages of an attempt share one."""
    kind: str
    """incident, worse, over, rank, act, end, several, test."""
    severity: str
    """ok, info, warning or critical."""
    headline: str
    """A few words."""
    text: str = ""
    """One or two sentences."""
    step: int = 0
    time: float = 0.0
    """Wall clock, seconds since the epoch."""
    run: str = ""
    """Name of the run's directory."""
    name: str = ""
    """What the run is called."""
    host: str = ""
    watch: str = ""
    """The command that shows it."""
    keys: tuple[str, ...] = ()
    """Of the messages that were put into this one."""

    @property
    def about(self) -> tuple[str, ...]:
        """Everything that is told by it."""
        return self.keys or (self.key,)

    @property
    def title(self) -> str:
        """One line."""
        return f"{self.name or self.run}: {self.headline}" if self.run else self.headline

    @property
    def body(self) -> str:
        """What follows the title."""
        where = " · ".join(part for part in (f"step {self.step:,}" if self.step else "", self.host, self.watch) if part)
        return "\n".join(part for part in (self.text, where) if part)


def together(messages: Sequence[Message]) -> Message:
    """Several as one, by the worst of them; one as it is."""
    if len(messages) == 1:
        return messages[0]
    worst = max(messages, key=lambda m: RANK.get(m.severity, 0))
    others = len(messages) - 1
    listed = [f"- {m.headline}" + (f": {m.text}" if m.text else "") for m in messages[:LISTED]]
    if len(messages) > LISTED:
        listed.append(f"and {len(messages) - LISTED} more")
    return replace(
        worst, key=f"several:{worst.key}", kind="several", headline=f"{worst.headline} (and {others} more)",
        text="\n".join(listed), step=messages[-1].step, time=messages[-1].time,
        keys=tuple(key for m in messages for key in m.about))


def as_variables(message: Message) -> dict[str, str]:
    """For a command's environment."""
    return {
        "TUIMON_RUN": message.run, "TUIMON_NAME": message.name, "TUIMON_SEVERITY": message.severity,
        "TUIMON_KIND": message.kind, "TUIMON_HEADLINE": message.headline, "TUIMON_TITLE": message.title,
        "TUIMON_TEXT": message.text, "TUIMON_STEP": str(message.step), "TUIMON_HOST": message.host,
        "TUIMON_WATCH": message.watch,
    }


def as_fields(message: Message) -> dict[str, Any]:
    """For a command's standard input, and for webhooks of one's own."""
    return {
        "schema": 1, "run": message.run, "name": message.name, "kind": message.kind, "severity": message.severity,
        "headline": message.headline, "title": message.title, "message": message.text, "step": message.step,
        "time": message.time, "host": message.host, "watch": message.watch,
    }


def as_webhook(message: Message) -> bytes:
    """`text` for Slack and its like, `content` for Discord; names of runs call nobody."""
    whole = f"{message.title}\n{message.body}"
    return json.dumps({
        **as_fields(message), "text": _CALLS.sub("< ", whole), "content": whole[:DISCORD],
        "allowed_mentions": {"parse": []},
    }).encode()


def line(text: object, limit: int = 300) -> str:
    """A field of an event, as it may be shown anywhere."""
    return clean(text if isinstance(text, str) else "", limit).strip()
