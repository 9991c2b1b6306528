"""The run directory: the whole interface between a training process and its viewers. Touches the disk.

    <run>/run.json             who runs what: replaced whole at each attempt
    <run>/launch.json          written by whoever started a demo or a script: before torch is loaded, and when it ended
    <run>/metrics/             see `segments`          <run>/events.jsonl    see `events`
    <run>/commands/            see `control.spool`     <run>/checkpoints/    see `manifest`
    <run>/ranks/r<k>.json      each rank of several, about itself; events-r<k>.jsonl, what happened to it alone
    <run>/autopsy/             the batches of steps that came out non-finite, one each
    <run>/notify.jsonl         see `notify.ledger`
    <run>/console.log          stdout and stderr of a training process that tuimon started

Directories are 0700 and files 0600 from the moment they exist. Names are labels, never paths.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tuimon.errors import LogError, UsageError
from tuimon.private import make_folder
from tuimon.record.entries import ProbeEntry, TensorEntry
from tuimon.record.files import open_to_read, write_atomically
from tuimon.record.liveness import ProcessIdentity
from tuimon.record.plain import built, finite
from tuimon.record.redact import redacted_words
from tuimon.record.tensors import TensorTable

SCHEMA: Final = 1
MAX_JSON: Final = 64 << 20
MAX_PARTS: Final = 2 << 20
"""Values of a description: each takes up to 70 bytes of memory, and two of the file. A tensor has about seven."""
CONSOLE_TAIL: Final = 4096
"""Bytes in which the last line of a console is looked for."""
_LABEL: Final = re.compile(r"[^A-Za-z0-9._-]+")
_STAMP: Final = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{6}$")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known about a run once its training process has attached."""

    name: str
    process: ProcessIdentity
    attempt: int = 1
    argv: tuple[str, ...] = ()
    started: float = 0.0
    """Wall clock of this attempt's start."""
    device: str = ""
    model: str = ""
    """A few words: "GPTModel 4L 64d 0.2M"."""
    optimizer: str = ""
    """Class name."""
    eps: float | None = None
    total_steps: int | None = None
    vocab_size: int | None = None
    tokens_per_step: int | None = None
    world_size: int = 1
    jobs: tuple[str, ...] = ()
    """By which names SLURM knows the job that trains it."""
    torchrun: str = ""
    """Which torchrun started its ranks: those that it starts again go on in this run."""
    clips: bool | None = None
    controls: bool = True
    """Whether commands are obeyed."""
    tensors: tuple[TensorEntry, ...] = ()
    probes: tuple[ProbeEntry, ...] = ()
    """The probe table: what each value of a probe row is."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> TensorTable:
        """The tensor table."""
        return TensorTable(self.tensors)


@dataclass(frozen=True, slots=True)
class Launch:
    """What the starter of a demo or a script knows before the training process has loaded torch."""

    name: str
    scenario: str
    """Of the demo; "" for a script."""
    statement: str
    """One line: what is about to happen, and why."""
    total_steps: int | None
    seed: int
    started: float
    process: ProcessIdentity | None = None
    script: str = ""
    """The command that was started, as a person types it; "" for a demo."""
    detail: str = "auto"
    on_critical: str = "warn"
    """What `attach` takes for those of its arguments that the script leaves alone."""
    status: int | None = None
    """Exit status of the process, where its starter saw it end; negative: the signal that killed it."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """The places in one run directory."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's name: unique under its root."""
        return self.path.name

    @property
    def called(self) -> str:
        """What that says of the run's own name: what is shown until the run has been read."""
        return called(self.name)

    @property
    def run_json(self) -> Path:
        """Who runs what."""
        return self.path / "run.json"

    @property
    def launch_json(self) -> Path:
        """Who started it."""
        return self.path / "launch.json"

    @property
    def events(self) -> Path:
        """What happened."""
        return self.path / "events.jsonl"

    def events_of(self, rank: int) -> Path:
        """What happened to one rank: the run's events are rank 0's."""
        return self.path / f"events-r{rank}.jsonl" if rank else self.events

    @property
    def ranks(self) -> Path:
        """Who trains it; there where several do."""
        return self.path / "ranks"

    @property
    def notices(self) -> Path:
        """Who was told what happened; there where somebody is to be told."""
        return self.path / "notify.jsonl"

    @property
    def metrics(self) -> Path:
        """What was measured."""
        return self.path / "metrics"

    @property
    def commands(self) -> Path:
        """What was asked."""
        return self.path / "commands"

    @property
    def checkpoints(self) -> Path:
        """What can be gone back to."""
        return self.path / "checkpoints"

    @property
    def autopsies(self) -> Path:
        """Batches of steps that were looked into; made when there is one."""
        return self.path / "autopsy"

    @property
    def console(self) -> Path:
        """What was printed."""
        return self.path / "console.log"

    def last_words(self) -> str | None:
        """The last line of console.log that is not blank, as printed; "" where there is none, None without the file."""
        try:
            with os.fdopen(open_to_read(self.console), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - CONSOLE_TAIL))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return None
        return next((line for line in reversed(lines) if line.strip()), "")

    def read_info(self) -> RunInfo | None:
        """run.json, or None before the training process has attached; LogError if it is not one."""
        body = _read_json(self.run_json)
        if body is None:
            return None
        try:
            process = built(ProcessIdentity, body.pop("process"))
            tensors = tuple(
                TensorEntry(str(t["name"]), tuple(int(n) for n in t["shape"]), str(t["dtype"]), bool(t["trained"]))
                for t in body.pop("tensors")
            )
            probes = tuple(ProbeEntry(str(p["module"]), str(p["quantity"])) for p in body.pop("probes", ()))
            body.pop("schema")
            words = {name: tuple(body.pop(name, ())) for name in ("argv", "jobs")}
            return built(RunInfo, {"process": process, "tensors": tensors, "probes": probes, **words, **body})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise LogError(f"{self.run_json.name} of {self.name} is not one of ours: {error}") from None

    def write_info(self, info: RunInfo) -> None:
        """Write run.json atomically, without what is secret of the command line."""
        told = {"schema": SCHEMA, **asdict(info), "argv": redacted_words(info.argv)}
        for name in ("jobs", "torchrun"):   # who has neither writes as ever, for whoever reads it
            if not told[name]:
                del told[name]
        write_atomically(str(self.run_json), _encode(told))

    def write_rank(self, rank: int, told: Mapping[str, Any]) -> None:
        """Write what one rank of several says of itself, atomically."""
        make_folder(self.ranks)
        write_atomically(str(self.ranks / f"r{rank}.json"), _encode({"schema": SCHEMA, **told}))

    def read_launch(self) -> Launch | None:
        """launch.json, or None where nobody launched it; LogError if it is not one."""
        body = _read_json(self.launch_json)
        if body is None:
            return None
        try:
            body.pop("schema")
            process = body.pop("process")
            return built(Launch, {"process": built(ProcessIdentity, process) if process else None, **body})
        except (KeyError, TypeError, AttributeError) as error:
            raise LogError(f"{self.launch_json.name} of {self.name} is not one of ours: {error}") from None

    def write_launch(self, launch: Launch) -> None:
        """Write launch.json atomically."""
        write_atomically(str(self.launch_json), _encode({"schema": SCHEMA, **asdict(launch)}))


def _encode(body: Mapping[str, Any]) -> bytes:
    return json.dumps(finite(body), allow_nan=False, indent=1).encode()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        fd = open_to_read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogError(f"cannot read {path.name}: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        raw = file.read(MAX_JSON + 1)
    if sum(map(raw.count, (b"[", b"{", b","))) > MAX_PARTS:
        raise LogError(f"{path.name} of {path.parent.name} is larger than any of ours")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise LogError(f"{path.name} of {path.parent.name} is not JSON") from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise LogError(f"{path.name} of {path.parent.name} is not of schema {SCHEMA}")
    return body


def cache_root(env: Mapping[str, str] | None = None) -> Path:
    """Where this person keeps what can be had again."""
    env = os.environ if env is None else env
    chosen = env.get("XDG_CACHE_HOME")
    base = Path(chosen) if chosen and os.path.isabs(chosen) else Path.home() / ".cache"
    return base / "tuimon"


def runs_root(env: Mapping[str, str] | None = None) -> Path:
    """Where runs live: $TUIMON_RUNS, else $XDG_STATE_HOME/tuimon/runs, else ~/.local/state/tuimon/runs.

    UsageError where there is no home either.
    """
    env = os.environ if env is None else env
    chosen = env.get("TUIMON_RUNS")
    if chosen:
        return Path(chosen).expanduser().absolute()
    state = env.get("XDG_STATE_HOME")
    base = Path(state) if state and os.path.isabs(state) else _home() / ".local" / "state"
    return base / "tuimon" / "runs"


def _home() -> Path:
    """UsageError where this user has none: in a container a number may be all that there is of them."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise UsageError("this user has no home directory for runs: set TUIMON_RUNS to a directory that can be written")
    return home


def label(name: str) -> str:
    """`name` as a file name: letters, digits, dot, dash, underscore, at most 60 of them."""
    return _LABEL.sub("-", name).strip("-.")[:60].strip("-.") or "run"


def called(directory: str) -> str:
    """A directory's name without the time and the chance in it."""
    return _STAMP.sub("", directory) or directory


def create_run(name: str, root: Path | None = None) -> RunDir:
    """A fresh run directory under `root`; OSError where it cannot be made."""
    root = runs_root() if root is None else root
    make_folder(root, parents=0o700, follow=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    run = RunDir(root / f"{label(name)}-{stamp}-{secrets.token_hex(3)}")
    make_folder(run.path, fresh=True)
    prepare_run(run)
    return run


def prepare_run(run: RunDir) -> None:
    """Make what a run directory holds, where it is missing; OSError where something is a link to elsewhere."""
    make_folder(run.path, follow=True)
    for folder in (run.metrics, run.commands, run.checkpoints):
        make_folder(folder)


def list_runs(root: Path | None = None) -> list[RunDir]:
    """Runs under `root`, newest first; empty where there are none."""
    root = runs_root() if root is None else root
    found: list[tuple[float, RunDir]] = []
    try:
        entries = list(os.scandir(root))
    except OSError:
        return []
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False) and os.path.isdir(os.path.join(entry.path, "metrics")):
                found.append((entry.stat(follow_symlinks=False).st_ctime, RunDir(Path(entry.path))))
        except OSError:
            continue
    return [run for _, run in sorted(found, key=lambda pair: (_stamp(pair[1].name), pair[0]), reverse=True)]


def _stamp(name: str) -> str:
    """The creation time in a run's name, "" where it has none."""
    found = re.search(r"-(\d{8}-\d{6})-[0-9a-f]{6}$", name)
    return found.group(1) if found else ""
