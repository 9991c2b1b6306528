"""A far end and a near end in one process, with nothing between them but bytes; time is what the test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tuimon.record.chunk import Chunk
from tuimon.record.history import History
from tuimon.record.metrics import METRICS
from tuimon.record.reader import LogReader
from tuimon.remote.far.agent import Agent
from tuimon.remote.far.wire import MAGIC, Packer, Unpacker
from tuimon.remote.mirror import Mirror


class Pumped:
    """Opens the run called `run` under `root`."""

    def __init__(self, root: Path, folder: Path, run: str | None = None, *, control: bool = False, lag: float = 0.001) -> None:
        """`lag`: seconds until what was sent is answered."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.agent = Agent(str(root), list(METRICS), "test")
        self.packer, self.unpacker = Packer(), Unpacker()
        self.unpacker.feed(MAGIC)
        self.now, self.lag, self.carried, self.said = 1000.0, lag, 0, []
        self.control, self.folder = control, folder
        self.mirror: Mirror | None = None
        self.agent.receive({"k": "open", "run": run, "control": control}, b"", self.now)

    def turn(self, seconds: float = 0.1, most: int = 1 << 30) -> None:
        """So much later: the far end looks, and says what there is room for, no more than about `most` bytes."""
        self.now += seconds
        self.agent.poll(self.now)
        most += self.carried
        while self.carried < most:
            sent = 0
            while self.agent.window.has_room and self.carried < most and self._say():
                sent += 1
            if not sent:
                break
            self.agent.receive({"k": "ack", "n": sent}, b"", self.now + self.lag)

    def _say(self) -> bool:
        message = self.agent.next(self.now)
        if message is None:
            return False
        data = self.packer.pack(*message)
        self.carried += len(data)
        self.agent.window.sent(len(data), self.now)
        for head, body in self.unpacker.feed(data):
            self.said.append(head)
            if head["k"] == "opened":
                self.mirror = Mirror(self.folder, head["run"], "far", control=self.control)
            elif self.mirror is not None:
                self.mirror.take(head, body)
        return True

    def until(self, is_so: Callable[[], object], turns: int = 400, most: int = 1 << 30) -> Pumped:
        """As often as it takes."""
        for _ in range(turns):
            if is_so():
                return self
            self.turn(most=most)
        raise AssertionError("it never came to that")

    def settled(self) -> Pumped:
        """Until the finest picture is there and there is nothing to say but signs of life."""
        self.until(lambda: self.mirror is not None and self.mirror.is_ready and self.agent._settled and self.agent._picture is None)
        for _ in range(30):
            self.turn()
        return self

    def read(self) -> tuple[History, list[Chunk], LogReader]:
        """What a viewer here reads."""
        assert self.mirror is not None
        reader, history, chunks = LogReader(self.mirror.run.metrics), History(), []
        while found := reader.poll():
            chunks += found
            for chunk in found:
                history.extend(chunk)
        return history, chunks, reader
