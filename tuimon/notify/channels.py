"""Sending one message to one target, within a time limit. The one place of tuimon that opens sockets; starts commands.

What went wrong is said in our own words: those of libraries repeat URLs, which hold secrets.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tuimon.notify import message as words
from tuimon.notify.message import Message
from tuimon.notify.targets import Kind, Target
from tuimon.notify.wishes import VARIABLE

HTTP_S: Final = 10.0
COMMAND_S: Final = 20.0
MOST_READ: Final = 4096
_PRIORITY: Final = {"critical": "high", "warning": "default"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try."""

    why: str = ""
    """Why it did not arrive; "" where it did."""
    again: bool = True
    """Whether another try could help."""
    wait: float = 0.0
    """Seconds that the target asks to be left alone for."""

    @property
    def arrived(self) -> bool:
        """Whether the target took it."""
        return not self.why


ARRIVED: Final = Outcome()


def send(target: Target, message: Message, folder: str = "") -> Outcome:
    """One try. Never raises; takes a limited time, if the target does not drip."""
    try:
        return _SENDERS[target.kind](target, message, folder)
    except Exception as error:  # a library's fault is no reason to fall silent
        return Outcome(f"a fault: {type(error).__name__}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET, or where nobody meant it to."""

    def redirect_request(self, *_: object) -> None:
        """None: the answer is the error that it is."""


_opener: Final = urllib.request.OpenerDirector()
for _handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler, _NoRedirects,
                 urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor):
    _opener.add_handler(_handler())   # http and https, and nothing else


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    request = urllib.request.Request(  # noqa: S310  # of a target: http or https
        url, body, {"User-Agent": "tuimon", **headers}, method="POST")
    try:
        with _opener.open(request, timeout=HTTP_S) as answer:
            answer.read(MOST_READ)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(error.code, error.headers.get("Retry-After", ""))
    except urllib.error.URLError as error:
        return Outcome(_in_words(error.reason))
    except (OSError, http.client.HTTPException) as error:
        return Outcome(_in_words(error))
    except ValueError:
        return Outcome("the URL is malformed", again=False)
    return ARRIVED


def _refused(status: int, wait: str) -> Outcome:
    name = http.client.responses.get(status, "")
    return Outcome(f"HTTP {status} {name}".rstrip(), again=status in (408, 425, 429) or status >= 500,
                   wait=min(600.0, float(wait)) if wait.isascii() and wait.isdigit() else 0.0)


def _in_words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {HTTP_S:.0f} s"
    if isinstance(error, socket.gaierror):
        return "the host is not known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__


def _webhook(target: Target, message: Message, _folder: str) -> Outcome:
    return _post(target.url, words.as_webhook(message), {"Content-Type": "application/json"})


def _ntfy(target: Target, message: Message, _folder: str) -> Outcome:
    """The topic's URL takes plain text: a JSON object would be shown as it is."""
    text = f"{message.title}\n{message.body}".encode()
    return _post(target.url, text, {"Content-Type": "text/plain; charset=utf-8", "Title": "tuimon",
                                    "Priority": _PRIORITY.get(message.severity, "low")})


def _command(target: Target, message: Message, folder: str) -> Outcome:
    """The person's own, without a shell; the message in its environment and, as JSON, on its standard input."""
    env = {**{k: v for k, v in os.environ.items() if k != VARIABLE}, **words.as_variables(message)}
    try:
        child = subprocess.Popen(  # noqa: S603  # the person's own command
            target.argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
            cwd=folder if os.path.isdir(folder) else None, start_new_session=True)
    except OSError as error:
        return Outcome(f"cannot be started: {_in_words(error)}", again=False)
    try:
        child.communicate(json.dumps(words.as_fields(message)).encode(), timeout=COMMAND_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)   # it leads its group: what it started goes with it
        child.wait()
        return Outcome(f"not done after {COMMAND_S:.0f} s: killed")
    status = child.returncode
    if status == 0:
        return ARRIVED
    return Outcome(f"exit status {status}" if status > 0 else f"killed by signal {-status}")


def _apprise(target: Target, message: Message, _folder: str) -> Outcome:
    try:
        import apprise
    except ImportError:
        return Outcome("apprise is not installed: pip install 'tuimon[notify]'", again=False)
    service = apprise.Apprise()
    if not service.add(target.word):
        return Outcome("apprise does not understand this URL", again=False)
    kind = {"critical": "failure", "warning": "warning", "ok": "success"}.get(message.severity, "info")
    sent = service.notify(body=message.body or message.headline, title=message.title, notify_type=kind)
    return ARRIVED if sent else Outcome("apprise could not deliver it")


_SENDERS: Final[dict[Kind, Callable[[Target, Message, str], Outcome]]] = {
    "webhook": _webhook, "ntfy": _ntfy, "command": _command, "apprise": _apprise,
}
