"""Secrets are taken out of what is written about a run, here, at the boundary. Reads the environment; else pure.

    --api-key X, --api-key=X, wandb.api_key=X      the value of whatever is named like a secret
    https://ada:X@host/?token=X                    who logs in, in an address
    hf_..., sk-..., ghp_..., AKIA..., eyJ...       what looks like a key that a service hands out
    any value of a secret in the environment       wherever it stands

A number behind "key" or "token" is a hyper-parameter (--num-key-value-heads 8, --max-tokens 2048) and stays. Rather too
much is taken out than too little: whoever typed it can look it up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

HIDDEN: Final = "HIDDEN"
SHORTEST: Final = 8
"""Characters of an environment's secret from which on it is looked for everywhere: a shorter one is in any word."""
_ALWAYS: Final = re.compile(
    r"secret|passw|passphrase|credential|(?<![a-z])pwd|(?:api|access|private|auth|signing|encryption|license|ssh)[^a-z]?key"
    r"|(?:^|\.)(?:(?:hf|auth|access)[_-])?(?:key|token)$")
_OFTEN: Final = re.compile(r"(?<!mon)keys?(?![a-z])|token(?!i[sz])|(?<![a-z])auth(?![a-z]|or)|bearer")
_SHELL: Final = frozenset({"PWD", "OLDPWD"})
"""Where a shell stands, in every environment: half of all paths begin so."""
_PLAIN: Final = re.compile(
    r"[-+]?[\d_]{0,12}\.?\d{0,12}(?:e[-+]?\d{1,3})?|true|false|yes|no|on|off|none|null", re.IGNORECASE)
"""Values of hyper-parameters."""
_NAME: Final = r"[A-Za-z_][\w.-]*"
_OPTION: Final = re.compile(rf"-{{1,2}}({_NAME})")
_NAMED: Final = re.compile(rf"""({_NAME})["']?\s*[=:]\s*""")
_VALUE: Final = re.compile(r"""\"[^"]*"|'[^']*'|[^\s,;&"'{}]+""")
_SEVERAL: Final = re.compile(r"(?:key|token|secret|credential|password)s(?![a-z])", re.IGNORECASE)
"""Options that take more values than one."""
_WHOLE: Final = re.compile(rf"(?s)([-+~]*{_NAME})=(.*)")
_LOGIN: Final = re.compile(r"(://)([^\s/?#:@]*)(:?)(\S*)@")
_KNOWN: Final = re.compile(
    r"\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[a-z]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{12,}|AIza[\w-]{30,}|eyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)?)"
    r"|(?<=Bearer )\S+|(?<=Basic )\S{8,}")


def is_secret(name: str, value: str) -> bool:
    """Whether whatever is called so has a value that is nobody's business."""
    plain = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return (bool(_ALWAYS.search(plain)) and bool(value)) or (bool(_OFTEN.search(plain)) and not _PLAIN.fullmatch(value))


def secrets(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The secrets of an environment, the longest first."""
    for _ in range(3):
        try:
            found = dict(os.environ if env is None else env)
            break
        except RuntimeError:   # another thread has set a variable meanwhile
            found = {}
    return tuple(sorted({value for name, value in found.items()
                         if len(value) >= SHORTEST and name not in _SHELL and is_secret(name, value)},
                        key=len, reverse=True))


def redacted(text: str, known: Sequence[str]) -> str:
    """A text without logins, keys that look like some, and the secrets that are `known`."""
    for secret in known:
        text = text.replace(secret, HIDDEN)
    return _KNOWN.sub(HIDDEN, _LOGIN.sub(_without_login, text)) if len(text) > SHORTEST else text


def redacted_words(words: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """A command line without its secrets: as many words, and the rest as it was."""
    known, found = secrets(env), []
    asked = ""   # the option whose value comes next
    for word in words:
        option = _OPTION.fullmatch(word)
        if option:
            asked = option[1]
            found.append(word)
        elif asked and is_secret(asked, word):
            found.append(HIDDEN)
            asked = asked if _SEVERAL.search(asked) else ""
        else:
            asked = ""
            found.append(redacted(_without_values(word), known))
    return tuple(found)


def redacted_fields(fields: Mapping[str, Any], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An event's fields, their texts redacted: an error says what a program was about to do, its address included."""
    known = secrets(env)
    return {name: redacted(value, known) if isinstance(value, str) else value for name, value in fields.items()}


def _without_values(word: str) -> str:
    """NAME=VALUE and NAME: VALUE, the whole word or within it, as often as there are some."""
    whole = _WHOLE.fullmatch(word)
    if whole and is_secret(whole[1], whole[2]):
        return f"{whole[1]}={HIDDEN}"
    kept, at = "", 0
    for named in _NAMED.finditer(word):
        value = _VALUE.match(word, named.end()) if named.start() >= at else None
        if value and is_secret(named[1], value[0].strip("\"'")):
            kept, at = kept + word[at:named.end()] + HIDDEN, value.end()
    return kept + word[at:]


def _without_login(found: re.Match[str]) -> str:
    """An address keeps the user's name where a password stood behind it."""
    if found[3]:
        return f"://{found[2]}:{HIDDEN}@"
    return found[0] if not found[4] and found[2] in ("", "git") else f"://{HIDDEN}@"
