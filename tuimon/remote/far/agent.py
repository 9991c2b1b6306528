"""The far end: reads one run for somebody who looks from afar.

Touches the disk only to read, but for one thing: where it was told so, it puts commands into the run's spool.
Nothing is sent that the near end has no room for (see `pace`), so that what arrives is new. What a person needs first
goes first: what is new of the log, what happened, a rough picture of the whole, a finer one, what was printed.
"""

from __future__ import annotations

import importlib
import os
import select
import sys
import time
import types
from typing import Any, Iterator

from tuimon.remote.far import rows as log
from tuimon.remote.far.files import Files, live, named
from tuimon.remote.far.followed import Attempt, Followed, Message, Vectors, world_in
from tuimon.remote.far.news import BYTES, PIECES, RATES, News, framed, packed, piece_of
from tuimon.remote.far.pace import Window
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.wire import MAGIC, Packer, Unpacker, WireError

PROTOCOL = 1
TICK = 0.05
"""Seconds between two looks at the disk."""
NICENESS = 5
"""Whoever looks steps back behind the training."""
BEAT_EVERY = 2.0
DEAF = 15.0
"""Seconds after which a near end that says nothing is taken to be gone."""
FIRST_PICTURE = 24
FINER = 6
PATIENT = 15.0
"""Seconds that the finest picture may take to arrive: who looks closely at a stretch gets that one finer."""
FINEST = 1500
FINE = 600
"""Buckets of a stretch that is looked at closely."""
RANKS = "ranks-seen.json"
RANKS_EVERY = 1.0
AGAIN = 2.0
"""Seconds between two pictures of a long log while it is read."""


class Code:
    """The rest of the far side, which is sent once it is needed; one for all that go over a line."""

    def __init__(self) -> None:
        self._lacks: set[str] = set()

    def find(self, name: str) -> Any:
        """A module of it; None where it has yet to come."""
        try:
            return importlib.import_module(f"tuimon.remote.far.{name}")
        except ImportError:
            self._lacks.add(name)
            return None

    def take(self, body: bytes) -> None:
        """It has come; what nobody lacks is not heeded."""
        if self._lacks:
            exec(compile(body, "later", "exec"), {"sys": sys, "types": types})  # noqa: S102  by who sent the rest
            self._lacks = {name for name in self._lacks if f"tuimon.remote.far.{name}" not in sys.modules}


class Agent:
    """What it knows and has yet to say."""

    def __init__(self, root: str, names: list[str], version: str, code: Code | None = None) -> None:
        """`names`: the metrics by their codes."""
        self._root, self._names = root, names
        self.window = Window()
        self._news = News(names, self.window)
        self._run = ""
        self._files: Files | None = None
        self._log: Followed | None = None
        self._may_command = False
        self._urgent: list[Message] = [({"k": "hello", "protocol": PROTOCOL, "version": version, "time": time.time(),
                                         "lists": True, "host": os.uname().nodename}, b"")]
        self._picture: Iterator[Message] | None = None
        self._generation, self._count = 0, 0
        self._is_whole, self._is_thin_picture = False, True
        """Of the picture that was begun last: whether all had been read, and whether something is left out."""
        self._look: tuple[int, int] | None = None
        self._settled = False
        """Whether no finer picture is to come unless it is asked for."""
        self._said_beat = self._said_alive = self._pictured_at = float("-inf")
        self._ranks_at = float("-inf")
        self._several: Any = None
        """What reads the logs of all ranks, where there are several, and what tells how it stands with them."""
        self.code = code or Code()
        self._needs = False
        """Whether it has asked for more of it."""
        self._version = version
        self._wants_list: dict[str, Any] | None = None
        self.instead: Any = None
        """What answers from now on, where the runs are to be listed."""
        self._trouble = ""
        self._last_alive: dict[str, Any] = {}

    def receive(self, head: dict[str, Any], body: bytes, now: float) -> None:
        """What the near end says."""
        kind = head["k"]
        if kind == "ack":
            count = head.get("n")
            self.window.answered(count if isinstance(count, int) else 0, now)
        elif kind == "open":
            self._open(head)
        elif kind == "look" and self._log is not None:
            first, last = head.get("first"), head.get("last")
            self._look = (first, last) if isinstance(first, int) and isinstance(last, int) else None
            self._settled, self._picture = False, None
        elif kind == "command" and self._files is not None:
            self._command(body)
        elif kind == "list":
            self._wants_list = head
            self._list(now)
        elif kind == "code":
            self.code.take(body)
            self._list(now)

    def _list(self, now: float) -> None:
        """Give place to what answers more than one question, once it is there."""
        hub = self.code.find("hub") if self._wants_list and not self.instead else None
        if hub is None:
            return
        self.instead = hub.Hub(self, self._another, self._root, self._names)
        self.instead.receive(self._wants_list, b"", now)

    def _another(self) -> Agent:
        other = Agent(self._root, self._names, self._version, self.code)
        other._urgent.clear()   # it is no new line
        return other

    def poll(self, now: float) -> None:
        """Look at the disk."""
        if self._files is None or self._log is None:
            return
        until = time.monotonic() + TICK / 2
        while True:
            was_through = self._log.is_through
            found = self._log.poll()
            if not self._generation and self._several is None:
                world = max([world_in(attempt.head) for attempt in self._log.attempts] or [1])
                if world > 1 and self._opens_all(world):
                    continue
                if world > 1:
                    return
            if was_through:
                self._news.add(found)
            if not self._log.is_behind or time.monotonic() > until:
                break
        why = ("another run took this directory: open it again to see that one" if self._log.is_replaced else
               "" if os.path.isdir(self._run) else "the run directory is gone; what was read stays on the screen")
        if why != self._trouble:
            self._trouble = why
            self._urgent.append(({"k": "trouble", "text": why}, b""))
        if self._log.is_replaced:
            return
        self._files.poll(now)
        self._tell_ranks(now)
        if not self._generation and self._log.segments():
            self._begin(FIRST_PICTURE, now)

    def _tell_ranks(self, now: float) -> None:
        """How it stands with each rank, once a second, of thousands more seldom."""
        if self._several is None or self._files is None or not self._log.attempts:   # type: ignore[union-attr]  # one with the other
            return
        log, standings = self._several
        if now - self._ranks_at >= max(RANKS_EVERY, len(log.lanes) / 256):
            self._ranks_at = now
            self._files.tell(RANKS, standings.told(log))

    def _opens_all(self, world: int) -> bool:
        """Read the logs of all ranks from here on; whether that can be, or has to be asked for first."""
        ranked = self.code.find("ranked")
        if ranked is None:
            if not self._needs:
                self._needs = True
                self._urgent.append(({"k": "need"}, b""))
            return False
        self._log = ranked.Together(os.path.join(self._run, "metrics"), self._names, world)
        self._several = self._log, ranked.Standings(self._run)
        return True

    def next(self, now: float) -> Message | None:
        """What to say next; None where there is nothing."""
        if self._urgent:
            return self._urgent.pop(0)
        if self._files is None or self._log is None:
            return None
        told = self._files.early()
        if told is not None:
            return told
        if now - self._said_alive > 2.0 or (self._log.is_through and self._last_alive.get("share") != 1.0):
            self._said_alive = now
            state = {"alive": live(self._run), "share": 1.0 if self._log.is_through else round(self._log.share, 2),
                     "begun": bool(self._generation or self._log.segments())}
            if state != self._last_alive:
                self._last_alive = state
                return {"k": "alive", **state}, b""
        news = self._news.next(now)
        if news is not None:
            return news
        if not self.window.is_calm:
            return None   # what is new soon does not wait behind what can
        if self._news.pieces:
            return self._news.pieces.popleft()
        told = self._files.middle() if self._picture is None or self._generation > 1 else None
        if told is not None:
            return told
        if self._picture is not None:
            message = next(self._picture, None)
            if message is not None:
                return message
            self._picture = None
        if self._generation and not self._settled and self._may_refine(now):
            return self.next(now)
        told = self._files.late()
        if told is None and now - self._said_beat > BEAT_EVERY:
            self._said_beat = now
            return {"k": "beat", **{key: self._log.beat.get(key) for key in ("wall", "mono", "state")},
                    "time": time.time()}, b""
        return told

    def talk(self, packer: Packer, now: float) -> Iterator[bytes]:
        """What there is to say and room for."""
        while self.window.has_room:
            message = self.next(now)
            if message is None:
                return
            data = packer.pack(*message)
            self.window.sent(len(data), now)
            yield data

    def _open(self, head: dict[str, Any]) -> None:
        selector = head.get("run")
        path, why = named(self._root, selector if isinstance(selector, str) else None)
        if path is None:
            self._urgent.append(({"k": "error", "text": why}, b""))
            return
        self._run, self._may_command = path, bool(head.get("control"))
        self._files, self._log = Files(path), Followed(os.path.join(path, "metrics"), self._names)
        self._urgent.append(({"k": "opened", "run": os.path.basename(path), "path": path, "time": time.time()}, b""))

    def _command(self, body: bytes) -> None:
        if not self._may_command or self._files is None:
            return
        why = self._files.command(body)
        if why:
            self._urgent.append(({"k": "refused", "text": why, "command": body[:4096].decode("utf-8", "replace")}, b""))

    def _may_refine(self, now: float) -> bool:
        """Begin with a finer picture of the whole, if there is one and the last one has arrived."""
        followed, window = self._log, self.window
        assert followed is not None
        if self._settled or window.flying > window.size / 2:
            return False
        if not followed.is_through:
            if now - self._pictured_at < AGAIN:
                return False
            self._begin(max(FIRST_PICTURE, min(8 * FIRST_PICTURE, self._within(AGAIN))), now)   # as far as it was read
            return True
        if self._is_whole and not self._is_thin_picture and self._look is None:
            self._settled = True
            return False
        most = max(4 * FIRST_PICTURE, min(FINEST, self._within(PATIENT)))
        count = max(FIRST_PICTURE, min(most, self._count * (FINER if self._is_whole else 1)))
        outline = followed.outline
        if outline.size == 1 and len(outline.buckets) <= 8 * most:   # a bucket comes out as four rows
            count = len(outline.buckets)   # all of it, as it is
        self._settled = self._is_whole and count <= self._count and self._look is None
        if self._settled:
            return False
        self._begin(max(count, FINE if self._look else 0), now)
        self._settled = self._look is not None
        return True

    def _within(self, seconds: float) -> int:
        """Buckets that arrive in so many seconds."""
        return int(seconds * max(RATES[0], self.window.best) / self._cost(1))

    def _cost(self, count: int) -> float:
        assert self._log is not None
        return 4 * count * (BYTES * self._log.columns + 12)

    def _begin(self, count: int, now: float) -> None:
        followed = self._log
        assert followed is not None
        self._generation += 1
        self._count, self._pictured_at, self._is_whole = count, now, followed.is_through
        attempts: list[Attempt] = []
        if followed.is_through or self._generation > 1:
            rows, is_thin = followed.picture(count, self._look)
            attempts = list(followed.attempts)
        else:
            rows, is_thin = [], True
        if not followed.is_through:   # as far as it has been read, and its end
            known = followed.last_step if rows else -1
            tail = [block.between(known + 1, 1 << 62) for block in followed.tail(2 * FIRST_PICTURE)]
            rows = rows + [block for block in tail if len(block)]
        self._is_thin_picture = self._news.is_thin = is_thin or not followed.is_through
        chosen = self._vectors(count)
        if self._generation == 1 and sum(vectors.size for vectors in chosen) > 2 * PIECES[1]:
            chosen, self._is_whole = [], False   # they have time until the next one
        mark = {"g": self._generation}
        # At once, and before anything else: what is new from here on goes behind this picture.
        self._urgent.append(({"k": "begin", "thin": self._is_thin_picture, **mark}, b""))
        self._picture = self._pictured(rows, attempts, chosen, list(followed.marks), mark)

    def _pictured(self, rows: list[Rows], attempts: list[Attempt], chosen: list[Vectors],
                  marks: list[tuple[int, int, bytes]], mark: dict[str, Any]) -> Iterator[Message]:
        """The whole log as messages."""
        followed = self._log
        assert followed is not None
        piece, own = piece_of(self.window), self._news.own(rows) if self._is_thin_picture else frozenset()
        ends = [a.from_step for a in attempts[1:]] + [1 << 62]
        for attempt, end in zip(attempts, ends):
            yield {"k": "frame", "kind": log.HEAD, **mark}, attempt.head
            for vectors in chosen:
                if vectors.attempt == attempt.number and (payload := followed.payload(vectors)):
                    yield from framed({"k": "frame", "kind": vectors.kind, **mark}, payload, piece)
            at = attempt.from_step + 1 if attempt is not attempts[0] else 0
            for _, step, payload in [m for m in marks if m[0] == attempt.number]:
                yield from packed(rows, at, min(step, end), mark, piece, own)
                yield {"k": "frame", "kind": log.MARK, **mark}, payload
                at = max(at, step + 1)
            yield from packed(rows, at, end, mark, piece, own)
        if not attempts:
            yield from packed(rows, 0, 1 << 62, mark, piece, own)
        yield {"k": "done", **mark}, b""

    def _vectors(self, count: int) -> list[Vectors]:
        """Evenly, as many as take about as long as the rows."""
        followed = self._log
        assert followed is not None
        found, room = followed.vectors, self._cost(count)
        total = sum(v.size for v in found)
        every = max(1, -(-int(total) // int(max(1.0, room))))
        return found[::-1][::every][::-1]


def serve(agent: Any, reading: int, writing: int) -> None:
    """Speak until the near end goes."""
    packer, unpacker = Packer(), Unpacker()
    os.write(writing, MAGIC)
    heard = time.monotonic()
    looked = float("-inf")
    while True:
        now = time.monotonic()
        if now - looked >= TICK:
            looked = now
            agent.poll(now)
        for data in agent.talk(packer, now):
            _write(writing, data)
        ready, _, _ = select.select([reading], [], [], max(0.0, looked + TICK - time.monotonic()))
        if ready:
            data = os.read(reading, 65536)
            if not data:
                return
            heard = time.monotonic()
            for head, body in unpacker.feed(data):
                agent.receive(head, body, heard)
                agent = agent.instead or agent
        elif time.monotonic() - heard > DEAF:
            return


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data):]


def root_of(env: dict[str, str]) -> str:
    """Where runs live, as in `record.rundir`."""
    if env.get("TUIMON_RUNS"):
        return os.path.abspath(os.path.expanduser(env["TUIMON_RUNS"]))
    state = env.get("XDG_STATE_HOME", "")
    base = state if os.path.isabs(state) else os.path.expanduser("~/.local/state")
    return os.path.join(base, "tuimon", "runs")


def main(names: list[str], version: str) -> int:
    """Serve standard input and output."""
    try:
        os.nice(NICENESS)
        serve(Agent(root_of(dict(os.environ)), names, version), 0, 1)
    except (OSError, WireError):   # the near end has gone, or is none of ours: there is nobody to tell
        return 1
    return 0

