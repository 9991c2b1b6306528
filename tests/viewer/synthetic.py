"""Run directories written with the real writers: what a training process would leave behind, at any moment of its life.

With `began` a run is the same byte for byte wherever and whenever it is written: of another machine, by its own clock.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from writers import EventWriter, LogWriter

from tuimon.control.spool import Inbox, prepare
from tuimon.record.chunk import Mark
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.log import Row, TensorRow, WeightRow
from tuimon.record.probes import ProbeEntry, ProbeRow
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import Launch, RunDir, RunInfo, create_run, prepare_run, runs_root
from tuimon.record.tensors import TensorEntry

STATEMENT = "At step 198 this demo's learning rate schedule runs away: a planted bug."
LAYERS = ("embed", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "head")
TENSORS = tuple(
    TensorEntry(f"{layer}.{part}.weight", (64, 64), "float32")
    for layer in LAYERS for part in (("attn", "mlp") if layer.startswith("blocks") else ("proj",))
)
PROBES = tuple(
    ProbeEntry(f"blocks.{i}.attn", quantity) for quantity in ("attention_logit", "attention_entropy") for i in range(4))


FAR = ProcessIdentity(4242, 1.0, "another boot", "node7")
"""A process of another machine."""


def nobody() -> ProcessIdentity:
    """A process of this machine that is gone."""
    return ProcessIdentity(2**22 - 3, 1.0, boot_id(), os.uname().nodename)


class Run:
    """One synthetic run, written step by step."""

    def __init__(self, root: Path | None = None, *, name: str = "exploding", total: int = 600, alive: bool = True,
                 statement: str = STATEMENT, info: bool = True, seed: int = 0, step_time: float = 0.05,
                 probed: bool = False, weighed: bool = False, began: float | None = None) -> None:
        self.began, self.step, self.weighed = began, 0, weighed
        self.dir: RunDir = create_run("synthetic", root) if began is None else RunDir((root or runs_root()) / name)
        prepare_run(self.dir)
        prepare(self.dir.commands)
        self.process = FAR if began is not None else identity() if alive else nobody()
        self.total, self.name, self.step_time = total, name, step_time
        self.dir.write_launch(Launch(name, "exploding", statement, total, seed, self.now, self.process))
        self.random = np.random.default_rng(seed)
        self.probes, self.collapses_at = PROBES if probed else (), math.inf
        self.loss, self.explodes_at, self.scale = 10.8, math.inf, 1.0
        self.recovers_from: tuple[int, float] | None = None
        self.log: LogWriter | None = None
        if info:
            self.attach()

    @property
    def now(self) -> float:
        """By the clock of whoever trains."""
        return time.time() if self.began is None else self.began + self.step * self.step_time

    def attach(self) -> None:
        self.dir.write_info(RunInfo(
            self.name, self.process, started=self.now, device="cpu", model="GPT 4L 64d 0.2M", optimizer="AdamW",
            eps=1e-8, total_steps=self.total, vocab_size=50_304, clips=False, tensors=TENSORS, probes=self.probes))
        self.log = LogWriter(self.dir.metrics, attempt=1, from_step=0, tensors=len(TENSORS), probes=len(self.probes))
        self.events = EventWriter(self.dir.events, 1)
        self.inbox = Inbox(self.dir.commands, 1)
        self.event("attempt", number=1, from_step=0, pid=self.process.pid, host=self.process.host, device="cpu")
        self.event("state", state="running", why="")

    def event(self, kind: str, **fields: object) -> None:
        self.events.append(kind, self.step, self.now, fields)

    def row(self) -> tuple[Row, TensorRow]:
        """One more step of something that looks like training."""
        self.step += 1
        step, wobble = self.step, float(self.random.normal())
        since = max(0.0, step - self.explodes_at)
        growth = math.exp(min(since, 60) * 0.1)
        base = 2.0 + 8.8 * math.exp(-step / 45)
        loss = base + 0.04 * wobble + min(8.9, 0.02 * since * growth)
        grad = (1.1 + 5 * math.exp(-step / 12)) * math.exp(0.12 * wobble) * growth
        lr = min(3e-4, 3e-4 * step / 20) * (100 if since > 0 and self.recovers_from is None else 1) * self.scale
        values = {"loss": loss, "grad_norm": grad, "param_norm": 40.0, "grad_param_ratio": grad / 40,
                  "update_ratio": 1.2e-3 * math.exp(0.05 * wobble) * min(50.0, growth) * min(1.0, step / 15),
                  "lr": lr, "step_time": self.step_time, "throughput": 40_000.0}
        if step % 50 == 0:
            values["val_loss"] = loss + 0.1
        self.loss = loss
        depth = np.repeat(np.arange(len(TENSORS)), 1) / len(TENSORS)
        norms = (grad / math.sqrt(len(TENSORS)) * np.exp(0.1 * self.random.normal(size=len(TENSORS)))
                 * growth ** depth).astype(np.float32)
        tensors = TensorRow(step, norms, np.ones(len(TENSORS), np.bool_), np.full(len(TENSORS), 1e-3, np.float32))
        return Row(step, self.now, values), tensors

    def sample(self) -> ProbeRow:
        """What the probes measure at this step; after `collapses_at` the third block's attention becomes a choice."""
        lost = min(1.0, max(0.0, self.step - self.collapses_at) / 60)
        logits = 8 * np.exp(0.05 * self.random.normal(size=4)) * [1, 1, 200 ** lost, 1]
        entropies = np.array([0.8, 0.7, 0.6 * (1 - lost) + 0.01, 0.75])
        values = np.concatenate((logits, entropies)).astype(np.float32)
        return ProbeRow(self.step, values, np.ones(len(values), np.bool_))

    def weights(self) -> WeightRow:
        """The tensors' norms, which grow slowly; once it explodes quickly, and the deeper the more."""
        depth, since = np.arange(len(TENSORS)) / len(TENSORS), max(0.0, self.step - self.explodes_at)
        norms = 64 * 0.02 * (1 + self.step / 2000) * np.exp(0.08 * since * depth)
        return WeightRow(self.step, norms.astype(np.float32), np.ones(len(TENSORS), np.bool_))

    def go(self, count: int, *, snapshots: bool = True) -> Run:
        """Write so many steps."""
        items: list[Row | TensorRow | WeightRow | ProbeRow | Mark] = []
        for _ in range(count):
            row, tensors = self.row()
            items += [tensors, *([self.weights()] if self.weighed and self.step % 8 in (0, 1) else []),
                      *([self.sample()] if self.probes and self.step % 10 == 0 else []), row]
            if snapshots and self.step % 10 == 0 and self.step >= 40 and self.step < self.explodes_at - 5:
                self.event("snapshot-healthy", snapshot_step=self.step - 20)
        if items and self.log is not None:
            self.log.append(items)
            self.log.beat(self.now, time.monotonic() if self.began is None else self.now, "running")
        return self

    def note(self, text: str) -> Run:
        assert self.log is not None
        self.log.append([Mark(self.step, "note", {"text": text})])
        self.event("note", text=text)
        return self

    def explode(self) -> Run:
        """From now on the learning rate is a hundred times too high."""
        self.explodes_at = self.step
        return self.note("lr schedule jumps (planted by this demo)")

    def values(self, **values: float) -> Run:
        """One step with exactly these values."""
        assert self.log is not None
        self.step += 1
        self.log.append([Row(self.step, self.now, values)])
        return self

    def resume(self, step: int) -> Run:
        """Once more, from an earlier step."""
        self.step = step
        self.log = LogWriter(self.dir.metrics, attempt=2, from_step=step, tensors=len(TENSORS), probes=len(self.probes))
        self.events = EventWriter(self.dir.events, 2)
        self.event("attempt", number=2, from_step=step)
        self.event("state", state="running", why="")
        return self

    def hold(self, why: str = "emergency stop") -> Run:
        self.event("state", state="held", why=why)
        return self

    def rescue(self, identity: str = "rescue-1", *, warm: bool = True) -> Run:
        """All five ticks."""
        assert self.log is not None
        target = int(self.explodes_at) - 8
        self.event("command", id=identity, verb="rescue", args={}, who={"origin": "viewer"}, outcome="received", why="")
        self.event("rescue", id=identity, tick="held", loss=self.loss, grad_norm=212.0)
        self.event("rescue", id=identity, tick="restored", from_step=self.step, to_step=target, proven=True,
                   sha256="ab" * 32)
        self.event("rescue", id=identity, tick="lr", scale=0.1, before=3e-2, after=3e-3)
        self.event("rescue", id=identity, tick="clip", max_norm=1.0, script_clips=False)
        self.event("override", lr_scale=0.1, clip=1.0, warmup_from=0.1, warmup_steps=20)
        self.event("rescue", id=identity, tick="warmup", steps=20)
        self.event("command", id=identity, verb="rescue", args={}, who={"origin": "viewer"}, outcome="applied", why="")
        self.log.append([Mark(self.step, "rollback", {"to_step": target}),
                         Mark(self.step, "override", {"lr_scale": 0.1, "clip": 1.0})])
        self.event("state", state="running", why="")
        self.recovers_from = (self.step, self.loss)
        self.explodes_at, self.scale = math.inf, 0.1
        if warm:
            self.go(20, snapshots=False)
            self.event("rescue", id=identity, tick="done")
        return self

    def end(self, state: str = "finished", error: str = "") -> Run:
        self.event("end", state=state, error=error)
        return self

    def commands(self) -> list[object]:
        """What viewers have put into the spool."""
        return list(self.inbox.poll())


def healthy(steps: int = 240, **options: object) -> Run:
    return Run(name="healthy", **options).go(steps)  # type: ignore[arg-type]


def exploding(**options: object) -> Run:
    return Run(**options).go(198).explode().go(62)  # type: ignore[arg-type]


def rescued(**options: object) -> Run:
    return exploding(**options).rescue().go(60)


def collapsing(**options: object) -> Run:
    run = Run(name="collapsing", probed=True, **options).go(150)  # type: ignore[arg-type]
    run.collapses_at = run.step
    return run.go(150)


def ranked(world: int = 8, steps: int = 400, *, slow: tuple[int, int] = (3, 200), silent: int | None = None, per_host: int = 4,
           apart: tuple[int, int] | None = None, **options: object) -> Run:
    """Several ranks, of which one is slow from a step on, one may say nothing any more, and one may have other weights."""
    run = Run(name="ranked", info=False, **options)  # type: ignore[arg-type]
    run.dir.write_info(RunInfo(
        "ranked", run.process, started=run.now, device="cuda:0", model="GPT 4L 64d 0.2M", optimizer="AdamW", eps=1e-8,
        total_steps=600, vocab_size=50_304, clips=False, world_size=world))
    run.events = EventWriter(run.dir.events, 1)
    run.event("attempt", number=1, from_step=0, pid=run.process.pid, host=run.process.host, device="cuda:0")
    run.event("state", state="running", why="")
    began, wobble = run.now, run.random.standard_normal((steps, 16)) * 0.05
    for rank in range(world):
        run.dir.write_rank(rank, {
            "rank": rank, "world": world, "attempt": 1, "device": f"cuda:{rank % per_host}", "vectors": False,
            "process": {**asdict(run.process), "host": f"node{rank // per_host}"}})
        until = steps if rank != silent else steps - min(steps // 2, 150)
        rows = [Row(step, began + step * run.step_time, {
            "loss": 2.0 + 8.8 * math.exp(-step / 45) + wobble[step - 1, 0], "grad_square": 1.0 / world, "param_square": 1600.0 / world,
            "update_square": 0.002 / world, "lr": 3e-4, "step_time": 0.05, "tokens": 1024.0, "data_time": 0.001 * (rank % 3),
            "memory": 2.0**30 * (2 + rank % 4) / 2,
            "own_time": (0.02 * (1 + wobble[step - 1, rank % 16])) * (1.8 if rank == slow[0] and step >= slow[1] else 1.0),
            **({} if apart is None or step % 8 else {
                "checksum": float(step + (rank == apart[0] and step >= apart[1])), "checked_tensor": 0.0, "twin_of": 0.0}),
        }) for step in range(1, until + 1)]
        log = LogWriter(run.dir.metrics, attempt=1, from_step=0, tensors=0, rank=rank, world=world)
        log.append(rows)
        when = began + until * run.step_time + 1.0
        log.beat(when, when, "running")
        log.close()
        os.utime(segment_paths(run.dir.metrics, rank)[-1], (when, when))
    run.step = steps
    return run
