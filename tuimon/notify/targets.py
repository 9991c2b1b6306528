"""Where a message goes, from one line of a person's: a webhook, a command, or a URL of apprise. Pure but for PATH.

A target may hold a secret (a token in a URL, an argument): only `label` is ever shown or written anywhere.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from tuimon.errors import UsageError

Kind = Literal["webhook", "ntfy", "command", "apprise"]
LONGEST: Final = 2000
WANTED: Final = "a URL (https://..., ntfy://..., slack://...) or a command of yours"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NTFY_HOST: Final = "ntfy.sh"


@dataclass(frozen=True, slots=True)
class Target:
    """One place that messages go to."""

    kind: Kind
    label: str
    """What it is called in front of others: kind, host or program, nothing that could be a secret."""
    word: str = field(repr=False)
    """The URL or the command line, as it was given."""

    @property
    def argv(self) -> list[str]:
        """Of a command."""
        program, *rest = shlex.split(self.word)
        return [os.path.expanduser(program), *rest]

    @property
    def url(self) -> str:
        """Of a webhook, as HTTP knows it."""
        return self.word.removeprefix("ntfy+")


def target(word: object) -> Target:
    """What a person wrote; UsageError in a line that does not repeat it."""
    word = word.strip() if isinstance(word, str) else word
    if not isinstance(word, str) or not word:
        raise UsageError(f"notify wants {WANTED}, not {'nothing' if word == '' else f'a {type(word).__name__}'}")
    if len(word) > LONGEST or not word.isprintable():
        raise UsageError(f"notify wants {WANTED} in one line of at most {LONGEST} characters")
    scheme = _SCHEME.match(word)
    if scheme is None:
        return _command(word)
    name = scheme[1].lower()
    if name in ("http", "https", "ntfy+http", "ntfy+https"):
        return _webhook(word, name)
    return _apprise(word, name)


def _webhook(word: str, scheme: str) -> Target:
    try:
        parts = urlsplit(word.removeprefix("ntfy+"))
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or any(c.isspace() for c in word):
        raise UsageError(f"notify: an {scheme}:// URL without a host, or one that is malformed")
    where = host if port is None else f"{host}:{port}"
    if scheme.startswith("ntfy+") or host == _NTFY_HOST:
        return Target("ntfy", f"ntfy {where}", word)
    return Target("webhook", f"webhook {where}", word)


def _apprise(word: str, scheme: str) -> Target:
    if importlib.util.find_spec("apprise") is None:
        raise UsageError(f"notify: {scheme}:// needs apprise: pip install 'tuimon[notify]'")
    return Target("apprise", f"{scheme} by apprise", word)   # what follows is a token as often as a host


def _command(word: str) -> Target:
    try:
        argv = shlex.split(word)
    except ValueError:
        raise UsageError("notify: a command with a quote that is not closed") from None
    program = os.path.expanduser(argv[0]) if argv else ""
    if not program or shutil.which(program) is None:
        raise UsageError(f"notify wants {WANTED}: what was given is no URL, and no program of that name is found")
    return Target("command", f"command {os.path.basename(program)}"[:60], word)
