"""What a viewer can ask of a run: an idempotent verb with an id, an addressee and an expiry. Pure; JSON on the wire."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from tuimon.control.states import VERBS, Verb
from tuimon.errors import CommandError

SCHEMA: Final = 1
MAX_BYTES: Final = 16_384
DEFAULT_TTL: Final = 300.0
"""Seconds after which an unread command is not obeyed any more: one long step, not one long night."""
GUARD: Final = "guard"
"""Origin of what the run's own guard orders."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who asked; recorded with every command."""

    user: str = "?"
    uid: int = -1
    host: str = "?"
    pid: int = -1
    origin: str = ""
    """What asked: "viewer", "launch", "script", "guard"."""
    tty: str = ""
    """Its controlling terminal; "" where there is none."""
    ssh: str = ""
    """Where its SSH connection comes from; "" without one."""

    def fields(self) -> dict[str, str | int]:
        """As files have it."""
        return {"user": self.user, "uid": self.uid, "host": self.host, "pid": self.pid, "origin": self.origin,
                "tty": self.tty, "ssh": self.ssh}


@dataclass(frozen=True, slots=True)
class Command:
    """One request."""

    id: str
    """Unique; a second command with the same id is answered "duplicate"."""
    verb: Verb
    args: Mapping[str, Any] = field(default_factory=dict)
    """rollback, rescue: step (int, optional: the last healthy one). set-lr-scale: scale. set-clip: max_norm or None.
    rescue: lr_scale, max_norm, warmup."""
    attempt: int | None = None
    """Attempt it is addressed to; None means whichever is running."""
    issued: float = 0.0
    """Wall clock of the sender, seconds since the epoch."""
    ttl: float = DEFAULT_TTL
    who: Who = Who()
    base_rev: str | None = None
    """Id of the last order that its sender had seen applied, "" for none; None: it does not say. See `revision`."""

    def has_expired(self, now: float) -> bool:
        """Whether it is too old to obey; a clock that jumped back does not expire it."""
        return now - self.issued > self.ttl


_LARGEST: Final = 2**63
_POSITIVE: Final = {"lr_scale", "max_norm", "scale"}
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "rollback": frozenset({"step"}),
    "rescue": frozenset({"step", "lr_scale", "max_norm", "warmup"}),
    "set-lr-scale": frozenset({"scale"}),
    "set-clip": frozenset({"max_norm"}),
}


def check(command: Command) -> None:
    """Raise CommandError, saying what is wrong, unless the command is well formed."""
    if command.verb not in VERBS:
        raise CommandError(f"unknown verb {command.verb!r:.60}; known: {', '.join(VERBS)}")
    if not _is_id(command.id):
        raise CommandError(f"command id must be 1 to 80 letters, digits and dashes, not {command.id!r:.90}")
    if command.base_rev and not _is_id(command.base_rev):
        raise CommandError(f"base_rev must be the id of a command, not {command.base_rev!r:.90}")
    allowed = _ALLOWED.get(command.verb, frozenset())
    for name, value in command.args.items():
        if name not in allowed:
            raise CommandError(f"{command.verb} takes no argument {name!r:.60}")
        if name == "max_norm" and value is None:
            continue
        if not _is_number(value):
            raise CommandError(f"{command.verb}: {name} must be a finite number, not {value!r:.60}")
        if name in _POSITIVE and value <= 0:
            raise CommandError(f"{command.verb}: {name} must be above 0, not {value!r:.60}")
        if name in {"step", "warmup"} and (value != int(value) or value < 0):
            raise CommandError(f"{command.verb}: {name} must be a whole number of steps, not {value!r:.60}")
    if not (_is_number(command.issued) and _is_number(command.ttl)):
        raise CommandError(f"issued and ttl must be finite seconds, not {command.issued!r:.60} and {command.ttl!r:.60}")
    for verb, needed in (("set-lr-scale", "scale"), ("set-clip", "max_norm")):
        if command.verb == verb and needed not in command.args:
            raise CommandError(f"{verb} needs {needed}")


def encode(command: Command) -> bytes:
    """JSON bytes of a well-formed command."""
    check(command)
    body = {"schema": SCHEMA, "id": command.id, "verb": command.verb, "args": dict(command.args),
            "attempt": command.attempt, "issued": command.issued, "ttl": command.ttl, "who": command.who.fields(),
            "base_rev": command.base_rev}
    return json.dumps(body, allow_nan=False).encode()


def _is_id(text: str) -> bool:
    plain = text.replace("-", "")
    return len(text) <= 80 and plain.isascii() and plain.isalnum()


def _is_number(value: Any) -> TypeGuard[int | float]:
    """A finite number that fits a float; JSON lets integers have any length."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) <= _LARGEST


def _number(body: dict[str, Any], key: str) -> float:
    value = body.get(key)
    if not _is_number(value):
        raise CommandError(f"{key} must be a finite number, not {value!r:.60}")
    return float(value)


def decode(raw: bytes) -> Command:
    """The command in `raw`; raises CommandError for anything malformed, oversized or of another schema."""
    if len(raw) > MAX_BYTES:
        raise CommandError(f"a command has at most {MAX_BYTES} bytes, not {len(raw)}")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"not JSON: {error!s:.80}") from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise CommandError(f"not a command of schema {SCHEMA}")
    who, args, attempt = body.get("who"), body.get("args"), body.get("attempt")
    if not isinstance(who, dict) or not isinstance(args, dict):
        raise CommandError("who and args must be objects")
    if attempt is not None and (isinstance(attempt, bool) or not isinstance(attempt, int)):
        raise CommandError(f"attempt must be a whole number or null, not {attempt!r:.60}")
    base_rev = body.get("base_rev")
    if base_rev is not None and not isinstance(base_rev, str):
        raise CommandError(f"base_rev must be the id of a command or null, not {base_rev!r:.60}")
    command = Command(
        id=body["id"] if isinstance(body.get("id"), str) else "",
        verb=body.get("verb"),  # type: ignore[arg-type]  # checked below
        args=args, attempt=attempt, issued=_number(body, "issued"), ttl=_number(body, "ttl"),
        who=Who(_label(who, "user"), _whole(who.get("uid")), _label(who, "host"), _whole(who.get("pid")),
                _label(who, "origin"), _label(who, "tty", ""), _label(who, "ssh", "")), base_rev=base_rev,
    )
    if not isinstance(command.verb, str):
        raise CommandError("verb must be a string")
    check(command)
    return command


def _label(who: dict[str, Any], key: str, absent: str = "?") -> str:
    """A short text; anything else is unknown. Lone surrogates, which no file can hold, become question marks."""
    value = who.get(key)
    return value[:80].encode("utf-8", "replace").decode() if isinstance(value, str) else absent


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST else -1
