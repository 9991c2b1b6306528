"""The bench on which faults are done: a directory, the nursery's trainings, viewers; removed and ended at the end.

Starts processes and touches the disk; only what it started and made itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tuimon.control import spool
from tuimon.control.commands import Command, Who
from tuimon.control.states import Verb
from tuimon.record.events import Event, EventReader
from tuimon.record.rundir import RunDir
from tuimon.torture.ledger import Ledger
from tuimon.torture.terminal import Viewer

PATIENCE: Final = 60.0
"""Seconds that anything may take before it counts as standing still."""
_PAUSE: Final = 0.003


class Broken(Exception):
    """What must hold did not: a fault was not survived."""


class Skipped(Exception):
    """This machine does not allow it, and why."""


@dataclass(eq=False)
class Training:
    """A child of the nursery at work on a job."""

    bench: Bench
    pid: int
    run: RunDir
    ledger: Ledger
    status: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None while it lives."""
        if self.status is None:
            self.status = self.bench.ask({"end of": self.pid})["status"]
        return self.status

    def send(self, number: int) -> None:
        """A signal; nothing where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and be sure that it is gone."""
        self.send(signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Wait until it has ended; its status."""
        self.bench.wait(lambda: self.poll() is not None, "the training to end")
        assert self.status is not None
        return self.status

    def more(self, steps: int, why: str = "") -> None:
        """Wait until it has done so many more steps: Broken where it has not."""
        wanted = self.ledger.steps + steps
        self.bench.wait(lambda: self.ledger.steps >= wanted or self.poll() is not None, f"training stands still {why}")
        if self.ledger.steps < wanted:
            raise Broken(f"training has ended {why}: {self.last_words()}")

    def finish(self) -> None:
        """Wait for its end: Broken where it did not end well."""
        if self.end() != 0:
            raise Broken(f"training ended with {self.status}: {self.last_words()}")

    def stop(self) -> None:
        """Tell it to stop, as a viewer would, and wait for a good end."""
        self.ask("stop")
        self.finish()

    def ask(self, verb: Verb, **more: Any) -> str:
        """Put a command into its spool; its id."""
        command = Command(spool.new_id(), verb, **{"issued": time.time(), "who": Who(origin="torture"), **more})
        spool.submit(self.run.commands, command)
        return command.id

    def events(self, kind: str = "") -> list[Event]:
        """What its run says has happened."""
        reader, found = EventReader(self.run.events), []
        while more := reader.poll():
            found += more
        return [event for event in found if not kind or event.kind == kind]

    def words(self) -> str:
        """What it said."""
        try:
            return self.ledger.path.with_suffix(".said").read_text(errors="replace")
        except OSError:
            return ""

    def last_words(self) -> str:
        """The last line of that."""
        lines = self.words().splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")[:200]


class Bench:
    """A place for faults. A context manager: leaving it ends every process it started and removes every file."""

    def __init__(self, where: Path, *, chance: random.Random | None = None) -> None:
        """OSError where no directory can be made there."""
        self.root = Path(tempfile.mkdtemp(prefix="tuimon-torture-", dir=where))
        self.chance = chance or random.Random()  # noqa: S311  # moments, not secrets
        self._trainings: list[Training] = []
        self._viewers: list[Viewer] = []
        self._count = 0
        self._environment = {
            **os.environ, "TUIMON_RUNS": str(self.root), "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_CONFIG_HOME": str(self.root / "config"), "TUIMON_QUIET": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        }
        self._environment.pop("TUIMON_RUN_DIR", None)
        self._nursery: subprocess.Popen[str] | None = None
        """Started by the first who needs a training: it loads torch."""

    def __enter__(self) -> Bench:  # noqa: PYI034  # Self is younger than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for viewer in self._viewers:
            viewer.kill()
        if self._nursery is not None:
            for stream in (self._nursery.stdin, self._nursery.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self._nursery.wait()  # it kills its children
        shutil.rmtree(self.root, ignore_errors=True)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Have the nursery answer. Skipped where there can be none."""
        if self._nursery is None:
            try:
                with open(self.root / "nursery.said", "wb") as said:
                    self._nursery = subprocess.Popen(  # our own interpreter
                        [sys.executable, "-m", "tuimon.torture.nursery"], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, stderr=said, text=True, env=self._environment, start_new_session=True,
                    )
            except OSError as error:
                raise Skipped(f"no training can be started here: {error.strerror}") from None
            self._read(self._nursery)
        assert self._nursery.stdin is not None
        try:
            self._nursery.stdin.write(json.dumps(question) + "\n")
            self._nursery.stdin.flush()
        except OSError:
            pass  # it is gone; that is what reading will find
        return self._read(self._nursery)

    def _read(self, nursery: subprocess.Popen[str]) -> dict[str, Any]:
        assert nursery.stdout is not None
        line = nursery.stdout.readline()
        if not line:
            said = (self.root / "nursery.said").read_text(errors="replace").splitlines()
            raise Skipped(f"no training can be started here: {said[-1] if said else 'its process ended'}")
        found: dict[str, Any] = json.loads(line)
        return found

    def fresh(self) -> RunDir:
        """The directory for a run of its own; not made yet."""
        self._count += 1
        return RunDir(self.root / f"run-{self._count:04d}")

    def start(self, job: str = "train", run: RunDir | None = None, *, held: bool = False, **more: Any) -> Training:
        """Begin a job. `train` takes what `training.train` says; by default it steps until it is ended."""
        self._count += 1
        ledger = Ledger(self.root / f"{self._count:04d}.ledger", fresh=True)
        ledger.is_held = held
        run = run or self.fresh()
        asked = {"job": job, "ledger": str(ledger.path), "run": str(run.path), "steps": 100_000, "pause": 0.001, **more}
        training = Training(self, self.ask(asked)["pid"], run, ledger)
        self._trainings.append(training)
        return training

    def do(self, job: str, **more: Any) -> Training:
        """Begin a job and see it to a good end."""
        training = self.start(job, **more)
        training.finish()
        return training

    def viewer(self, run: RunDir, *, reads: bool = True) -> Viewer:
        """A viewer of that run on a terminal of its own; reads: whether the terminal takes what is drawn."""
        viewer = Viewer([sys.executable, "-m", "tuimon", "watch", str(run.path)], self._environment, reads=reads)
        self._viewers.append(viewer)
        return viewer

    def tidy(self) -> None:
        """Between two faults: what the last one left at work is ended, what it wrote is removed."""
        for training in self._trainings:
            if training.poll() is None:
                training.kill()
            training.ledger.close()
        for viewer in self._viewers:
            viewer.kill()
        self._trainings.clear()
        self._viewers.clear()
        for entry in self.root.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.suffix in (".ledger", ".said") and entry.stem != "nursery":
                entry.unlink(missing_ok=True)

    def wait(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
        """Until it holds; Broken where it does not within patience."""
        until, pause = time.monotonic() + patience, threading.Event()
        while not condition():
            if time.monotonic() > until:
                raise Broken(f"in {patience:.0f} s it did not come: {what}")
            pause.wait(_PAUSE)

    def some(self, least: float, most: float) -> None:
        """Let a random time pass: the moment is the fault."""
        threading.Event().wait(self.chance.uniform(least, most))
