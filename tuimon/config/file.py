"""Where preferences are kept: config.toml in the XDG configuration directory. Touches the disk; never raises for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from collections.abc import Mapping
from typing import Any, Final

from tuimon.config import toml
from tuimon.private import make_folder, open_file

MOST: Final = 1 << 18
"""Bytes that are read: no file of preferences is longer."""
HEADING: Final = "# tuimon's settings. The panel writes here what is chosen in it (key , there); your comments stay.\n"


def config_path(env: Mapping[str, str]) -> str | None:
    """$XDG_CONFIG_HOME/tuimon/config.toml, else below ~/.config; None where neither is known."""
    base = env.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        home = env.get("HOME", "")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".config")
    return os.path.join(base, "tuimon", "config.toml")


def _text(path: str) -> str:
    """The file's text; "" where there is none. OSError or ValueError otherwise."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)   # a pipe in its place must not hold us up
    except FileNotFoundError:
        return ""
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is no file")
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise ValueError("it is too long")
    return data.decode("utf-8")


def load(path: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the file says, and what is wrong with it as a whole."""
    if path is None:
        return {}, ()
    try:
        return toml.loads(_text(path)), ()
    except OSError as error:
        return {}, (f"config.toml cannot be read: {error.strerror or error}; defaults are used",)
    except ValueError as error:
        return {}, (f"config.toml is not valid: {_first(error)}; defaults are used",)


def _first(error: Exception) -> str:
    """One short line of what a parser has to say."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8"
    return f"{str(error)!r:.80}".strip("'\"")


class Keeper:
    """Writes changes to the file, newest value last, from whichever thread calls `flush`.

    Until the first change nothing is made on disk. A file that is no TOML is left as it is.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._wanted: dict[toml.Path, object] = {}
        self._wanting, self._writing = threading.Lock(), threading.Lock()

    def want(self, changes: Mapping[toml.Path, object]) -> None:
        """Remember what is to be written (None: taken out). Touches no disk."""
        with self._wanting:
            self._wanted.update(changes)

    def flush(self) -> str:
        """Write what is wanted: "" or one line that says why it could not be kept."""
        with self._writing:
            with self._wanting:
                changes, self._wanted = self._wanted, {}
            if not changes:
                return ""
            if self._path is None:
                return "not kept: neither HOME nor XDG_CONFIG_HOME says where"
            try:
                save(self._path, changes)
            except OSError as error:
                return f"not kept: {error.strerror or error}"
            except ValueError as error:
                return f"not kept: config.toml is not valid ({_first(error)}) and is left as it is"
        return ""


def save(path: str, changes: Mapping[toml.Path, object]) -> None:
    """Change the file as a whole or not at all, readable by its owner only. OSError, ValueError as they come."""
    path = os.path.realpath(path)   # a link into somebody's dotfiles stays one
    text = _text(path)
    new = toml.edited(text or HEADING, changes)
    if new == (text or HEADING):
        return
    make_folder(os.path.dirname(path), parents=0o700, follow=True)
    aside = f"{path}.{secrets.token_hex(4)}"
    fd = open_file(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with open(fd, "wb") as file:
            file.write(new.encode("utf-8"))
            file.flush()
            os.fsync(fd)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
