"""One line to another machine: ssh, what is said over it, and how it begins."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tuimon.record.text import clean
from tuimon.remote.far.wire import BOOT, FOUND, MAGIC, Packer, Unpacker, WireError
from tuimon.remote.host import Target, Unreached, bundle, command, listing, start
from tuimon.remote.steps import Steps

PROTOCOL: Final = 1
PATIENCE: Final = 60.0
"""That a person is given for passwords and the like, counted anew with every word of ssh."""
_KEPT: Final = 4000
_REFUSED: Final = re.compile(
    r"(\S+: )?Permission denied \(.*\)\.?|Host key verification failed\.|.*: Too many authentication failures.*")
"""What ssh says where it would have to ask somebody and may not, or was not given the right answer."""


class Refused(Unreached):
    """It takes a person to log in."""


class Interrupted(Unreached):
    """That person thought better of it."""


class Left(Exception):
    """Whoever watched has gone."""


class Stopped(Exception):
    """It is not wanted any more, in this way."""


@dataclass(slots=True)
class Line:
    """One ssh and what is said over it."""

    process: subprocess.Popen[bytes]
    packer: Packer = field(default_factory=Packer)
    unpacker: Unpacker = field(default_factory=Unpacker)
    hello: dict[str, Any] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)
    is_through: bool = False
    """Whether the login is behind it: something of ours spoke."""
    is_asked: bool = False
    """Whether it was said what is wanted."""
    is_sent: bool = False
    """Whether the far side was sent there."""
    words: str = ""
    """What ssh printed, and what a login there does."""
    is_mute: bool = False
    """Whether ssh has nothing more to complain of."""
    waiting: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    """Messages that came with the answer."""
    given: set[Callable[[], bytes]] = field(default_factory=set)
    """What was sent of the far side when it was asked for."""
    leash: int | None = None
    """A pipe whose other end is closed when nobody watches any more."""
    steps: Steps = field(default_factory=Steps)
    """Who is told how far it has come."""
    spoke: float = field(default_factory=time.monotonic)
    """When anything came last, be it part of a message."""

    @property
    def output(self) -> int:
        """Where its words come from."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    @property
    def errors(self) -> int:
        """Where its complaints come from."""
        assert self.process.stderr is not None
        return self.process.stderr.fileno()

    def say(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Tell the other side."""
        self.raw(self.packer.pack(head, body))

    def raw(self, data: bytes) -> None:
        """OSError where it has gone."""
        assert self.process.stdin is not None
        while data:
            data = data[os.write(self.process.stdin.fileno(), data):]

    def hear(self, timeout: float) -> list[tuple[dict[str, Any], bytes]] | None:
        """What came; None at the end. WireError for what is nothing of ours."""
        leash = [] if self.leash is None else [self.leash]
        ready, _, _ = select.select([self.output, *([] if self.is_mute else [self.errors]), *leash], [], [], timeout)
        if self.leash in ready:
            raise Left
        if self.errors in ready:
            words = os.read(self.errors, 65536)
            self.is_mute = not words
            self.note(words)
        if self.output not in ready:
            return []
        data, self.spoke = os.read(self.output, 1 << 18), time.monotonic()
        return self.unpacker.feed(data) if data else None

    def note(self, words: bytes) -> None:
        """What ssh says; before the login is through whoever sits there is told: it may belong to a question."""
        self.words = (self.words + words.decode("utf-8", "replace"))[-_KEPT:]
        if not self.is_through:
            self.steps.pass_on(words)

    def close(self) -> None:
        """End it."""
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        # By number: after the fork it is another process's child, for which Popen can do nothing.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.kill(self.process.pid, number)
                    self.process.wait(1.0)

    @property
    def wants_a_person(self) -> bool:
        """Whether ssh ended as nobody was there to log in; what is printed behind a login is not taken for that."""
        return not self.is_through and any(_REFUSED.fullmatch(words.strip()) for words in self.words.splitlines())

    def complaint(self) -> str:
        """The last thing that was said by ssh, for a person."""
        lines = [line for line in self.words.splitlines() if line.strip()]
        return clean(lines[-1], 200) if lines else "ssh ended without a word"


def reach(target: Target, *, control: bool, leash: int, steps: Steps, process: subprocess.Popen[bytes] | None = None,
          alone: bool = False, stops: Callable[[], bool] = lambda: False,
          question: Mapping[str, Any] | None = None) -> Line:
    """A line to the run; Unreached, with the reason in one sentence, where there is none.

    `question`: what is asked for instead of the run. For as long as the other end of `leash` is open. `process`: the
    ssh for it, where it has been started. `alone`: nobody is there to answer questions. `stops`: asked all the time;
    once it says so there is none, but Stopped.
    """
    question = question or {"k": "open", "run": target.run, "control": control}
    for sent in (False, True):
        line = Line(process or start(command(target, alone=alone, sent=sent), alone=alone), leash=leash, steps=steps)
        process = None
        try:
            return _greeted(line, target, question, stops)
        except (OSError, WireError) as error:
            status, words = _ended(line), line.complaint()
            line.close()
            if status in (-signal.SIGINT, 128 + signal.SIGINT) and not line.is_through:
                raise Interrupted(f"{target.label}: interrupted") from None
            if status == 255 and line.wants_a_person:
                raise Refused(f"{target.label}: {words}") from None
            if status == 255 or sent or line.is_sent or not line.is_through:   # ssh's own, or no other way helps
                why = words if status == 255 or not isinstance(error, WireError) else str(error)
                raise Unreached(f"{target.label}: {why}") from None
        except BaseException:
            line.close()
            raise
    raise AssertionError("two tries")


def _ended(line: Line) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        line.process.wait(0.5)
    with contextlib.suppress(OSError):
        os.set_blocking(line.errors, False)
        line.note(os.read(line.errors, 65536))
    return line.process.poll()


def _greeted(line: Line, target: Target, question: Mapping[str, Any], stops: Callable[[], bool]) -> Line:
    """Say what is wanted and hear whether it is there."""
    heard, known = time.monotonic(), 0
    while True:
        found = line.hear(0.1)
        if stops():
            raise Stopped
        line.steps.tick()
        if found is None:
            raise OSError("the line has ended")
        if len(line.words) != known:
            known, heard = len(line.words), time.monotonic()
        while line.unpacker.begun in (FOUND, BOOT):
            _begun(line, question)
            found += line.unpacker.feed(b"")
        if line.unpacker.begun == MAGIC:
            _ask(line, question)
            line.steps.go("reading")
        for i, (head, _) in enumerate(found):
            heard = time.monotonic()
            if head["k"] == "hello":
                line.hello = head
                if head.get("protocol") != PROTOCOL:
                    raise WireError(f"another version of tuimon speaks there: {clean(str(head.get('version')), 20)}")
                if question["k"] == "list" and not head.get("lists"):
                    raise WireError("the tuimon there is too old to list its runs")
            elif head["k"] == "error":
                raise Unreached(f"{target.label}: {clean(str(head.get('text')), 300)}")
            elif head["k"] in ("opened", "listed"):
                line.opened = head
                last = i if head["k"] == "listed" else i + 1   # the list takes its beginning itself
                line.waiting = found[last:]
                if last:
                    line.say({"k": "ack", "n": last})
                return line
        if found:
            line.say({"k": "ack", "n": len(found)})
        if time.monotonic() - heard > PATIENCE:
            raise Unreached(f"{target.label}: no answer for {PATIENCE:.0f} s: {line.complaint()}")


def _begun(line: Line, question: Mapping[str, Any]) -> None:
    """Something is being started there: what it needs, and the question behind it, without waiting for its answer."""
    if line.is_asked:
        raise WireError("it does not start there")
    if line.unpacker.begun == BOOT:
        line.is_sent, reader = True, bundle()
        line.steps.go("sending", f"{len(reader) / 1000:.1f} kB")
        line.raw(reader)
    else:
        line.steps.go("starting")
    _ask(line, question)
    line.unpacker.again()


def _ask(line: Line, question: Mapping[str, Any]) -> None:
    """Once."""
    line.is_through = True
    if not line.is_asked:
        line.is_asked = True
        line.raw(MAGIC)
        line.say(dict(question))
        if question["k"] == "list" and line.is_sent:   # at once: no answer need be waited for
            line.say({"k": "code"}, listing())
